"""The Manager's database in one SQLite file.

Checkpoints come between commits, after the callers were answered, and wait
for a quiet moment as long as the log is short.

The whole file is checked at every start (REL-16, ``PRAGMA quick_check``):
before it is migrated, and else beside the first questions, which only read.
Nothing is written, so nothing acknowledged, before the check has ended.  What
it finds ends the store: whoever waits to write is told, and so is ``watch``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from pysqlite3 import dbapi2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from popham.clock import Clock
from popham.errors import StateError
from popham.model.names import DEFAULT_TENANT
from popham.store.engine import (
    check_sqlite,
    damaged,
    judge,
    opening_error,
    reader_engine,
    reading_error,
    sqlite_code,
    writer_engine,
)
from popham.store.reading import SqlReading
from popham.store.refusal import OverloadError
from popham.store.schema import is_newest, upgrade
from popham.store.seam import Reading
from popham.store.threaded import READERS, ThreadedStore

T = TypeVar("T")

DATABASE: Final = "popham.db"
# Pages of 4 KiB in the log that are not in the database yet: 4 MiB when it is quiet, 32 MiB at most.
CHECKPOINT_PAGES: Final = 1024
CHECKPOINT_PAGES_BUSY: Final = 8192


class SqliteStore(ThreadedStore):
    """``Store`` in an SQLite file. Made by ``open``."""

    @classmethod
    def open(cls, path: Path, *, clock: Clock, tenant: str = DEFAULT_TENANT) -> SqliteStore:
        """Open the database file at ``path``, creating or migrating it; that blocks, for seconds at worst.

        A file of the newest form is checked while questions are answered already;
        what the check finds, ``write`` and ``watch`` raise: ``state.damaged``.

        Args:
            path: The file; its directory exists and is locked by this process.
            clock: Measures how long work waits.
            tenant: Whose rows are seen.

        Raises:
            StateError: ``state.sqlite_version``, ``state.damaged``, ``state.newer`` or ``state.unusable``.
        """
        writer, checked = _open(path, at_once=False)
        library = SqliteLibrary(writer, reader_engine(path, READERS), tenant)
        ledger = SqliteLedger(writer, unchecked=None if checked else path)
        return cls(ledger, library, clock=clock, tenant=tenant)


class SqliteLedger:
    """``Ledger`` on one connection to an SQLite file.

    Attributes:
        checkpoints: How many checkpoints there were.
    """

    def __init__(self, engine: Engine, *, unchecked: Path | None = None) -> None:
        """Write by ``engine``; ``unchecked`` is the file, if it is yet to be checked."""
        self._connection = engine.connect()
        self._unchecked = unchecked
        self.checkpoints = 0

    def begin(self) -> None:
        """Check the file, if that was not done.

        Raises:
            StateError: ``state.damaged`` or ``state.unusable``.
        """
        if self._unchecked is None:
            return
        try:
            _check(self._connection, self._unchecked)
        except (DBAPIError, dbapi2.Error) as error:
            raise opening_error(self._unchecked, error) from error

    def commit(self, work: Callable[[Connection], None]) -> None:
        """Run ``work`` in one transaction, which is durable on return."""
        with self._connection.begin():
            work(self._connection)

    def spoils(self, error: BaseException) -> bool:
        """Return whether an error inside a savepoint leaves the whole transaction of no use."""
        return sqlite_code(error) is not None and not isinstance(error, IntegrityError)

    def judge(self, error: BaseException) -> StateError:
        """Return what a failed transaction means."""
        return judge(error)

    def rest(self, *, busy: bool) -> None:
        """Move the log into the database, if it is time."""
        raw = self._connection.connection.cursor()
        try:
            _busy, logged, moved = raw.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
            if logged - moved >= (CHECKPOINT_PAGES_BUSY if busy else CHECKPOINT_PAGES):
                raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self.checkpoints += 1
        except dbapi2.Error as error:
            failure = judge(error)
            if not isinstance(failure, OverloadError):
                raise failure from error
        finally:
            raw.close()

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


class SqliteLibrary:
    """``Library`` on a few connections that cannot write."""

    def __init__(self, writer: Engine, reader: Engine, tenant: str) -> None:
        self._writer = writer
        self._reader = reader
        self._tenant = tenant

    def answer(self, work: Callable[[Reading], T]) -> T:
        """Run a question on a snapshot of its own."""
        try:
            with self._reader.connect() as connection, connection.begin():
                return work(SqlReading(connection, self._tenant))
        except (DBAPIError, dbapi2.Error) as error:
            raise reading_error(error) from error

    def close(self) -> None:
        """Close readers first, so that the writer leaves one file behind."""
        self._reader.dispose()
        self._writer.dispose()


def open_database(path: Path) -> Engine:
    """Check and migrate the database file at ``path``, created if it is not there; return who may write to it.

    Raises:
        StateError: ``state.sqlite_version``, ``state.damaged``, ``state.newer`` or ``state.unusable``.
    """
    return _open(path, at_once=True)[0]


def _open(path: Path, *, at_once: bool) -> tuple[Engine, bool]:
    """Open the database file at ``path``; returns who may write to it, and whether it was checked."""
    check_sqlite(dbapi2.sqlite_version_info)
    try:
        writer = writer_engine(path)
    except OSError as error:
        raise opening_error(path, error) from error
    try:
        with writer.connect() as connection:
            checked = at_once or not is_newest(connection)
            if checked:
                _check(connection, path)
                upgrade(connection)
    except (DBAPIError, dbapi2.Error) as error:
        writer.dispose()
        raise opening_error(path, error) from error
    except BaseException:
        writer.dispose()
        raise
    return writer, checked


def _check(connection: Connection, path: Path) -> None:
    """Refuse a database that lost its form (REL-16)."""
    finding = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    connection.rollback()
    if finding != "ok":
        raise damaged(path, str(finding))
