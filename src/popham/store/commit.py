"""The one thread that writes, commits and checkpoints.

1. Work that waits while a commit runs shares the next one (group commit):
   a commit costs an fsync, a savepoint next to nothing.
2. A caller is answered once its work is on disk, never before.
3. Work that fails takes back its own savepoint only.
4. Checkpoints come between commits, after the callers were answered, and
   wait for a quiet moment as long as the log is short.
5. After a failed commit nothing is known about the disk, so nothing more is
   accepted; the process has to end.  A full disk is no such failure: SQLite
   takes the transaction back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pysqlite3 import dbapi2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from popham.clock import Clock
from popham.errors import StateError
from popham.store.engine import OverloadError, judge, sqlite_code
from popham.store.refusal import closed
from popham.store.seam import Writing
from popham.store.transaction import SqlWriting

T = TypeVar("T")

QUEUE_LIMIT: Final = 4096
BATCH_LIMIT: Final = 512
WAIT_LIMIT_S: Final = 10.0
# Pages of 4 KiB in the log that are not in the database yet: 4 MiB when it is quiet, 32 MiB at most.
CHECKPOINT_PAGES: Final = 1024
CHECKPOINT_PAGES_BUSY: Final = 8192


@dataclass(slots=True)
class _Job:
    """One caller's work."""

    work: Callable[[Writing], Any]
    since: float
    answer: Future[Any] = field(default_factory=Future)
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Answer the caller."""
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.result)


class Committer:
    """Runs the work of many callers, many to a commit.

    Attributes:
        ended: Resolved when the thread has ended; carries the error if the database broke.
        commits: How many commits there were.
        checkpoints: How many checkpoints there were.
    """

    def __init__(self, engine: Engine, *, clock: Clock, tenant: str) -> None:
        self._engine = engine
        self._clock = clock
        self._tenant = tenant
        self._jobs: deque[_Job] = deque()
        self._turn = threading.Condition()
        self._refusal: StateError | None = None
        self.ended: Future[None] = Future()
        self.commits = 0
        self.checkpoints = 0
        self._thread = threading.Thread(target=self._run, name="popham-store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Writing], T]) -> Future[T]:
        """Queue ``work`` and return where its result will be, once it is durable.

        Raises:
            StateError: ``state.overloaded``, ``state.broken`` or ``state.closed``.
        """
        job = _Job(work, self._clock.monotonic())
        with self._turn:
            if self._refusal is not None:
                raise self._refusal
            if len(self._jobs) >= QUEUE_LIMIT:
                raise _overloaded(f"{QUEUE_LIMIT} changes wait for the disk already")
            self._jobs.append(job)
            self._turn.notify()
        return job.answer

    def check(self) -> None:
        """Raise what a caller is refused with, if it is."""
        if self._refusal is not None:
            raise self._refusal

    def close(self) -> None:
        """Finish what is queued, then end the thread. It may be called again."""
        with self._turn:
            if self._refusal is None:
                self._refusal = closed()
            self._turn.notify()
        self._thread.join()

    def _run(self) -> None:
        """Be the writer thread."""
        try:
            with self._engine.connect() as connection:
                while batch := self._take():
                    self._commit(connection, batch)
                    self._checkpoint(connection)
        except BaseException as error:  # noqa: BLE001 - whatever it was, callers must not wait for ever
            self._break(error if isinstance(error, StateError) else judge(error))
        else:
            self.ended.set_result(None)

    def _take(self) -> list[_Job]:
        """Wait for work and return what goes into one commit; nothing once closed and empty."""
        with self._turn:
            while not self._jobs and self._refusal is None:
                self._turn.wait()
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), BATCH_LIMIT))]

    def _commit(self, connection: Connection, batch: list[_Job]) -> None:
        """Run a batch in one transaction and answer its callers."""
        jobs = [job for job in batch if job.answer.set_running_or_notify_cancel()]
        try:
            with connection.begin():
                for job in jobs:
                    self._work(connection, job)
            self.commits += 1
        except BaseException as error:
            failure = judge(error)
            for job in jobs:
                job.error = failure
            if not isinstance(failure, OverloadError):
                self._refuse(failure)
                raise failure from error
        finally:
            for job in jobs:
                job.settle()

    def _work(self, connection: Connection, job: _Job) -> None:
        """Run one job in its savepoint."""
        if self._clock.monotonic() - job.since > WAIT_LIMIT_S:
            job.error = _overloaded(f"The disk did not get to this change within {WAIT_LIMIT_S:g} s")
            return
        savepoint = connection.begin_nested()
        try:
            job.result = job.work(SqlWriting(connection, self._tenant))
        except BaseException as error:
            if sqlite_code(error) is not None and not isinstance(error, IntegrityError):
                raise
            savepoint.rollback()
            job.error = error
        else:
            savepoint.commit()

    def _checkpoint(self, connection: Connection) -> None:
        """Move the log into the database, if it is time."""
        raw = connection.connection.cursor()
        try:
            _busy, logged, moved = raw.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
            if logged - moved >= (CHECKPOINT_PAGES_BUSY if self._jobs else CHECKPOINT_PAGES):
                raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self.checkpoints += 1
        except dbapi2.Error as error:
            failure = judge(error)
            if not isinstance(failure, OverloadError):
                raise failure from error
        finally:
            raw.close()

    def _refuse(self, failure: StateError) -> None:
        """Let nobody in any more."""
        with self._turn:
            self._refusal = failure

    def _break(self, failure: StateError) -> None:
        """Refuse everybody, those who wait included."""
        self._refuse(failure)
        while self._jobs:
            job = self._jobs.popleft()
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_exception(failure)
        self.ended.set_exception(failure)


def _overloaded(problem: str) -> OverloadError:
    """Return the refusal of work that came when there was too much."""
    return OverloadError("overloaded", problem, "Try again in a moment")
