"""How PostgreSQL is written to.

1. One process writes at a time, as with SQLite: a transaction begins with an
   advisory lock.  So what was read in it still holds at its end, the audit
   chain has one next entry, and no work fails because of another's.
2. A transaction that failed for a passing reason is tried again: a
   serialization failure, a deadlock, a server that starts again.
3. A connection that is lost while it commits leaves a doubt.  It is resolved
   before anything else: each transaction leaves its number in a row of this
   process, and once the lock is held again the old transaction has ended.
   (PostgreSQL's own numbers do not serve: after a crash it may use one again.)
   A doubt that stays ends the process, which then starts from what there is.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from popham.clock import Clock
from popham.errors import StateError
from popham.store.sqlstate import first_line, is_away, is_own_fault, is_passing, judge, sqlstate

_log = logging.getLogger(__name__)

PATIENCE_S: Final = 10.0
DOUBT_PATIENCE_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0

LOCK: Final = "1886351472, hashtext(coalesce(current_schema(), ''))"
"""Arguments of advisory locks: ``poph`` as a number, and the schema, so that fleets in two schemas do not meet."""

_LOCK: Final = text(f"SELECT pg_advisory_xact_lock({LOCK})")
_MARK: Final = text(
    "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_MARKED: Final = text("SELECT value FROM meta WHERE key = :key")
_UNMARK: Final = text("DELETE FROM meta WHERE key = :key")
_SWEEP: Final = text(
    "DELETE FROM meta WHERE key LIKE 'commit/%' AND CAST(split_part(value, ' ', 2) AS float) < :before"
)
_MARK_LIFETIME_S: Final = 86400.0
"""After which the mark of a process that was killed is removed; a doubt lasts a minute."""


class PostgresLedger:
    """``Ledger`` on one connection to PostgreSQL at a time.

    Attributes:
        retries: How often a transaction was tried again.
    """

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._key = f"commit/{uuid.uuid4().hex}"
        self._number = 0
        self._pause = threading.Event()
        self.retries = 0
        with engine.begin() as connection:
            connection.execute(_SWEEP, {"before": clock.now() - _MARK_LIFETIME_S})

    def begin(self) -> None:
        """Do nothing: PostgreSQL was looked at when it was opened."""

    def commit(self, work: Callable[[Connection], None]) -> None:
        """Run ``work`` in one transaction, which is durable on return; it may be run more than once."""
        begun = self._clock.monotonic()
        self._number += 1
        attempt = _Attempt(work, self._key, f"{self._number} {self._clock.now():.0f}")
        pause = _FIRST_PAUSE_S
        while True:
            try:
                with self._engine.connect() as connection:
                    attempt.run(connection)
            except BaseException as error:
                spent = self._clock.monotonic() - begun + pause
                if attempt.in_doubt and spent > DOUBT_PATIENCE_S:
                    raise _doubtful() from error
                if not attempt.in_doubt and (spent > PATIENCE_S or not is_passing(error)):
                    raise
            else:
                return
            self.retries += 1
            self._pause.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def spoils(self, error: BaseException) -> bool:
        """Return whether an error inside a savepoint leaves the whole transaction of no use."""
        return sqlstate(error) is not None and not is_own_fault(error)

    def judge(self, error: BaseException) -> StateError:
        """Return what a failed transaction means."""
        return judge(error)

    def rest(self, *, busy: bool) -> None:
        """Do nothing: PostgreSQL minds its own log."""

    def close(self) -> None:
        """Close the connection, and leave no mark behind if that is possible."""
        try:
            with self._engine.begin() as connection:
                connection.execute(_UNMARK, {"key": self._key})
        except DBAPIError as error:
            _log.debug("the mark %s stays for a day: %s", self._key, first_line(error))
        finally:
            self._engine.dispose()


class _Attempt:
    """One transaction, as often as it is tried.

    Attributes:
        in_doubt: Whether it may have been committed, for all that is known.
    """

    def __init__(self, work: Callable[[Connection], None], key: str, value: str) -> None:
        self._work = work
        self._mark = {"key": key, "value": value}
        self.in_doubt = False

    def run(self, connection: Connection) -> None:
        """Try once; raises what went wrong."""
        transaction = connection.begin()
        connection.execute(_LOCK)
        if self.in_doubt:
            found = connection.execute(_MARKED, {"key": self._mark["key"]}).scalar()
            if found == self._mark["value"]:
                transaction.rollback()
                return
            self.in_doubt = False
        self._work(connection)
        connection.execute(_MARK, self._mark)
        self.in_doubt = True
        try:
            transaction.commit()
        except BaseException as error:
            self.in_doubt = is_away(error)  # else the server is there to say that it was not made
            raise


def _doubtful() -> StateError:
    """Return the end of a process that does not know what the database holds."""
    problem = "PostgreSQL was lost during a commit, and whether that was made could not be found out"
    return StateError(
        "broken", problem, "Start again once PostgreSQL answers; nothing that was acknowledged is lost"
    )
