"""Whose turn it is: times at which visits are due, and lanes in which so many run at once."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
from collections.abc import Callable, Iterator

_SLACK = 0.001
"""Seconds by which a turn may come early: timers are no more exact."""


class Rota:
    """Keys with the time at which each is due, and two lanes: the usual one, and the slow one."""

    def __init__(self, most: int, most_slow: int) -> None:
        """Begin empty; so many may run at once in the usual lane, and in the slow one."""
        self._most = {False: most, True: most_slow}
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._parked: dict[bool, dict[str, None]] = {False: {}, True: {}}
        self.running = {False: 0, True: 0}

    def plan(self, key: str, due: float) -> None:
        """Have a key's turn come at this time, and at no other."""
        self.drop(key)
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        if len(self._heap) > 4 * len(self._due) + 64:
            self._heap = [(when, name) for name, when in self._due.items()]
            heapq.heapify(self._heap)

    def due(self, key: str) -> float | None:
        """Return when a key's turn comes; None if it waits for room, or is not planned."""
        return self._due.get(key)

    def drop(self, key: str) -> None:
        """Forget a key's turn."""
        self._due.pop(key, None)
        for parked in self._parked.values():
            parked.pop(key, None)

    @property
    def next(self) -> float:
        """The time at which a turn comes, or earlier; infinity if none does."""
        return self._heap[0][0] if self._heap else math.inf

    def enter(self, now: float, slow: Callable[[str], bool]) -> Iterator[tuple[str, bool]]:
        """Yield those whose turn it is and for whom there is room, and whether in the slow lane; each counts as running."""
        while self._heap and self._heap[0][0] <= now + _SLACK:
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self._parked[slow(key)][key] = None
        for lane, parked in self._parked.items():
            while parked and self.running[lane] < self._most[lane]:
                key = next(iter(parked))
                del parked[key]
                self.running[lane] += 1
                yield key, lane

    def leave(self, *, slow: bool) -> None:
        """Take note that one of a lane runs no more."""
        self.running[slow] -= 1

    @staticmethod
    async def pause(event: asyncio.Event, seconds: float) -> None:
        """Wait for ``event``, so many seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds if seconds < math.inf else None):
                await event.wait()
