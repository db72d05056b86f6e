"""The one thread that writes, commits and checkpoints.

1. Work that waits while a commit runs shares the next one (group commit):
   a commit costs an fsync, a savepoint next to nothing.
2. A caller is answered once its work is on disk, never before.
3. Work that fails takes back its own savepoint only.
4. What the database wants to do between commits comes after the callers
   were answered.
5. After a failed commit nothing is known about the disk, so nothing more is
   accepted; the process has to end.  A full disk is no such failure: the
   database takes the transaction back.

What differs between databases is behind ``Ledger``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection

from popham.clock import Clock
from popham.errors import StateError
from popham.store.refusal import OverloadError, closed, overloaded
from popham.store.seam import Writing
from popham.store.transaction import SqlWriting

T = TypeVar("T")

QUEUE_LIMIT: Final = 4096
BATCH_LIMIT: Final = 512
WAIT_LIMIT_S: Final = 10.0


class Ledger(Protocol):
    """A database, as the writer's thread uses it; nobody else does."""

    def begin(self) -> None:
        """Do what comes before the first commit. Raises StateError if there must be none."""
        ...

    def commit(self, work: Callable[[Connection], None]) -> None:
        """Run ``work`` in one transaction, which is durable on return; ``work`` may be run more than once."""
        ...

    def spoils(self, error: BaseException) -> bool:
        """Return whether an error inside a savepoint leaves the whole transaction of no use."""
        ...

    def judge(self, error: BaseException) -> StateError:
        """Return what a failed transaction means: it was shed, or the database must not be used any more."""
        ...

    def rest(self, *, busy: bool) -> None:
        """Do what is due between commits. ``busy`` says whether callers wait."""
        ...

    def close(self) -> None:
        """Give back what the thread holds."""
        ...


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
    """

    def __init__(self, ledger: Ledger, *, clock: Clock, tenant: str) -> None:
        self._ledger = ledger
        self._clock = clock
        self._tenant = tenant
        self._jobs: deque[_Job] = deque()
        self._turn = threading.Condition()
        self._refusal: StateError | None = None
        self.ended: Future[None] = Future()
        self.commits = 0
        self._begun = 0.0
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
                raise overloaded(f"{QUEUE_LIMIT} changes wait for the disk already")
            self._jobs.append(job)
            self._turn.notify()
        return job.answer

    @property
    def waiting(self) -> int:
        """Return how many jobs are queued."""
        return len(self._jobs)

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
            try:
                self._ledger.begin()
                self._begun = self._clock.monotonic()
                while batch := self._take():
                    self._commit(batch)
                    self._ledger.rest(busy=bool(self._jobs))
            finally:
                self._ledger.close()
        except BaseException as error:  # noqa: BLE001 - whatever it was, callers must not wait for ever
            self._break(error if isinstance(error, StateError) else self._ledger.judge(error))
        else:
            self.ended.set_result(None)

    def _take(self) -> list[_Job]:
        """Wait for work and return what goes into one commit; nothing once closed and empty."""
        with self._turn:
            while not self._jobs and self._refusal is None:
                self._turn.wait()
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), BATCH_LIMIT))]

    def _commit(self, batch: list[_Job]) -> None:
        """Run a batch in one transaction and answer its callers."""
        jobs = [job for job in batch if job.answer.set_running_or_notify_cancel()]

        def work(connection: Connection) -> None:
            for job in jobs:
                self._work(connection, job)

        try:
            self._ledger.commit(work)
            self.commits += 1
        except BaseException as error:
            failure = error if isinstance(error, StateError) else self._ledger.judge(error)
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
        job.result = job.error = None
        # What came before the first commit may take long, and is no reason to refuse anybody.
        if self._clock.monotonic() - max(job.since, self._begun) > WAIT_LIMIT_S:
            job.error = overloaded(f"The disk did not get to this change within {WAIT_LIMIT_S:g} s")
            return
        savepoint = connection.begin_nested()
        try:
            job.result = job.work(SqlWriting(connection, self._tenant))
        except BaseException as error:
            if self._ledger.spoils(error):
                raise
            savepoint.rollback()
            job.error = error
        else:
            savepoint.commit()

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
