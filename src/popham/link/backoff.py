"""How long to stay away after a failure; pure but for the draw that is passed in.

A fleet that lost its Manager must not return as one wave.  The first retry is
drawn from a window that the Manager names in its answers, so that it can be
as short as the fleet is small.  What follows has to reach two ends at once: a
Manager that is away must not be overrun by dials, and one that is back must
not wait for its last agents.  Both follow the fleet's size, so the window
names them too.

Source: docs/adr/0008-reconnect-storms.md, docs/adr/0016-retries-follow-the-window.md.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_WINDOW = 1.0
"""Seconds, while no Manager has named a window."""
BASE = 1.0
"""Seconds, doubled for the second retry; at least."""
CAP = 300.0
"""Seconds: no wait of ours is longer. Source: guarantees REL-10."""
LEAST_CEILING = 12.0
"""Seconds: a hundred thousand agents then dial about 9,500 times a second. Source: guarantees GOAL-2."""
LEAST_UNNAMED = 2 * LEAST_CEILING
"""Seconds: likewise while no Manager has named a window; as waits are drawn from 0, half of it is the mean."""
SHARE = 16.0
"""The ceiling is the window ÷ this: the last agent is late by less than a tenth of the window."""
LOWEST = 0.75
"""A wait is drawn from this part of the ceiling upwards, where a window was named."""
_DOUBLED = 9
"""Failures after which any base has been doubled beyond any ceiling."""


class Backoff:
    """Counts failures in a row and names the next wait.

    Attributes:
        failures: How many in a row.
        heartbeat: Seconds. While no Manager has named a window, no wait is longer: who comes back is in sync again
            within some heartbeats, and all who are away dial hardly more often than they would be in touch anyway.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        """Keep ``draw``, which returns a random number in [0, 1)."""
        self._draw = draw
        self.failures = 0
        self.heartbeat = CAP
        self.window = 0.0

    @property
    def ceiling(self) -> float:
        """The longest wait, in seconds, but for the first and for what the other end asks."""
        if self._window > 0:
            return min(CAP, max(LEAST_CEILING, self._window / SHARE))
        return min(CAP, max(LEAST_UNNAMED, self.heartbeat))

    @property
    def window(self) -> float:
        """Seconds that the Manager named; 0 while none has."""
        return self._window

    @window.setter
    def window(self, seconds: float) -> None:
        self._window = seconds
        # Half the ceiling of a large fleet: who came in the window's course need not hurry again.
        self._base = max(BASE, seconds / SHARE / 2)
        self._lowest = LOWEST if seconds > 0 else 0.0

    def succeeded(self) -> None:
        """Take note that a round succeeded."""
        self.failures = 0

    def elsewhere(self, most: float) -> float:
        """Return the wait, in seconds, before another server is dialled that did not fail yet.

        The window holds there too, as the others of this server come along; but no longer than ``most``.
        """
        return min(self._window or FIRST_WINDOW, most) * self._draw()

    def failed(self, retry_after: float | None = None) -> float:
        """Take note of a failure and return the wait, in seconds.

        ``retry_after`` is what the other end asked for; it is obeyed, and up to
        a tenth is added so that equal answers do not make equal returns.  Who
        says *at once* again and again is given :data:`BASE` at least.
        """
        self.failures += 1
        if retry_after is not None:
            least = BASE if self.failures > 1 else 0.0
            return max(retry_after, least) * (1 + 0.1 * self._draw())
        if self.failures == 1:
            return (self._window or FIRST_WINDOW) * self._draw()
        bound = self.ceiling
        if self.failures <= _DOUBLED:
            bound = min(bound, self._base * 2.0 ** (self.failures - 1))
        return bound * (self._lowest + (1.0 - self._lowest) * self._draw())
