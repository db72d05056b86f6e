"""The Manager's database in PostgreSQL.

The URL goes to libpq as it stands, so service files, password files, several
hosts and TLS settings mean there what they mean to ``psql``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from popham.clock import Clock
from popham.errors import ConfigError, StateError
from popham.model.names import DEFAULT_TENANT
from popham.store.postgres_ledger import LOCK, PostgresLedger
from popham.store.reading import SqlReading
from popham.store.refusal import OverloadError
from popham.store.schema import upgrade
from popham.store.seam import Reading
from popham.store.sqlstate import first_line, judge, reading_error
from popham.store.threaded import READERS, ThreadedStore

T = TypeVar("T")

_log = logging.getLogger(__name__)

# pg_current_xact_id came with 13; 14 is the oldest that is maintained.
# Source: https://www.postgresql.org/support/versioning/
OLDEST_POSTGRESQL: Final = 140000
SCHEMES: Final = ("postgresql://", "postgres://")
# A host that vanished is noticed within a minute. What the URL says of these goes first.
_DEFAULTS: Final = {
    "application_name": "popham",
    "client_encoding": "utf8",
    "connect_timeout": "5",
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "40000",
}
# Milliseconds: how long a change waits for another process, and how long a process that hangs may hold others up.
_LOCK_TIMEOUT_MS: Final = 10_000
_IDLE_TIMEOUT_MS: Final = 30_000
# Weaker than ``on``: an acknowledged change could be lost.
_WEAK_COMMITS: Final = ("off", "local", "remote_write")


class PostgresStore(ThreadedStore):
    """``Store`` in a PostgreSQL database. Made by ``open``."""

    @classmethod
    def open(cls, url: str, *, clock: Clock, tenant: str = DEFAULT_TENANT) -> PostgresStore:
        """Open the database at ``url``, migrating it; this blocks, for seconds at worst.

        Args:
            url: ``postgresql://USER@HOST/DATABASE``, or what else libpq reads; the database exists.
            clock: Measures how long work waits.
            tenant: Whose rows are seen.

        Raises:
            ConfigError: ``config.database``: it is no such URL.
            StateError: ``state.unreachable``, ``state.newer`` or ``state.unusable``.
        """
        writer = _engine(url, 1, _configure_writer)
        try:
            _prepare(writer)
            ledger = PostgresLedger(writer, clock=clock)
        except DBAPIError as error:
            writer.dispose()
            raise _opening_error(error) from error
        except BaseException:
            writer.dispose()
            raise
        library = PostgresLibrary(_engine(url, READERS, _configure_reader), tenant)
        return cls(ledger, library, clock=clock, tenant=tenant)


class PostgresLibrary:
    """``Library`` on a few connections that cannot write."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant

    def answer(self, work: Callable[[Reading], T]) -> T:
        """Run a question on a snapshot of its own; again, if its connection was lost while it lay idle."""
        try:
            try:
                return self._ask(work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return self._ask(work)
        except (DBAPIError, psycopg.Error) as error:
            raise reading_error(error) from error

    def _ask(self, work: Callable[[Reading], T]) -> T:
        """Run a question once."""
        with self._engine.connect() as connection, connection.begin():
            return work(SqlReading(connection, self._tenant))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def check_url(url: str) -> dict[str, Any]:
    """Return the parameters in a URL, as libpq reads them.

    Raises:
        ConfigError: ``config.database``. The URL is not repeated: it may hold a password.
    """
    hint = "Write it like 'postgresql://popham@db.example.com/popham'"
    if not url.startswith(SCHEMES):
        raise ConfigError("database", "database: it is no URL of PostgreSQL", hint)
    try:
        return conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigError("database", "database: libpq cannot read this URL", hint) from None


def _engine(url: str, connections: int, configure: Callable[[psycopg.Connection], None]) -> Engine:
    """Return an engine with that many connections, each of them configured."""
    parameters = _DEFAULTS | check_url(url)

    def connect() -> psycopg.Connection:
        connection = psycopg.connect(**parameters)
        try:
            configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
    )


def _configure_writer(connection: psycopg.Connection) -> None:
    """Make a commit durable, and let nobody wait for ever."""
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    connection.read_only = False
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}")
    connection.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_TIMEOUT_MS}")
    connection.execute("SET statement_timeout = 0")
    row = connection.execute("SELECT current_setting('synchronous_commit')").fetchone()
    if row and row[0] in _WEAK_COMMITS:
        connection.execute("SET synchronous_commit = on")
    connection.autocommit = False


def _configure_reader(connection: psycopg.Connection) -> None:
    """Let every transaction see one moment, and change nothing."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True


def _prepare(engine: Engine) -> None:
    """Check the server and bring the database to its newest form, one process at a time."""
    with engine.connect() as connection:
        _check(connection)
        connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
        connection.commit()
        try:
            upgrade(connection)
        finally:
            connection.rollback()
            connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
            connection.commit()


def _check(connection: Connection) -> None:
    """Refuse a server or database that would not keep what it is given."""
    settings = {
        name: str(connection.execute(text("SELECT current_setting(:name)"), {"name": name}).scalar_one())
        for name in ("server_version_num", "server_encoding", "fsync")
    }
    connection.rollback()
    if int(settings["server_version_num"]) < OLDEST_POSTGRESQL:
        found = int(settings["server_version_num"]) // 10000
        problem = f"PostgreSQL {found} is too old"
        raise StateError(
            "unusable", problem, f"PostgreSQL {OLDEST_POSTGRESQL // 10000} is the oldest allowed"
        )
    if settings["server_encoding"] != "UTF8":
        problem = (
            f"The database has the encoding {settings['server_encoding']}, which does not hold every text"
        )
        raise StateError("unusable", problem, "Create it with: createdb --template=template0 --encoding=UTF8")
    if settings["fsync"] != "on":
        _log.warning("PostgreSQL runs with fsync off: a power cut may lose what was acknowledged")


def _opening_error(error: DBAPIError) -> StateError:
    """Return why a database could not be opened."""
    failure = judge(error)
    if isinstance(failure, OverloadError):
        return failure
    hint = "The Manager's role must be allowed to create tables: createdb --owner=ROLE DATABASE"
    return StateError("unusable", f"The database cannot be used: {first_line(error)}", hint)
