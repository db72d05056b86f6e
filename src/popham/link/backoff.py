"""How long to stay away after a failure; pure but for the draw that is passed in.

A fleet that lost its Manager must not return as one wave.  The first retry is
drawn from a window that the Manager names in its answers, so that it can be
as short as the fleet is small; later ones use full jitter.

Source: docs/adr/0008-reconnect-storms.md.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_WINDOW = 1.0
"""Seconds, while no Manager has named a window."""
BASE = 1.0
CAP = 300.0
"""Seconds: ceiling of the second retry's doubling, and of all. Source: guarantees REL-10."""


class Backoff:
    """Counts failures in a row and names the next wait."""

    def __init__(self, draw: Callable[[], float]) -> None:
        """Keep ``draw``, which returns a random number in [0, 1)."""
        self._draw = draw
        self.window = FIRST_WINDOW
        self.failures = 0

    def succeeded(self) -> None:
        """Take note that a round succeeded."""
        self.failures = 0

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
            return self.window * self._draw()
        ceiling = min(CAP, BASE * 2.0 ** min(self.failures - 1, 16))
        return ceiling * self._draw()
