from __future__ import annotations

import asyncio
import dataclasses
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from popham.clock import SystemClock
from popham.errors import StateError
from popham.store import commit
from popham.store import sqlite as sqlite_module
from popham.store.rows import GroupRow
from popham.store.seam import Writing
from popham.store.sqlite import SqliteStore


class MovedClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Gate:
    """Holds the writer's thread inside one piece of work."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def work(self, _tx: Writing) -> None:
        self.reached.set()
        assert self.opened.wait(10)

    async def hold(self, store: SqliteStore) -> asyncio.Future[None]:
        held = asyncio.ensure_future(store.write(self.work))
        assert await asyncio.to_thread(self.reached.wait, 10)
        return held


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


def big(number: int) -> GroupRow:
    return GroupRow(name=f"g{number}", body=chr(97 + number % 26) * 100_000)


async def test_callers_that_wait_share_one_commit(sqlite: SqliteStore, gate: Gate) -> None:
    held = await gate.hold(sqlite)
    before = sqlite._committer.commits
    waiting = [
        asyncio.ensure_future(sqlite.write(lambda tx, n=n: tx.set_meta(f"k{n}", "v"))) for n in range(100)
    ]
    await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(held, *waiting)
    assert sqlite._committer.commits == before + 2


async def test_one_failure_takes_back_only_itself(sqlite: SqliteStore, gate: Gate) -> None:
    def fail(tx: Writing) -> None:
        tx.set_meta("failed", "v")
        raise LookupError("mine")

    held = await gate.hold(sqlite)
    waiting = [
        asyncio.ensure_future(sqlite.write(fail if n == 5 else lambda tx, n=n: tx.set_meta(f"k{n}", "v")))
        for n in range(10)
    ]
    await asyncio.sleep(0)
    gate.opened.set()
    answers = await asyncio.gather(held, *waiting, return_exceptions=True)
    assert [type(answer) for answer in answers if answer is not None] == [LookupError]
    assert await sqlite.read(lambda tx: [tx.meta(f"k{n}") for n in range(10)].count("v")) == 9
    assert await sqlite.read(lambda tx: tx.meta("failed")) is None


async def test_rel_1_nobody_is_answered_before_the_commit_and_all_are_refused_if_it_fails(
    sqlite: SqliteStore, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = asyncio.ensure_future(sqlite.watch())

    def fail(_connection: object) -> None:
        raise sqlite._library._writer.dialect.loaded_dbapi.OperationalError("disk I/O error")

    held = await gate.hold(sqlite)
    waiting = [asyncio.ensure_future(sqlite.write(lambda _tx: "answer")) for _ in range(3)]
    await asyncio.sleep(0)
    monkeypatch.setattr(sqlite._library._writer.dialect, "do_commit", fail)
    gate.opened.set()
    answers = await asyncio.gather(held, *waiting, return_exceptions=True)
    assert {getattr(answer, "code", answer) for answer in answers} == {"state.broken"}
    monkeypatch.undo()
    for call in (sqlite.write, sqlite.read):
        with pytest.raises(StateError, match=r"state\.broken"):
            await call(lambda tx: tx.groups())
    with pytest.raises(StateError, match=r"state\.broken"):
        await watch


async def test_rel_3_a_disk_that_fails_breaks_the_store_and_nothing_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    store = SqliteStore.open(tmp_path / "popham.db", clock=SystemClock())
    acknowledged: list[str] = []

    async def write_on() -> None:
        for number in range(100):
            await store.write(lambda tx: tx.put_group(big(number)))  # noqa: B023 - awaited at once
            acknowledged.append(f"g{number}")

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, limits[1]))
    try:
        with pytest.raises(StateError, match=r"state\.broken"):
            await write_on()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert acknowledged
    await store.aclose()
    store = SqliteStore.open(tmp_path / "popham.db", clock=SystemClock())
    assert {row.name for row in await store.read(lambda tx: tx.groups())} == set(acknowledged)
    await store.aclose()


async def test_rel_3_a_full_disk_sheds_and_the_store_recovers_when_there_is_space(
    sqlite: SqliteStore,
) -> None:
    def set_limit(pages: int, tx: Writing) -> None:
        tx._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    await sqlite.write(lambda tx: tx.put_group(GroupRow(name="kept", body="{}")))
    await sqlite.write(lambda tx: set_limit(100, tx))
    for _ in range(3):
        with pytest.raises(StateError) as caught:
            await sqlite.write(lambda tx: [tx.put_group(big(number)) for number in range(10)])
        assert (caught.value.code, caught.value.retryable) == ("state.full", True)
    assert await sqlite.read(lambda tx: [row.name for row in tx.groups()]) == ["kept"]
    await sqlite.write(lambda tx: tx.put_group(GroupRow(name="small", body="{}")))
    await sqlite.write(lambda tx: set_limit(1_000_000, tx))
    await sqlite.write(lambda tx: [tx.put_group(big(number)) for number in range(10)])
    assert await sqlite.read(lambda tx: len(tx.groups())) == 12


async def test_the_queue_is_bounded(sqlite: SqliteStore, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "QUEUE_LIMIT", 5)
    held = await gate.hold(sqlite)
    waiting = [asyncio.ensure_future(sqlite.write(lambda _tx: "done")) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(StateError) as caught:
        await sqlite.write(lambda _tx: "never")
    assert (caught.value.code, caught.value.retryable) == ("state.overloaded", True)
    gate.opened.set()
    assert await asyncio.gather(held, *waiting) == [None, *["done"] * 5]


async def test_work_that_waited_too_long_is_refused(tmp_path: Path, gate: Gate) -> None:
    clock = MovedClock()
    store = SqliteStore.open(tmp_path / "popham.db", clock=clock)
    held = await gate.hold(store)
    late = asyncio.ensure_future(store.write(lambda tx: tx.set_meta("late", "v")))
    await asyncio.sleep(0)
    clock.time = commit.WAIT_LIMIT_S + 1
    gate.opened.set()
    await held
    with pytest.raises(StateError, match=r"state\.overloaded"):
        await late
    assert await store.read(lambda tx: tx.meta("late")) is None
    await store.aclose()


async def test_work_whose_caller_left_before_it_began_is_not_done(sqlite: SqliteStore, gate: Gate) -> None:
    held = await gate.hold(sqlite)
    left = asyncio.ensure_future(sqlite.write(lambda tx: tx.set_meta("left", "v")))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    await held
    assert await sqlite.write(lambda tx: tx.meta("left")) is None


async def test_closing_finishes_what_was_begun(tmp_path: Path, gate: Gate) -> None:
    store = SqliteStore.open(tmp_path / "popham.db", clock=SystemClock())
    held = await gate.hold(store)
    waiting = asyncio.ensure_future(store.write(lambda tx: tx.set_meta("last", "v")))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.aclose())
    await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(held, waiting, closing)
    store = SqliteStore.open(tmp_path / "popham.db", clock=SystemClock())
    assert await store.read(lambda tx: tx.meta("last")) == "v"
    await store.aclose()


async def test_the_log_stays_short_while_callers_never_pause(
    sqlite: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "CHECKPOINT_PAGES", 100)
    monkeypatch.setattr(sqlite_module, "CHECKPOINT_PAGES_BUSY", 200)
    for number in range(200):
        await sqlite.write(
            lambda tx, number=number: tx.put_group(dataclasses.replace(big(number), name=f"g{number % 50}"))
        )
    assert sqlite._committer._ledger.checkpoints >= 10
    size = await asyncio.to_thread(lambda: (tmp_path / "popham.db-wal").stat().st_size)
    assert size < 400 * 4096
