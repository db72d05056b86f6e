"""When targets are to be looked at again: one heap, and no timer for each."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Final

from popham.manager.operations.ledger import Entry

LOOK: Final = 300.0
"""Seconds between two looks at the clock, at most: wall time may be set."""
_SPARE: Final = 1024
"""Entries that the heap may have beyond twice those that are open, before it is made anew."""


class Deadlines:
    """The deadlines of open targets; those of targets that are over meanwhile are passed by."""

    def __init__(self) -> None:
        """Begin with none."""
        self._heap: list[tuple[float, int, Entry]] = []
        self._order = itertools.count()
        self._sooner = asyncio.Event()

    def __len__(self) -> int:
        """Return how many are kept, those of targets that are over included."""
        return len(self._heap)

    def plan(self, entry: Entry, deadline: float, *, open_targets: int) -> None:
        """Have a target looked at, at ``deadline`` (unix seconds) and not before.

        ``open_targets`` is how many are open: of those that are over not many more are kept.
        """
        entry.deadline = deadline
        heapq.heappush(self._heap, (deadline, next(self._order), entry))
        if self._heap[0][2] is entry:
            self._sooner.set()
        if len(self._heap) > 2 * open_targets + _SPARE:
            self._heap = [one for one in self._heap if _is_due(*one)]
            heapq.heapify(self._heap)

    def take(self, now: float) -> Entry | None:
        """Return a target that is due, which is then planned no more; None if none is."""
        while self._heap and self._heap[0][0] <= now:
            deadline, number, entry = heapq.heappop(self._heap)
            if _is_due(deadline, number, entry):
                return entry
        return None

    async def wait(self, now: float) -> None:
        """Return when something is due, or it is time for another look."""
        self._sooner.clear()
        wait = min(LOOK, self._heap[0][0] - now) if self._heap else None
        try:
            async with asyncio.timeout(None if wait is None else max(0.0, wait)):
                await self._sooner.wait()
        except TimeoutError:
            return


def _is_due(deadline: float, _number: int, entry: Entry) -> bool:
    return entry.row.open and entry.deadline == deadline
