"""Copies of a database as files: taken while it is in use, and marked before one is used again."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pysqlite3 import dbapi2

from popham.model.names import DEFAULT_TENANT
from popham.store.engine import check_sqlite, connect, damaged, opening_error
from popham.store.sqlite import open_database
from popham.store.transaction import SqlWriting


def copy_database(source: Path, target: Path) -> None:
    """Copy what is committed in ``source`` to the new file ``target``, while others read and write.

    The copy is one file, checked, with mode 0600.  Nothing is written to ``source``.

    Raises:
        StateError: ``state.unusable`` or ``state.damaged``.
    """
    check_sqlite(dbapi2.sqlite_version_info)
    target.touch(mode=0o600, exist_ok=False)
    try:
        with (
            contextlib.closing(connect(source, "ro")) as original,
            contextlib.closing(connect(target, "rw")) as copy,
        ):
            original.execute("PRAGMA query_only=ON")
            original.execute("PRAGMA schema_version")  # names what is wrong; the copying itself does not
            original.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            finding = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    except dbapi2.Error as error:
        raise opening_error(source, error) from error
    if finding != "ok":
        raise damaged(source, str(finding))


def mark_database(path: Path, key: str, value: str) -> None:
    """Set a value of the Manager's own in a database that nobody has open, migrating it first.

    Raises:
        StateError: As ``popham.store.sqlite.open_database``.
    """
    engine = open_database(path)
    try:
        with engine.connect() as connection, connection.begin():
            SqlWriting(connection, DEFAULT_TENANT).set_meta(key, value)
    finally:
        engine.dispose()
