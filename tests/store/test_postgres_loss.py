"""A PostgreSQL that goes away, and comes back."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable

import psycopg
import pytest

from popham.clock import SystemClock
from popham.errors import StateError
from popham.model.names import digest
from popham.store import postgres_ledger
from popham.store.audit import verify_chain
from popham.store.postgres import PostgresStore
from popham.store.rows import AuditRow, RevisionRow
from popham.store.seam import Writing
from popham.testing.postgres import Server

Commit = Callable[[psycopg.Connection], None]


def publish(tx: Writing, number: int) -> None:
    """Publish one revision; a second time would be refused."""
    body = b"%d" % number
    tx.add_revision(
        RevisionRow(
            name="motd", revision=number, type="files", sha256=digest(body), encoded=body, author="me", at=1.0
        )
    )
    tx.add_audit(AuditRow(at=1.0, actor="me", source="::1", method="apply", object=f"motd/{number}"))


async def published(store: PostgresStore) -> set[int]:
    """Return the revisions that are there, each of them once in a whole audit chain."""
    rows = await store.read(lambda tx: tx.audit())
    verify_chain(rows)
    found = [int(row.object.removeprefix("motd/")) for row in rows]
    assert len(found) == len(set(found))
    assert set(found) == {row.revision for row in await store.read(lambda tx: tx.revisions("motd"))}
    return set(found)


def kill_server(server: Server) -> None:
    server.stop(signal.SIGKILL)
    server.start()


def restart_server(server: Server) -> None:
    server.stop()
    server.start()


def kill_backends(server: Server) -> None:
    """Kill the processes that serve connections; the server then ends the others too, and recovers."""
    with psycopg.connect(server.url, autocommit=True) as raw:
        rows = raw.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'popham'").fetchall()
    for (pid,) in rows[:1]:
        os.kill(pid, signal.SIGKILL)
    server.start()


@pytest.mark.parametrize("lose", [kill_server, restart_server, kill_backends])
async def test_rel_1_no_publish_is_lost_or_doubled_when_the_server_is_killed(
    postgres: PostgresStore, server: Server, lose: Callable[[Server], None]
) -> None:
    acknowledged: set[int] = set()
    numbers = iter(range(10_000))
    ended, enough = asyncio.Event(), asyncio.Semaphore(0)

    async def work() -> None:
        while not ended.is_set():
            number = next(numbers)
            try:
                await postgres.write(lambda tx: publish(tx, number))  # noqa: B023 - awaited at once
            except StateError as error:
                if not error.retryable:  # a slow machine may shed: then it was not made
                    raise
                continue
            acknowledged.add(number)
            enough.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(work())
        rng = random.Random(8)
        for _ in range(2):
            for _ in range(rng.randrange(10, 30)):
                await enough.acquire()
            await asyncio.to_thread(lose, server)
        ended.set()
    assert await published(postgres) == acknowledged
    assert postgres._committer._ledger.retries > 0


def on_commit(store: PostgresStore, monkeypatch: pytest.MonkeyPatch, commit: Commit) -> list[int]:
    """Let the next commit of the writer be ``commit``; return how many there were in all."""
    dialect = store._committer._ledger._engine.dialect
    real, calls = dialect.do_commit, []

    def instead(connection: psycopg.Connection) -> None:
        calls.append(1)
        if len(calls) == 1:
            commit(connection.driver_connection)
        else:
            real(connection)

    monkeypatch.setattr(dialect, "do_commit", instead)
    return calls


def lose_after(connection: psycopg.Connection) -> None:
    connection.commit()
    connection.close()
    raise psycopg.OperationalError("the answer was lost")


def lose_before(connection: psycopg.Connection) -> None:
    connection.close()
    raise psycopg.OperationalError("the question was lost")


async def test_rel_1_a_commit_whose_answer_was_lost_is_found_and_not_made_again(
    postgres: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = on_commit(postgres, monkeypatch, lose_after)
    await asyncio.gather(*(postgres.write(lambda tx, n=n: publish(tx, n)) for n in range(3)))
    assert await published(postgres) == {0, 1, 2}
    assert len(calls) <= 3  # three works, and nothing again


async def test_rel_1_a_commit_that_never_arrived_is_made_again(
    postgres: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_commit(postgres, monkeypatch, lose_before)
    await asyncio.gather(*(postgres.write(lambda tx, n=n: publish(tx, n)) for n in range(3)))
    assert await published(postgres) == {0, 1, 2}


async def test_rel_1_a_doubt_that_stays_ends_the_process_and_nobody_is_told_that_it_was_made_or_not(
    postgres: PostgresStore, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_ledger, "DOUBT_PATIENCE_S", 0.2)
    watch = asyncio.ensure_future(postgres.watch())

    def vanish(connection: psycopg.Connection) -> None:
        server.stop(signal.SIGKILL)
        lose_before(connection)

    on_commit(postgres, monkeypatch, vanish)
    try:
        with pytest.raises(StateError, match=r"state\.broken"):
            await postgres.write(lambda tx: publish(tx, 1))
        with pytest.raises(StateError, match=r"state\.broken"):
            await watch
    finally:
        await asyncio.to_thread(server.start)


async def test_a_server_that_is_away_sheds_and_is_found_again(
    postgres: PostgresStore, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_ledger, "PATIENCE_S", 0.2)
    await postgres.write(lambda tx: publish(tx, 1))
    await asyncio.to_thread(server.stop)
    try:
        for call in (postgres.write, postgres.read):
            with pytest.raises(StateError) as caught:
                await call(lambda tx: tx.groups())
            assert (caught.value.code, caught.value.retryable) == ("state.unreachable", True)
    finally:
        await asyncio.to_thread(server.start)
    await postgres.write(lambda tx: publish(tx, 2))
    assert await published(postgres) == {1, 2}


async def test_connections_that_were_ended_while_idle_are_not_noticed(
    postgres: PostgresStore, server: Server
) -> None:
    await postgres.write(lambda tx: publish(tx, 1))
    assert await published(postgres) == {1}
    with psycopg.connect(server.url, autocommit=True) as raw:
        raw.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'popham'"
        )
    assert await published(postgres) == {1}
    await postgres.write(lambda tx: publish(tx, 2))
    assert await published(postgres) == {1, 2}


async def test_another_process_that_hangs_with_the_lock_is_waited_for_no_longer_than_it_may(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popham.store.postgres._IDLE_TIMEOUT_MS", 100)
    hung = PostgresStore.open(url, clock=SystemClock())
    other = PostgresStore.open(url, clock=SystemClock())
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(tx: Writing) -> None:
        publish(tx, 1)
        asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(10)

    hanging = asyncio.ensure_future(hung.write(hang))
    await asyncio.sleep(0)
    await other.write(lambda tx: publish(tx, 2))
    ended.set()
    await hanging
    assert await published(other) == {1, 2}
    await hung.aclose()
    await other.aclose()
