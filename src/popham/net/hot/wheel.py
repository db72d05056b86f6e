"""One timer for all connections.

A connection stands in the wheel once.  It moves its own deadline without
telling the wheel; the wheel looks at it when the deadline it knew is over, and
puts it back if there is a newer one.  So activity costs nothing.

Rules:

1. Who leaves is discarded at once, so that a storm of short connections is not kept for a minute.
2. Many that are due at once are woken in slices, with the loop's other work in between.
3. Where the loop stood still, what the sockets hold is read before anybody is woken: bytes that came in time
   must not be late because nobody looked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol

log = logging.getLogger(__name__)

GRAIN = 0.25
"""Seconds of one slot: how late a deadline may be noticed."""
LATE = 4
"""Slots by which a turn is late if the loop stood still: a second."""
SLICE = 500
"""Wakings between two turns of the loop, which keeps its lag under 20 ms."""
_NOWHERE, _DUE = 0, -1


class Timed(Protocol):
    """What stands in a wheel.

    Attributes:
        deadline: Loop time at which it wants to be woken.
        slot: The wheel's own note of where it stands; 0 while it does not.
    """

    deadline: float
    slot: int

    def expired(self, now: float) -> bool:
        """Do what is due; True to stay in the wheel, with a new deadline."""
        ...


class Wheel:
    """Wakes what stands in it, a slot at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, grain: float = GRAIN) -> None:
        """Turn on ``loop``, once something stands in it."""
        self._loop = loop
        self._grain = grain
        self._slots: dict[int, set[Timed]] = {}
        self._due: deque[Timed] = deque()
        self._turned = int(loop.time() / grain)
        self._timer: asyncio.TimerHandle | None = None
        self._next: asyncio.Handle | None = None

    def __len__(self) -> int:
        """Return how many stand in it."""
        return sum(map(len, self._slots.values())) + sum(timed.slot == _DUE for timed in self._due)

    def add(self, timed: Timed) -> None:
        """Put something in, at its deadline."""
        if self._timer is None:
            self._turned = int(self._loop.time() / self._grain)
            self._timer = self._loop.call_later(self._grain, self._turn)
        self._put(timed)

    def discard(self, timed: Timed) -> None:
        """Take something out, if it stands in."""
        if timed.slot > 0:
            standing = self._slots.get(timed.slot)
            if standing is not None:
                standing.discard(timed)
                if not standing:
                    del self._slots[timed.slot]
        timed.slot = _NOWHERE

    def hasten(self, timed: Timed) -> None:
        """Take note of a deadline that is now earlier than the one the wheel knew."""
        if self._slot(timed.deadline) < timed.slot:
            self.discard(timed)
            self._put(timed)

    def close(self) -> None:
        """Forget everything."""
        for handle in (self._timer, self._next):
            if handle is not None:
                handle.cancel()
        self._timer = self._next = None
        for timed in self._due:
            timed.slot = _NOWHERE
        self._due.clear()
        for standing in self._slots.values():
            for timed in standing:
                timed.slot = _NOWHERE
        self._slots.clear()

    def _turn(self) -> None:
        until = int(self._loop.time() / self._grain)
        # What is put in from here on stands behind what is looked at now.
        first, self._turned = self._turned + 1, until
        for slot in range(first, until + 1):
            for timed in self._slots.pop(slot, ()):
                timed.slot = _DUE
                self._due.append(timed)
        if self._next is None:
            if until - first < LATE:
                self._wake()
            else:
                # What is called soon comes before the sockets once, and after them the second time.
                self._next = self._loop.call_soon(self._look_first)
        stays = self._slots or self._due
        self._timer = self._loop.call_later(self._grain, self._turn) if stays else None

    def _look_first(self) -> None:
        """Wake those who are due once the sockets have been read."""
        self._next = self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        """Wake one slice of those that are due."""
        self._next = None
        now = self._loop.time()
        for _ in range(min(SLICE, len(self._due))):
            timed = self._due.popleft()
            if timed.slot != _DUE:
                continue
            timed.slot = _NOWHERE
            if timed.deadline > now or self._stays(timed, now):
                self.add(timed)
        if self._due:
            self._next = self._loop.call_soon(self._wake)

    @staticmethod
    def _stays(timed: Timed, now: float) -> bool:
        """Wake one; whatever happens to it, the others are woken too."""
        try:
            return timed.expired(now)
        except Exception:
            log.exception("A connection could not be woken")
            return False

    def _slot(self, deadline: float) -> int:
        return max(int(deadline / self._grain), self._turned) + 1

    def _put(self, timed: Timed) -> None:
        timed.slot = self._slot(timed.deadline)
        self._slots.setdefault(timed.slot, set()).add(timed)
