"""What links are to be told: groups that changed, and offers that were left out under load.

Rules:

1. One task tells all; it gives the loop a turn after :data:`SLICE`, however
   many links there are.
2. Losing news costs nothing but time: the next heartbeat brings the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from popham.clock import Clock
from popham.upstream.book import Book
from popham.upstream.record import Record
from popham.upstream.shedding import Shedder, Work

SLICE = 0.005
"""Seconds of telling between two turns of the loop. Source: design, fan-out keeps its lag under 20 ms."""
PAUSE = 0.1
"""Seconds until another look, while there is too much to do."""


class News:
    """Groups and agents that are to be told, and the task that tells them."""

    def __init__(self, book: Book, clock: Clock, tell: Callable[[Record], None], shedder: Shedder) -> None:
        """Tell by ``tell``, which says nothing where there is nothing to say."""
        self._book = book
        self._clock = clock
        self._tell = tell
        self._shedder = shedder
        self._groups: set[str] = set()
        self._owed: set[bytes] = set()
        self._woken = asyncio.Event()

    def changed(self, groups: Iterable[str]) -> None:
        """Take note that what these groups are to have has changed."""
        self._groups.update(groups)
        self._woken.set()

    def owe(self, record: Record) -> None:
        """Take note that an agent was not offered what it should have."""
        self._owed.add(record.key)
        self._woken.set()

    async def publish(self) -> None:
        """Tell links, in slices, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self._wait_for_room()
            groups, self._groups = self._groups, set()
            owed, self._owed = self._owed, set()
            await self._publish(self._find(groups, owed))

    def _find(self, groups: set[str], owed: set[bytes]) -> list[Record]:
        """Return the agents to tell, those on links only."""
        found = [self._book.find(key) for key in owed]
        known = [record for record in found if record is not None and record.group not in groups]
        if groups:
            known += [r for r in self._book.records() if r.link is not None and r.group in groups]
        return known

    async def _publish(self, records: list[Record]) -> None:
        began = self._clock.monotonic()
        for record in records:
            self._tell(record)
            if self._clock.monotonic() - began >= SLICE:
                await asyncio.sleep(0)
                await self._wait_for_room()
                began = self._clock.monotonic()

    async def _wait_for_room(self) -> None:
        while self._shedder.sheds(Work.POLICY):  # noqa: ASYNC110  # load raises no event
            await asyncio.sleep(PAUSE)
