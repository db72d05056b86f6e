"""How many bytes in a second one agent may send, over all its ways together.

Source: guarantees SEC-10; the generic cell rate algorithm: one number per agent.
"""

from __future__ import annotations

from typing import Final

BURST: Final = 4.0
"""Seconds of its rate that an agent may send at once."""
_SWEEP: Final = 1024


class Quota:
    """When each agent will have paid for what it sent; one that has is not remembered."""

    def __init__(self, rate: float, *, burst: float = BURST) -> None:
        """Allow ``rate`` bytes in a second, 0 for any number, and ``burst`` seconds of that at once."""
        self._rate = rate
        self._burst = burst
        self._paid: dict[bytes, float] = {}
        self._sweep = _SWEEP

    def wait(self, uid: bytes, now: float) -> float:
        """Return the seconds until something of this agent is welcome again; 0 for now."""
        return max(0.0, self._paid.get(uid, now) - now - self._burst)

    def left(self, uid: bytes, now: float) -> float:
        """Return the bytes that it may send now; infinite without a limit."""
        if not self._rate:
            return float("inf")
        return max(0.0, self._burst - max(0.0, self._paid.get(uid, now) - now)) * self._rate

    def spend(self, uid: bytes, size: int, now: float) -> None:
        """Note that it sent ``size`` bytes."""
        if not self._rate:
            return
        self._paid[uid] = max(now, self._paid.get(uid, now)) + size / self._rate
        if len(self._paid) > self._sweep:
            self._paid = {one: until for one, until in self._paid.items() if until > now}
            self._sweep = max(_SWEEP, 2 * len(self._paid))
