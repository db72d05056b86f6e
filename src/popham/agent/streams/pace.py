"""How much may be sent where a policy bounds it; pure."""

from __future__ import annotations

from typing import Final

SLICE: Final = 1.0
"""Seconds of the rate that one request carries, at most."""
SAVED: Final = 3600.0
"""Seconds without a visit whose share one visit may bring, at most: nobody can say when it is asked for more."""


class Bandwidth:
    """Counts bytes against a rate.

    What is sent may be more than what is left, since frames are never divided; the rest is waited for.

    Attributes:
        rate: Bytes per second; 0 for no bound.
    """

    def __init__(self) -> None:
        """Begin without a bound."""
        self.rate = 0.0
        self._free = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until something may be sent; ``now`` is of a clock that never goes back."""
        return max(0.0, self._free - now) if self.rate else 0.0

    def room(self, limit: int) -> int:
        """Return the bytes that one request may have, ``limit`` at most."""
        return max(1, min(limit, int(self.rate * SLICE))) if self.rate else limit

    def saved(self, limit: int, now: float) -> int:
        """Return the bytes that one answer to a visit may have: what was not used since the last; 0 for none yet."""
        if not self.rate:
            return limit
        since = min(SAVED, now - self._free)
        return max(0, min(limit, int(since * self.rate)))

    def sent(self, size: int, now: float, *, visit: bool = False) -> None:
        """Take note that so many bytes are sent now, as the answer to a visit or by a request."""
        if self.rate:
            # What was saved counts for visits only; a request has no share of the time before it.
            begun = max(self._free, now - SAVED) if visit else max(self._free, now)
            self._free = begun + size / self.rate
