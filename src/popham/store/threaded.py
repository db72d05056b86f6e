"""What the fillings in SQL share: one thread that writes, a few that read.

Neither waits for the other, and the event loop waits for none of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from popham.clock import Clock
from popham.store.commit import Committer, Ledger
from popham.store.refusal import overloaded
from popham.store.seam import Reading, Writing

T = TypeVar("T")

READERS: Final = 4
READ_LIMIT: Final = 1024


class Library(Protocol):
    """A database, as the readers' threads use it."""

    def answer(self, work: Callable[[Reading], T]) -> T:
        """Run a question on a committed snapshot. Raises StateError."""
        ...

    def close(self) -> None:
        """Close what the readers had open."""
        ...


class ThreadedStore:
    """``Store`` in an SQL database."""

    def __init__(self, ledger: Ledger, library: Library, *, clock: Clock, tenant: str) -> None:
        self._committer = Committer(ledger, clock=clock, tenant=tenant)
        self._library = library
        self._readers = ThreadPoolExecutor(READERS, "popham-store-reader")
        self._places = threading.BoundedSemaphore(READ_LIMIT)

    @property
    def waiting(self) -> int:
        """Return how many changes wait for the writer's thread."""
        return self._committer.waiting

    async def write(self, work: Callable[[Writing], T]) -> T:
        """Run ``work`` in a transaction and return its result once that is durable.

        Raises:
            StateError: ``state.overloaded``, ``state.full``, ``state.busy`` or ``state.unreachable`` (nothing
                changed, try again); ``state.broken`` or ``state.closed`` (the process must end).
        """
        return await asyncio.wrap_future(self._committer.submit(work))

    async def read(self, work: Callable[[Reading], T]) -> T:
        """Run ``work`` on a committed snapshot and return its result.

        Raises:
            StateError: As ``write``, or ``state.unreadable`` (a part of the database is damaged).
        """
        self._committer.check()
        if not self._places.acquire(blocking=False):
            raise overloaded(f"{READ_LIMIT} questions wait for the database already")
        try:
            answer = self._readers.submit(self._library.answer, work)
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

    def _close(self) -> None:
        """End the threads, then close what they used."""
        self._committer.close()
        self._readers.shutdown(wait=True)
        self._library.close()
