"""How many rounds and upgrades a listener admits in a second, and when the others may return.

A token bucket, of one second as a rule. Whoever is turned away is told to return at a time drawn from
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
    """Admits at most so many a second; 0 admits all.

    Attributes:
        per_second: The rate; it may be changed while it is in use.
    """

    def __init__(
        self,
        per_second: float,
        *,
        clock: Clock,
        rng: random.Random,
        burst: float = 1.0,
        longest: float = LONGEST,
        shortest: float = WINDOW,
    ) -> None:
        """Start full; the bucket holds what comes in ``burst`` seconds, one at least.

        Nobody is sent away for much more than ``longest`` seconds; the window has ``shortest`` at least.
        """
        self.per_second = per_second
        self._burst = burst
        self._longest, self._shortest = longest, shortest
        self._clock = clock
        self._rng = rng
        self._tokens = max(1.0, per_second * burst)
        self._away = 0.0
        self._then = clock.monotonic()

    def admit(self) -> float | None:
        """Return None to let one in, or the seconds after which it may come again."""
        if self.per_second <= 0 or not self.take():
            return None
        return self.send_away()

    def take(self) -> float:
        """Take one token: 0 if there was one, else the seconds until there is."""
        if self.per_second <= 0:
            return 0.0
        self._refill()
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.per_second

    def put_back(self) -> None:
        """Give back a token that was not needed."""
        self._tokens += 1.0

    def send_away(self) -> float:
        """Count one who is turned away and return the seconds after which it may come again."""
        self._refill()
        self._away += 1.0
        waiting = self._away / self.per_second if self.per_second > 0 else 0.0
        return 1.0 + self._rng.random() * min(self._longest, max(self._shortest, waiting))

    def _refill(self) -> None:
        now = self._clock.monotonic()
        gained = max(0.0, now - self._then) * self.per_second
        self._then = now
        self._tokens = min(max(1.0, self.per_second * self._burst), self._tokens + gained)
        self._away = max(0.0, self._away - gained)
