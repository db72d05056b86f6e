"""How many rounds and upgrades a listener admits in a second, and when the others may return.

A token bucket of one second. Whoever is turned away is told to return at a time drawn from
the window that the listener needs for everybody it has turned away lately, so that a fleet
does not return as one wave.
"""

from __future__ import annotations

import random

from popham.clock import Clock

WINDOW = 30.0
"""Seconds of the smallest window for returns. Source: OpAMP "Throttling", 30 s recommended."""

LONGEST = 300.0
"""Seconds of the largest window: a heartbeat, after which everybody would come anyway."""


class RoundRate:
    """Admits at most so many a second; 0 admits all."""

    def __init__(self, per_second: float, *, clock: Clock, rng: random.Random) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._clock = clock
        self._rng = rng
        self._tokens = self._burst
        self._away = 0.0
        self._then = clock.monotonic()

    def admit(self) -> float | None:
        """Return None to let one in, or the seconds after which it may come again."""
        if self._per_second <= 0:
            return None
        now = self._clock.monotonic()
        gained = max(0.0, now - self._then) * self._per_second
        self._then = now
        self._tokens = min(self._burst, self._tokens + gained)
        self._away = max(0.0, self._away - gained)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return None
        self._away += 1.0
        window = min(LONGEST, max(WINDOW, self._away / self._per_second))
        return 1.0 + self._rng.random() * window
