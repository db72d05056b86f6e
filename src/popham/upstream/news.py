"""What links are to be told: groups that changed, offers that were left out under load, check-ins and operations.

Rules:

1. One task tells all; it gives the loop a turn after :data:`SLICE`, however
   many links there are.
2. Losing news costs nothing but time: the next heartbeat brings the same.
3. While it tells, reports wait (:mod:`popham.upstream.backlog`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from popham.clock import Clock
from popham.upstream.backlog import Backlog
from popham.upstream.book import Book
from popham.upstream.record import Record
from popham.upstream.shedding import Shedder, Work

SLICE = 0.004
"""Seconds of telling between two turns of the loop, which then spends about twice as many on writing to
sockets. Source: design, fan-out keeps its lag under 20 ms."""
STEP = 32
"""Agents that are told between two looks at the clock."""
SIGNED_STEP = 4
"""The same where each is told what is signed for it alone, which takes some tenths of a millisecond."""
PAUSE = 0.1
"""Seconds until another look, while there is too much to do."""
Tell = Callable[[Record], None]


class News:
    """Groups and agents that are to be told, and the task that tells them."""

    def __init__(
        self,
        book: Book,
        clock: Clock,
        backlog: Backlog,
        shedder: Shedder,
        *,
        tell: Tell,
        ask: Tell,
        order: Tell,
    ) -> None:
        """Keep what is needed.

        Args:
            book: Who is in a group.
            clock: Measures the slices.
            backlog: Where reports wait meanwhile.
            shedder: Says whether there is room to tell anybody.
            tell: Tells one agent what it should be told, or nothing.
            ask: Asks one agent for a round.
            order: Tells one agent what is ordered of it, or nothing.
        """
        self._book = book
        self._clock = clock
        self._backlog = backlog
        self._shedder = shedder
        self._tell = tell
        self._ask = ask
        self._order = order
        self._groups: set[str] = set()
        self._owed: set[bytes] = set()
        self._asked: dict[bytes, None] = {}
        self._ordered: dict[str, None] = {}
        self._woken = asyncio.Event()

    def changed(self, groups: Iterable[str]) -> None:
        """Take note that what these groups are to have has changed."""
        self._groups.update(groups)
        self._woken.set()

    def owe(self, record: Record) -> None:
        """Take note that an agent was not offered what it should have."""
        self._owed.add(record.key)
        self._woken.set()

    def ask(self, record: Record) -> None:
        """Take note that an agent is to be asked for a round; those asked at once are asked in this order."""
        self._asked[record.key] = None
        self._woken.set()

    def order(self, uids: Iterable[str]) -> None:
        """Take note that something is ordered of agents; those noted at once are told in this order."""
        self._ordered.update(dict.fromkeys(uids))
        self._woken.set()

    async def publish(self) -> None:
        """Tell links, in slices, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self._wait_for_room()
            groups, self._groups = self._groups, set()
            owed, self._owed = self._owed, set()
            asked, self._asked = self._asked, {}
            ordered, self._ordered = self._ordered, {}
            self._backlog.hold()
            try:
                await self._publish(self._find(groups, owed), self._tell)
                await self._publish([r for key in asked if (r := self._book.find(key))], self._ask)
                await self._publish(
                    [r for uid in ordered if (r := self._book.record(uid))], self._order, SIGNED_STEP
                )
            finally:
                self._backlog.let_go()

    def _find(self, groups: set[str], owed: set[bytes]) -> list[Record]:
        """Return the agents to tell, those on links only."""
        found = [self._book.find(key) for key in owed]
        known = [record for record in found if record is not None and record.group not in groups]
        if groups:
            known += [r for r in self._book.records() if r.link is not None and r.group in groups]
        return known

    async def _publish(self, records: Sequence[Record], tell: Tell, step: int = STEP) -> None:
        began = self._clock.monotonic()
        for first in range(0, len(records), step):
            for record in records[first : first + step]:
                tell(record)
            if self._clock.monotonic() - began >= SLICE:
                if self._backlog.overdue():
                    self._backlog.release()
                await asyncio.sleep(0)
                if await self._wait_for_room():
                    self._backlog.hold()
                began = self._clock.monotonic()

    async def _wait_for_room(self) -> bool:
        """Wait while there is too much to do, so that reports are heard; returns whether there was."""
        waited = False
        while self._shedder.sheds(Work.POLICY):
            waited = True
            self._backlog.let_go()
            await asyncio.sleep(PAUSE)
        return waited
