"""How many agents are in which state: counted by a task that nobody has to wait for.

Rules:

1. A count takes the loop for :data:`SLICE` at a time, and rests in between.
2. Nobody asks, nobody counts: a question is answered with the last count and
   begins the next one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from popham.clock import Clock
from popham.manager.book import ManagerBook
from popham.manager.judgement import judge_record
from popham.model.status import presence

Place = tuple[str, str, str]
"""Presence, link (``held`` or ``none``) and sync state."""
SLICE = 0.005
"""Seconds of counting between two rests."""
REST = 0.02
"""Seconds of rest: a count takes a fifth of the loop at most."""
APART = 15.0
"""Seconds between two counts, at least."""
_LOOK = 64
"""Agents between two looks at the clock."""


class Census:
    """Counts agents by presence, link and sync state."""

    def __init__(self, book: ManagerBook, clock: Clock) -> None:
        """Count what ``book`` has; :meth:`run` does it."""
        self._book = book
        self._clock = clock
        self._found: Mapping[Place, int] = {}
        self._asked = asyncio.Event()

    def look(self) -> Mapping[Place, int]:
        """Return the last count, and ask for another."""
        self._asked.set()
        return self._found

    async def run(self) -> None:
        """Count whenever somebody asked, until cancelled."""
        while True:
            await self.count()
            await asyncio.sleep(APART)
            await self._asked.wait()
            self._asked.clear()

    async def count(self) -> None:
        """Count once."""
        found: Counter[Place] = Counter()
        now, downtimes = self._clock.now(), self._book.downtimes
        began = self._clock.monotonic()
        for number, record in enumerate(list(self._book.records())):
            if number % _LOOK == 0 and self._clock.monotonic() - began > SLICE:
                await asyncio.sleep(REST)
                began = self._clock.monotonic()
            here = presence(record.last_contact, record.promise, now, downtimes)
            sync = judge_record(record, self._book.wanted(record.group))
            found[here, "none" if record.link is None else "held", sync] += 1
        self._found = found
