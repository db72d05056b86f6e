"""Operations, their targets and outputs, in every filling of the store's seam."""

from __future__ import annotations

import dataclasses

import pytest

from popham.store.rows import OperationRow, OutputRow, TargetRow
from popham.store.seam import Reading, Store, Writing

OPERATION = OperationRow(number=1, kind="restart", author="ada", at=1.5, over=False, body='{"é": 1}')
TARGET = TargetRow(
    operation=1,
    uid="u1",
    name="web-1",
    group="web",
    open=True,
    state="running",
    since=2.25,
    expires=602.5,
    nonce="ab" * 16,
    revision=3,
    code="operation.refused",
    text="é\nnot today",
    sent=1.0,
    began=2.0,
    ended=3.0,
    output="cd" * 32,
    length=2**40,
    left_out=7,
    cancelled_by="bob",
)
OUTPUT = OutputRow(operation=1, uid="u1", at=4.5, length=3, data=b"\0\xff\1")


def operation(number: int, **fields: object) -> OperationRow:
    return dataclasses.replace(OPERATION, number=number, **fields)


def target(number: int, uid: str, state: str = "queued") -> TargetRow:
    is_open = state in {"queued", "sent", "running"}
    return dataclasses.replace(TARGET, operation=number, uid=uid, state=state, open=is_open)


async def fill(store: Store) -> None:
    """Keep three operations: of u1 to u4 (in four states), of u1 and u2, and of u2 (over)."""

    def put(tx: Writing) -> None:
        tx.put_operation(OPERATION)
        tx.put_operation(operation(2, kind="run", author="bob"))
        tx.put_operation(operation(10, kind="run", over=True))
        states = zip(("u3", "u1", "u4", "u2"), ("failed", "queued", "failed", "sent"), strict=True)
        tx.put_targets([target(1, uid, state) for uid, state in states])
        tx.put_targets(iter([target(2, "u1", "succeeded"), target(2, "u2")]))
        tx.put_targets([target(10, "u2", "expired")])

    await store.write(put)


async def test_f_o4_an_operation_comes_back_as_it_was_written(store: Store) -> None:
    def put(tx: Writing) -> None:
        tx.put_operation(OPERATION)
        tx.put_targets([TARGET])
        tx.put_targets([])
        tx.put_output(OUTPUT)

    await store.write(put)
    assert await store.read(lambda tx: (tx.operation(1), tx.operations())) == (OPERATION, [OPERATION])
    assert await store.read(lambda tx: (tx.target(1, "u1"), tx.targets(1))) == (TARGET, [TARGET])
    assert await store.read(lambda tx: (tx.output(1, "u1"), tx.outputs())) == (OUTPUT, [(1, "u1", 4.5, 3)])


async def test_what_was_never_ordered_is_none_or_nothing(store: Store) -> None:
    def ask(tx: Reading) -> list[object]:
        ones = [tx.operation(1), tx.target(1, "u1"), tx.output(1, "u1")]
        return [*ones, tx.operations(), tx.targets(1), tx.targets_of("u1"), tx.open_targets(), tx.outputs()]

    assert await store.read(ask) == [None, None, None, [], [], [], [], []]
    assert await store.read(lambda tx: (tx.target_counts([]), tx.target_counts([7]))) == ({}, {7: {}})


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({}, [10, 2, 1]),
        ({"limit": 2}, [10, 2]),
        ({"before": 10}, [2, 1]),
        ({"before": 10, "limit": 1}, [2]),
        ({"kind": "run"}, [10, 2]),
        ({"author": "ada"}, [10, 1]),
        ({"uid": "u1"}, [2, 1]),
        ({"uid": "u9"}, []),
        ({"open_only": True}, [2, 1]),
        ({"kind": "run", "author": "bob", "uid": "u2", "before": 9, "open_only": True}, [2]),
    ],
)
async def test_f_o4_the_history_is_filtered(
    store: Store, asked: dict[str, object], numbers: list[int]
) -> None:
    await fill(store)
    assert await store.read(lambda tx: [row.number for row in tx.operations(**asked)]) == numbers


async def test_f_o4_targets_are_counted_by_state_and_listed_in_parts(store: Store) -> None:
    await fill(store)
    counts = {1: {"failed": 2, "queued": 1, "sent": 1}, 10: {"expired": 1}, 11: {}}
    assert await store.read(lambda tx: tx.target_counts([1, 10, 11])) == counts

    async def uids(**asked: object) -> list[str]:
        return await store.read(lambda tx: [row.uid for row in tx.targets(1, **asked)])

    assert await uids() == ["u1", "u2", "u3", "u4"]
    assert await uids(after="u1", limit=2) == ["u2", "u3"]
    assert await uids(states=["failed"]) == ["u3", "u4"]
    assert await uids(states=["failed", "sent"], limit=2) == ["u2", "u3"]
    assert await uids(states=["failed"], after="u3") == ["u4"]


