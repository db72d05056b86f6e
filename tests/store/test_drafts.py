"""Drafts in every store."""

from popham.store.rows import DraftRow
from popham.store.seam import Store


def row(name: str, body: str = "{}", edition: int = 1) -> DraftRow:
    return DraftRow(name=name, body=body, author="ada", at=1.5, edition=edition)


async def test_f_y1_a_draft_is_kept_replaced_and_deleted(store: Store) -> None:
    large = '"' + "x" * 1_000_000 + '"'
    await store.write(lambda tx: [tx.put_draft(row(name)) for name in ("spring", "a-b", "ab")])
    assert await store.read(lambda tx: tx.draft_names()) == ["a-b", "ab", "spring"]
    await store.write(lambda tx: tx.put_draft(row("spring", large, 2**40)))
    assert await store.read(lambda tx: tx.draft("spring")) == row("spring", large, 2**40)
    await store.write(lambda tx: tx.delete_draft("spring"))
    await store.write(lambda tx: tx.delete_draft("spring"))
    assert await store.read(lambda tx: tx.draft("spring")) is None
    assert await store.read(lambda tx: tx.draft_names()) == ["a-b", "ab"]
