"""Which database a Manager uses: a file of its own, or PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from popham.clock import Clock
from popham.errors import ConfigError
from popham.store.seam import Store
from popham.store.sqlite import SqliteStore


def open_store(database: str, path: Path, *, clock: Clock) -> Store:
    """Open the Manager's database; this blocks, for seconds at worst.

    Args:
        database: URL of a PostgreSQL database; empty for SQLite.
        path: The SQLite file, if it is that.
        clock: Measures how long work waits.

    Raises:
        ConfigError: ``config.database`` or ``config.extra``.
        StateError: The database cannot be used.
    """
    if not database:
        return SqliteStore.open(path, clock=clock)
    try:
        from popham.store.postgres import PostgresStore
    except ImportError as error:
        if not (error.name or "").startswith("psycopg"):
            raise
        problem = "A Manager on PostgreSQL needs a package that is not installed"
        raise ConfigError("extra", problem, "Install popham[postgres]") from error
    return PostgresStore.open(database, clock=clock)