async def test_f_o4_what_is_open_is_found_by_agent_and_in_all(store: Store) -> None:
    await fill(store)

    async def keys(question: str, *args: object, **asked: object) -> list[tuple[int, str]]:
        rows = await store.read(lambda tx: getattr(tx, question)(*args, **asked))
        return [(row.operation, row.uid) for row in rows]

    assert await keys("targets_of", "u2") == [(10, "u2"), (2, "u2"), (1, "u2")]
    assert await keys("targets_of", "u2", open_only=True) == [(2, "u2"), (1, "u2")]
    assert await keys("targets_of", "u2", limit=1) == [(10, "u2")]
    assert await keys("open_targets") == [(1, "u1"), (1, "u2"), (2, "u2")]
    assert await keys("open_targets", limit=1) == [(1, "u1")]
    assert await keys("open_targets", after=(1, "u1")) == [(1, "u2"), (2, "u2")]
    assert await keys("open_targets", after=(1, "u9")) == [(2, "u2")]


async def test_a_target_is_replaced_by_its_operation_and_agent(store: Store) -> None:
    await fill(store)
    ended = target(2, "u2", "cancelled")
    await store.write(lambda tx: tx.put_targets([target(2, "u2", "sent"), ended]))
    await store.write(lambda tx: tx.put_operation(operation(2, over=True)))
    assert await store.read(lambda tx: (tx.target(2, "u2"), tx.operation(2))) == (
        ended,
        operation(2, over=True),
    )
    assert await store.read(lambda tx: tx.target_counts([2])) == {2: {"cancelled": 1, "succeeded": 1}}


async def test_an_operation_goes_with_its_targets_and_outputs_and_leaves_others(store: Store) -> None:
    def put(tx: Writing) -> None:
        for number, uid, at in ((1, "u1", 9.0), (1, "u2", 7.0), (2, "u1", 8.0), (2, "u2", 8.0)):
            tx.put_output(dataclasses.replace(OUTPUT, operation=number, uid=uid, at=at))

    def delete(tx: Writing) -> None:
        tx.delete_operation(1)
        tx.delete_output(2, "u1")
        tx.delete_output(2, "u9")

    await fill(store)
    await store.write(put)
    kept = [(1, "u2", 7.0, 3), (2, "u1", 8.0, 3), (2, "u2", 8.0, 3), (1, "u1", 9.0, 3)]
    assert await store.read(lambda tx: tx.outputs()) == kept
    await store.write(delete)
    await store.write(delete)
    assert await store.read(lambda tx: [row.number for row in tx.operations()]) == [10, 2]
    assert await store.read(lambda tx: (tx.targets(1), len(tx.targets(2)))) == ([], 2)
    assert await store.read(lambda tx: tx.outputs()) == [(2, "u2", 8.0, 3)]


async def test_operations_of_another_tenant_are_not_seen(store: Store) -> None:
    def put(tx: Writing) -> None:
        tx.put_operation(operation(1, tenant="other"))
        tx.put_targets([dataclasses.replace(TARGET, tenant="other")])
        tx.put_output(dataclasses.replace(OUTPUT, tenant="other"))
        tx.delete_operation(1)

    await store.write(put)
    assert await store.read(lambda tx: (tx.operations(), tx.operations(uid="u1"))) == ([], [])
    assert await store.read(lambda tx: (tx.open_targets(), tx.outputs())) == ([], [])
    assert await store.read(lambda tx: tx.target_counts([1])) == {1: {}}


async def test_f_o4_ten_thousand_targets_are_written_at_once_and_read_in_parts(store: Store) -> None:
    rows = [target(1, f"u{number:05}") for number in range(10_000)]

    def put(tx: Writing) -> None:
        tx.put_operation(OPERATION)
        tx.put_targets(reversed(rows))

    await store.write(put)
    assert await store.read(lambda tx: tx.target_counts([1])) == {1: {"queued": 10_000}}

    async def part(after: str) -> list[TargetRow]:
        return await store.read(lambda tx: tx.targets(1, states=["queued"], after=after, limit=2500))

    found = await part("")
    while page := await part(found[-1].uid):
        found += page
    assert found == rows
    await store.write(lambda tx: tx.put_targets(target(1, row.uid, "sent") for row in rows))
    assert await store.read(lambda tx: tx.target_counts([1])) == {1: {"sent": 10_000}}
    last = await store.read(lambda tx: tx.open_targets(after=(1, rows[-3].uid), limit=5))
    assert [row.uid for row in last] == [rows[-2].uid, rows[-1].uid]
