"""What holds for questions to every database that knows SQL."""

import asyncio
import threading

import pytest

from popham.errors import StateError
from popham.store.rows import GroupRow
from popham.store.seam import Reading
from popham.store.threaded import ThreadedStore


async def check_moment(store: ThreadedStore, refusal: str) -> None:
    """Check that a question sees one moment, and that it cannot write: ``refusal`` is what the database says."""
    begun, go_on = threading.Event(), threading.Event()

    def count_twice(tx: Reading) -> tuple[int, int]:
        first = len(tx.groups())
        begun.set()
        assert go_on.wait(10)
        return first, len(tx.groups())

    question = asyncio.ensure_future(store.read(count_twice))
    await asyncio.to_thread(begun.wait, 10)
    await store.write(lambda tx: tx.put_group(GroupRow(name="web", body="{}")))
    go_on.set()
    assert await question == (0, 0)
    assert await store.read(lambda tx: len(tx.groups())) == 1
    with pytest.raises(StateError, match=refusal):
        await store.read(lambda tx: tx._connection.exec_driver_sql("DELETE FROM groups"))
