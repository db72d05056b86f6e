"""The Manager's database in one SQLite file.

One thread writes (``commit``), a few threads read from snapshots of their
own; neither waits for the other, and the event loop waits for none of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from pysqlite3 import dbapi2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from popham.clock import Clock
from popham.model.names import DEFAULT_TENANT
from popham.store.commit import Committer
from popham.store.engine import (
    OverloadError,
    check_sqlite,
    damaged,
    opening_error,
    reader_engine,
    reading_error,
    writer_engine,
)
from popham.store.schema import upgrade
from popham.store.seam import Reading, Writing
from popham.store.transaction import SqlReading

T = TypeVar("T")

DATABASE: Final = "popham.db"
READERS: Final = 4
READ_LIMIT: Final = 1024


class SqliteStore:
    """``Store`` in an SQLite file. Made by ``open``."""

    def __init__(self, writer: Engine, reader: Engine, *, clock: Clock, tenant: str) -> None:
        self._writer = writer
        self._reader = reader
        self._tenant = tenant
        self._committer = Committer(writer, clock=clock, tenant=tenant)
        self._readers = ThreadPoolExecutor(READERS, "popham-store-reader")
        self._places = threading.BoundedSemaphore(READ_LIMIT)

    @classmethod
    def open(cls, path: Path, *, clock: Clock, tenant: str = DEFAULT_TENANT) -> SqliteStore:
        """Open the database file at ``path``, creating or migrating it; this blocks, for seconds at worst.

        Args:
            path: The file; its directory exists and is locked by this process.
            clock: Measures how long work waits.
            tenant: Whose rows are seen.

        Raises:
            StateError: ``state.sqlite_version``, ``state.damaged``, ``state.newer`` or ``state.unusable``.
        """
        writer = open_database(path)
        return cls(writer, reader_engine(path, READERS), clock=clock, tenant=tenant)

    async def write(self, work: Callable[[Writing], T]) -> T:
        """Run ``work`` in a transaction and return its result once that is durable.

        Raises:
            StateError: ``state.overloaded``, ``state.full`` or ``state.busy`` (nothing changed, try again);
                ``state.broken`` or ``state.closed`` (the process must end).
        """
        return await asyncio.wrap_future(self._committer.submit(work))

    async def read(self, work: Callable[[Reading], T]) -> T:
        """Run ``work`` on a committed snapshot and return its result.

        Raises:
            StateError: As ``write``, or ``state.unreadable`` (a part of the file is damaged).
        """
        self._committer.check()
        if not self._places.acquire(blocking=False):
            problem = f"{READ_LIMIT} questions wait for the database already"
            raise OverloadError("overloaded", problem, "Try again in a moment")
        try:
            answer = self._readers.submit(self._answer, work)
        except BaseException:
            self._places.release()
            raise
        answer.add_done_callback(lambda _answer: self._places.release())
        return await asyncio.wrap_future(answer)

    async def watch(self) -> None:
        """Return when the store is closed.

        Raises:
            StateError: ``state.broken``: the database failed; the process must end.
        """
        await asyncio.shield(asyncio.wrap_future(self._committer.ended))

    async def aclose(self) -> None:
        """Finish what was begun, then close. It may be called again."""
        await asyncio.to_thread(self._close)

    def _answer(self, work: Callable[[Reading], T]) -> T:
        """Run a question on a reader's thread."""
        try:
            with self._reader.connect() as connection, connection.begin():
                return work(SqlReading(connection, self._tenant))
        except (DBAPIError, dbapi2.Error) as error:
            raise reading_error(error) from error

    def _close(self) -> None:
        """Close readers first, so that the writer leaves one file behind."""
        self._committer.close()
        self._readers.shutdown(wait=True)
        self._reader.dispose()
        self._writer.dispose()


def open_database(path: Path) -> Engine:
    """Check and migrate the database file at ``path``, created if it is not there; return who may write to it.

    Raises:
        StateError: ``state.sqlite_version``, ``state.damaged``, ``state.newer`` or ``state.unusable``.
    """
    check_sqlite(dbapi2.sqlite_version_info)
    try:
        writer = writer_engine(path)
    except OSError as error:
        raise opening_error(path, error) from error
    try:
        with writer.connect() as connection:
            _check(connection, path)
            upgrade(connection)
    except (DBAPIError, dbapi2.Error) as error:
        writer.dispose()
        raise opening_error(path, error) from error
    except BaseException:
        writer.dispose()
        raise
    return writer


def _check(connection: Connection, path: Path) -> None:
    """Refuse a database that lost its form (REL-16)."""
    finding = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    connection.rollback()
    if finding != "ok":
        raise damaged(path, str(finding))
