"""How many new links a process takes in a second: measured, and kept by a token bucket.

A handshake is work before anybody is known, so it is rationed before it
begins.  How many a second this machine bears is not known beforehand:
:class:`LinkRate` looks at the loop's lag while it is asked for more than it
gives, and moves.

Rules:

1. It learns only while it is the bottleneck; a quiet hour says nothing.
2. The burst is a fraction of a second, or a burst of handshakes would be the lag.
3. What was learned is kept over restarts: the first thing after one is a storm.

Source: guarantees REL-10, docs/adr/0015-admission-before-the-handshake.md.
"""

from __future__ import annotations

import json
import math
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
STALE = 30 * 86400.0
"""Seconds after which what was noted of a rate says nothing any more about this machine."""


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
        self._learned = False
        self.completed = 0
        """Handshakes that ended well since the start."""

    @property
    def per_second(self) -> float:
        """Return the rate now."""
        return self._bucket.per_second

    def note(self) -> str | None:
        """Return what :meth:`resume` reads after a restart; None while nothing was measured."""
        return json.dumps([round(self.per_second, 1), self._clock.now()]) if self._learned else None

    def resume(self, note: str | None) -> None:
        """Go on from a note of an earlier run; one that is old, damaged or out of bounds is not used."""
        rate = _read(note, self._clock.now()) if self._measures and note else None
        if rate is not None:
            self._bucket.per_second = rate
            self._learned = True

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
            self._learned = True
        elif self._asked:
            self._bucket.per_second = min(MOST, rate * MORE)
            self._learned = True
        self._looked = now
        self._asked = False


def _read(note: str, now: float) -> float | None:
    """Return the rate in a note; None if it cannot be one, or is from another time."""
    try:
        rate, then = (float(part) for part in json.loads(note))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    usable = math.isfinite(rate) and LEAST <= rate <= MOST and 0 <= now - then < STALE
    return rate if usable else None
