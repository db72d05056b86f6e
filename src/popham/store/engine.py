"""How a database file is opened, and what its errors mean.

Only an SQLite without the WAL-reset bug is used, whatever Python brought
along.  Transactions begin and end where this program says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pysqlite3 import dbapi2
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from popham.errors import StateError
from popham.store.refusal import OverloadError

# The WAL-reset bug was in 3.7.0 to 3.51.2. Source: https://sqlite.org/wal.html
OLDEST_SQLITE: Final = (3, 51, 3)
BUSY_TIMEOUT_S: Final = 5.0

_WRITER: Final[Mapping[str, str]] = {
    "journal_mode": "WAL",
    "synchronous": "FULL",
    "wal_autocheckpoint": "0",
    "journal_size_limit": str(64 * 1024 * 1024),
    "foreign_keys": "ON",
    "mmap_size": "0",
    "trusted_schema": "OFF",
}
_READER: Final[Mapping[str, str]] = {"query_only": "ON", "mmap_size": "0", "trusted_schema": "OFF"}
_PRIMARY: Final = 0xFF  # the primary result code is the low byte of an extended one


def check_sqlite(version: tuple[int, ...]) -> None:
    """Refuse an SQLite that can lose committed data.

    Raises:
        StateError: ``state.sqlite_version``.
    """
    if version < OLDEST_SQLITE:
        found, oldest = (".".join(map(str, numbers)) for numbers in (version, OLDEST_SQLITE))
        problem = f"SQLite {found} can lose committed data (its WAL-reset bug)"
        hint = (
            f"Install pysqlite3 0.6.1 or newer, not pysqlite3-binary: SQLite {oldest} is the oldest allowed"
        )
        raise StateError("sqlite_version", problem, hint)


def writer_engine(path: Path) -> Engine:
    """Return an engine with one connection that may write; the file is created with mode 0600."""
    path.touch(mode=0o600)
    return _engine(path, "rwc", 1, _WRITER, "BEGIN IMMEDIATE")


def reader_engine(path: Path, connections: int) -> Engine:
    """Return an engine whose connections cannot write."""
    return _engine(path, "ro", connections, _READER, "BEGIN")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database file without SQLAlchemy. ``mode`` is SQLite's: ``ro``, ``rw`` or ``rwc``."""
    connection: sqlite3.Connection = dbapi2.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    return connection


def sqlite_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code of a database error, None for any other error."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & _PRIMARY
    return 0 if isinstance(error, DBAPIError | dbapi2.Error) else None


def judge(error: BaseException) -> StateError:
    """Return what a failed transaction means: it was shed, or the database must not be used any more."""
    code = sqlite_code(error)
    if code == dbapi2.SQLITE_FULL:
        hint = "Free some space on the disk of the state directory"
        return OverloadError("full", "The disk is full; the change was not made", hint)
    if code in {dbapi2.SQLITE_BUSY, dbapi2.SQLITE_LOCKED}:
        hint = "End the other program that has the database open"
        return OverloadError("busy", "Another process holds the database; the change was not made", hint)
    problem = f"The database failed and is not used any more: {error}"
    return StateError("broken", problem, "Check the disk, then start again")


def reading_error(error: BaseException) -> StateError:
    """Return what a failed question means: that one is not answered, others may be."""
    if sqlite_code(error) in {dbapi2.SQLITE_BUSY, dbapi2.SQLITE_LOCKED}:
        return judge(error)
    problem = f"A part of the database cannot be read: {error}"
    return StateError("unreadable", problem, "Check the disk; restore a backup if it stays so")


def opening_error(path: Path, error: BaseException) -> StateError:
    """Return why a database file could not be opened."""
    if sqlite_code(error) in {dbapi2.SQLITE_CORRUPT, dbapi2.SQLITE_NOTADB}:
        return damaged(path, str(error))
    return StateError(
        "unusable", f"The database {path} cannot be opened: {error}", "Check the disk and the owner"
    )


def damaged(path: Path, finding: str) -> StateError:
    """Return the refusal of a database that lost its form."""
    problem = f"The database {path} is damaged: {' '.join(finding.split())}"
    return StateError("damaged", problem, "Restore a backup")


def _engine(path: Path, mode: str, connections: int, settings: Mapping[str, str], begin: str) -> Engine:
    """Return an engine of this module's SQLite with these settings on each connection."""
    engine = create_engine(
        "sqlite://",
        module=dbapi2,
        creator=lambda: connect(path, mode),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
    )

    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        for name, value in settings.items():
            found = connection.execute(f"PRAGMA {name}={value}").fetchone()
            if name == "journal_mode" and found != ("wal",):
                raise StateError(
                    "unusable", f"The file system of {path} has no shared memory", "Use a local disk"
                )

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", start)
    return engine
