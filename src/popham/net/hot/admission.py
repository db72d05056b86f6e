"""How many new links a process takes in a second: measured, and kept by a token bucket.

A handshake is work before anybody is known, so it is rationed before it
begins.  How many a second this machine bears is not known beforehand:
:class:`LinkRate` looks at the loop's lag while it is asked for more than it
gives, and moves.

Rules:

1. It learns only while it is the bottleneck; a quiet hour says nothing.
2. The burst is a fraction of a second, or a burst of handshakes would be the lag.

Source: guarantees REL-10, docs/adr/0015-admission-before-the-handshake.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from popham.clock import Clock
from popham.net.rate import RoundRate

START = 400.0
"""Links a second before anything was measured. Source: docs/adr/0008-reconnect-storms.md."""
LEAST = 20.0
MOST = 20_000.0
LAG = 0.05
"""Seconds of lag up to which the loop bears what it is given. Source: guarantees GOAL-7."""
BURST = 0.02
"""Seconds of handshakes that may begin at once."""
SPAN = 0.5
"""Seconds from one look at the lag to the next."""
MORE, LESS = 1.05, 0.85
"""Steps of the rate: twice as much takes 7 s, half as much 2 s."""


class LinkRate:
    """Admits new links at a rate that the loop bears."""

    def __init__(
        self, per_second: float, *, clock: Clock, rng: random.Random, lag: Callable[[], float]
    ) -> None:
        """Start full.

        Args:
            per_second: The rate, fixed; 0 to measure it.
            clock: Monotonic time.
            rng: Spreads the return of those who are sent away.
            lag: Returns the loop's worst lag of the last second, in seconds.
        """
        self._measures = per_second <= 0
        self._clock = clock
        self._lag = lag
        start = START if self._measures else per_second
        self._bucket = RoundRate(start, clock=clock, rng=rng, burst=BURST)
        self._looked = clock.monotonic()
        self._asked = False
        self.completed = 0
        """Handshakes that ended well since the start."""

    @property
    def per_second(self) -> float:
        """Return the rate now."""
        return self._bucket.per_second

    def take(self) -> float:
        """Take one link's worth: 0 if there was one, else the seconds until the next."""
        self._learn()
        wait = self._bucket.take()
        self._asked = self._asked or wait > 0
        return wait

    def put_back(self) -> None:
        """Give back what :meth:`take` took for nothing."""
        self._bucket.put_back()

    def away(self) -> float:
        """Return the seconds after which somebody who is sent away now may come again."""
        return self._bucket.send_away()

    def _learn(self) -> None:
        now = self._clock.monotonic()
        if not self._measures or now - self._looked < SPAN:
            return
        rate = self._bucket.per_second
        if self._lag() > LAG:
            self._bucket.per_second = max(LEAST, rate * LESS)
        elif self._asked:
            self._bucket.per_second = min(MOST, rate * MORE)
        self._looked = now
        self._asked = False
