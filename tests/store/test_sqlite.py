from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from tests.store.moment import check_moment

from popham.clock import SystemClock
from popham.errors import StateError
from popham.store import migrations
from popham.store import sqlite as module
from popham.store.engine import check_sqlite, connect, writer_engine
from popham.store.rows import GroupRow
from popham.store.schema import NEWEST
from popham.store.snapshot import copy_database, mark_database
from popham.store.sqlite import SqliteStore
from popham.store.tables import metadata


def open_store(path: Path) -> SqliteStore:
    return SqliteStore.open(path, clock=SystemClock())


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(StateError) as caught:
        call()
    assert caught.value.hint
    return caught.value.code


async def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    for number in range(3):
        store = open_store(tmp_path / "a b%20?#.db")
        before = await store.read(lambda tx: len(tx.groups()))
        assert before == number
        await store.write(lambda tx, number=number: tx.put_group(GroupRow(name=f"g{number}", body="{}")))
        await store.aclose()
        files = await asyncio.to_thread(lambda: [path.name for path in tmp_path.iterdir()])
        assert files == ["a b%20?#.db"]


async def test_sec_46_the_files_are_for_their_owner_only(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.write(lambda tx: tx.set_meta("a", "b"))
    modes = await asyncio.to_thread(
        lambda: {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    )
    assert modes == {"popham.db": 0o600, "popham.db-wal": 0o600, "popham.db-shm": 0o600}


async def test_rel_2_the_database_is_set_so_that_a_commit_is_durable(sqlite: SqliteStore) -> None:
    found: dict[str, object] = {}

    def look(tx: object) -> None:
        connection = tx._connection
        for name in ("journal_mode", "synchronous", "mmap_size", "foreign_keys", "wal_autocheckpoint"):
            found[name] = connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    await sqlite.write(look)
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "wal_autocheckpoint": 0}
    assert found == expected | {"mmap_size": found["mmap_size"]}
    assert found["mmap_size"] in {0, None}


async def test_a_question_cannot_write_and_sees_one_moment(sqlite: SqliteStore) -> None:
    await check_moment(sqlite, "readonly")


async def test_more_questions_than_places_are_refused(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_places", threading.BoundedSemaphore(2))
    go_on = threading.Event()
    waiting = [asyncio.ensure_future(sqlite.read(lambda _tx: go_on.wait(10))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(StateError, match=r"state\.overloaded") as caught:
        await sqlite.read(lambda tx: tx.groups())
    assert caught.value.retryable
    go_on.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert await sqlite.read(lambda tx: tx.groups()) == []


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 40, 1), (3, 51, 2)])
def test_an_sqlite_with_the_wal_reset_bug_is_refused(
    version: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(lambda: check_sqlite(version)) == "state.sqlite_version"
    check_sqlite((3, 51, 3))
    check_sqlite((4, 0, 0))
    monkeypatch.setattr(module.dbapi2, "sqlite_version_info", version)
    assert refusal(lambda: open_store(tmp_path / "popham.db")) == "state.sqlite_version"
    assert list(tmp_path.iterdir()) == []


async def test_a_database_of_a_newer_form_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "popham.db"
    mark_database(path, "a", "b")
    with contextlib.closing(connect(path, "rw")) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    before = await asyncio.to_thread(path.read_bytes)
    assert refusal(lambda: open_store(path)) == "state.newer"
    assert await asyncio.to_thread(path.read_bytes) == before


def test_the_migrations_lead_to_the_tables(tmp_path: Path) -> None:
    mark_database(tmp_path / "popham.db", "a", "b")
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert script.get_heads() == [NEWEST]
    engine = writer_engine(tmp_path / "popham.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        keys = {table.name: table.primary_key.columns.keys() for table in metadata.sorted_tables}
    engine.dispose()
    assert all(key[0] == "tenant" for name, key in keys.items() if name != "meta")


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    def fail(*_arguments: object) -> None:
        raise sqlite3.OperationalError("no more")

    monkeypatch.setattr(op, "create_index", fail)
    with pytest.raises(sqlite3.OperationalError):
        mark_database(tmp_path / "popham.db", "a", "b")
    with contextlib.closing(connect(tmp_path / "popham.db", "ro")) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == []
    monkeypatch.undo()
    mark_database(tmp_path / "popham.db", "a", "b")


async def test_rel_16_a_damaged_database_is_found_at_start(tmp_path: Path) -> None:
    path = tmp_path / "popham.db"
    whole = await fill(path)
    rng = random.Random(16)
    for page in range(1, len(whole) // 4096):
        broken = bytearray(whole)
        broken[page * 4096 : page * 4096 + 12] = rng.randbytes(12)
        await asyncio.to_thread(path.write_bytes, broken)
        assert await ending(path) == "state.damaged"
        assert refusal(lambda: mark_database(path, "a", "b")) == "state.damaged"
        assert await asyncio.to_thread(path.read_bytes) == broken
    await asyncio.to_thread(path.write_bytes, b"holiday" * 1000)
    assert refusal(lambda: open_store(path)) == "state.damaged"


class LateClock(SystemClock):
    """A clock that a test sets forward."""

    late = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late


async def fill(path: Path) -> bytes:
    """Make a database of some size, and return its bytes."""
    store = open_store(path)
    await store.write(
        lambda tx: [tx.put_group(GroupRow(name=f"g{n:03}", body="x" * 500)) for n in range(200)]
    )
    await store.aclose()
    return await asyncio.to_thread(path.read_bytes)


async def ending(path: Path) -> str:
    """Return the code by which a damaged database ends its process; nobody who writes hears anything else."""
    try:
        store = open_store(path)
    except StateError as error:
        return error.code
    said = set()
    for call in (lambda: store.write(lambda tx: tx.set_meta("a", "b")), store.watch):
        with pytest.raises(StateError) as caught:
            await call()
        said.add((caught.value.code, str(caught.value)))
    await store.aclose()
    ((code, _),) = said
    return code


async def test_rel_16_questions_are_answered_while_the_file_is_checked_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "popham.db"
    await fill(path)
    begun, go_on, real = threading.Event(), threading.Event(), module._check
    clock = LateClock()

    def check(connection: Connection, checked: Path) -> None:
        begun.set()
        assert go_on.wait(10)
        clock.late = 3600.0
        real(connection, checked)

    monkeypatch.setattr(module, "_check", check)
    store = SqliteStore.open(path, clock=clock)
    writing = asyncio.ensure_future(store.write(lambda tx: tx.set_meta("a", "b")))
    assert await asyncio.to_thread(begun.wait, 10)
    assert await store.read(lambda tx: (len(tx.groups()), tx.meta("a"))) == (200, None)
    assert not writing.done()
    go_on.set()
    await writing
    assert await store.read(lambda tx: tx.meta("a")) == "b"
    await store.aclose()


async def test_a_database_of_an_older_form_is_checked_before_it_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real = module._check
    monkeypatch.setattr(module, "_check", lambda *given: steps.append("check") or real(*given))
    upgrade = module.upgrade
    monkeypatch.setattr(module, "upgrade", lambda connection: steps.append("migrate") or upgrade(connection))
    store = open_store(tmp_path / "popham.db")
    assert steps == ["check", "migrate"]
    await store.write(lambda tx: tx.set_meta("a", "b"))
    await store.aclose()
    assert steps == ["check", "migrate"]
    await open_store(tmp_path / "popham.db").aclose()
    assert steps == ["check", "migrate", "check"]


def test_a_database_of_the_newest_form_is_opened_without_the_tools_of_migration(tmp_path: Path) -> None:
    mark_database(tmp_path / "popham.db", "a", "b")
    program = (
        "import sys; from pathlib import Path; from popham.store.snapshot import mark_database; "
        "mark_database(Path(sys.argv[1]), 'c', 'd'); print('alembic' in sys.modules)"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "popham.db")]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "False\n"


def test_a_database_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    assert refusal(lambda: open_store(tmp_path / "absent" / "popham.db")) == "state.unusable"
    (tmp_path / "directory").mkdir()
    assert refusal(lambda: open_store(tmp_path / "directory")) == "state.unusable"


async def test_a_copy_of_a_database_in_use_is_whole(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.write(lambda tx: tx.put_group(GroupRow(name="web", body="{}")))
    await asyncio.to_thread(copy_database, tmp_path / "popham.db", tmp_path / "copy.db")
    copy = open_store(tmp_path / "copy.db")
    assert await copy.read(lambda tx: [row.name for row in tx.groups()]) == ["web"]
    await copy.aclose()
    with pytest.raises(FileExistsError):
        copy_database(tmp_path / "popham.db", tmp_path / "copy.db")
