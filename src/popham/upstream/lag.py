"""How late the event loop is: one task that sleeps, and looks how much longer it took.

Whoever blocks the loop, be it a large answer or a burst of handshakes, shows
here; the door and the hub read it to decide what they let be.

Source: guarantees REL-24.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence

EVERY = 0.05
"""Seconds between two looks: 20 wake-ups a second, a thousandth of a core."""
WINDOW = 600
"""Looks that quantiles are of: half a minute."""
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, math.inf)
"""Seconds up to which looks are counted together, since the start; 50 ms is the goal."""
COLLECT = (10_000, 20, 100)
"""How seldom the collector of garbage looks for cycles. One look at 10,000 held links takes 200 ms, in which
nobody is answered, and as many reports at once would cause three."""
LATELY = 20
"""Looks that :meth:`Lag.worst` is of: a second."""


class Lag:
    """Samples of the loop's lag, in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Keep the clock; :meth:`run` looks at it."""
        self._monotonic = monotonic
        self._samples: deque[float] = deque(maxlen=WINDOW)
        self._lately: deque[float] = deque(maxlen=LATELY)
        self._due: float | None = None
        self._counts = [0] * len(BOUNDS)
        self.count = 0
        """Looks since the start."""
        self.total = 0.0
        """Seconds of lag of all of them."""

    def note(self, lag: float) -> None:
        """Take one sample."""
        lag = max(0.0, lag)
        self._samples.append(lag)
        self._lately.append(lag)
        self._counts[bisect_left(BOUNDS, lag)] += 1
        self.count += 1
        self.total += lag

    def worst(self) -> float:
        """Return the worst of the last second, the look that is due now included."""
        late = 0.0 if self._due is None else self._monotonic() - self._due
        return max(late, max(self._lately, default=0.0))

    def standing(self) -> float:
        """Return the lag that half the looks of the last second had: a single burst is no load.

        Source: CoDel, which acts on a delay that stays, never on a peak.
        """
        ranked = sorted(self._lately)
        return ranked[len(ranked) // 2] if len(ranked) == LATELY else 0.0

    def quantile(self, part: float) -> float:
        """Return the lag that ``part`` of the last half minute was not above; 0 without samples."""
        if not self._samples:
            return 0.0
        ranked = sorted(self._samples)
        return ranked[max(0, math.ceil(part * len(ranked)) - 1)]

    def buckets(self) -> Sequence[tuple[float, int]]:
        """Return (seconds, looks since the start that were not above): whoever reads twice can subtract."""
        counted, found = 0, []
        for bound, count in zip(BOUNDS, self._counts, strict=True):
            counted += count
            found.append((bound, counted))
        return found

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._due = self._monotonic() + EVERY
            await asyncio.sleep(EVERY)
            self.note(self._monotonic() - self._due)
