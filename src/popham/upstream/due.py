"""When an agent is to be visited next; seconds from now.

Rules:

1. Never later than one interval after a visit: whoever is shown what it said last is told that age as its bound.
2. At the agent's own phase of the interval, wherever that can be; so a fleet is spread evenly, and stays so.
"""

from __future__ import annotations

from collections.abc import Callable

from popham.clock import Clock
from popham.link.backoff import Backoff
from popham.link.cadence import phase_of
from popham.model.communication import Mode
from popham.upstream.record import Record
from popham.upstream.sighting import Seen

SOON = 10.0
"""Seconds over which first visits are spread, where somebody waits for them."""
REDIALS = 50.0
"""Links opened anew in a second, on average, where all were lost at once."""
RETRY = 30.0
"""Seconds at most after which a visit that failed is made once more, before its interval is over."""
_CATCH_UP = 60.0
"""Seconds at most over which visits are spread that were due while this upstream was away."""
_NEAR = 0.05
"""Part of an interval by which a visit may be ahead of its phase, and counts as the one of that phase."""


class Due:
    """Names the waits of a visitor."""

    def __init__(self, clock: Clock, draw: Callable[[], float]) -> None:
        """Keep what is needed; ``draw`` returns a random number in [0, 1)."""
        self._clock = clock
        self._draw = draw

    def shortly(self, seen: Seen) -> float:
        """Return the wait where the agent, or somebody, waits for it."""
        return min(SOON, seen.target.interval) * self._draw()

    def on_grid(self, key: str, seen: Seen) -> float:
        """Return the wait until the agent's own phase of its interval."""
        interval = seen.target.interval
        wait = (phase_of(key.encode()) * interval - self._clock.monotonic()) % interval
        return wait if wait >= _NEAR * interval else interval

    def first(self, key: str, seen: Seen, record: Record | None, links: int) -> float:
        """Return the wait after a start of this upstream: no longer than if there had been none.

        Who was due meanwhile is visited within as long again, so that all of them do not come at once; so many
        links are to be held.
        """
        interval = seen.target.interval
        if seen.target.mode is Mode.PUSH:
            return min(max(1.0, links / REDIALS), interval) * self._draw()
        wait = (phase_of(key.encode()) * interval - self._clock.monotonic()) % interval
        if record is None or record.last_contact is None:
            return wait
        left = record.last_contact + interval - self._clock.now()
        return min(wait, left if left > 0 else min(_CATCH_UP, -left) * self._draw())

    def after_dial(self, seen: Seen, record: Record | None) -> float:
        """Return the wait for an agent that dials, and came within its interval; 0 for any other.

        Who says that it is visited came by a visit, also before a start of this upstream.
        """
        if record is None or record.last_contact is None or record.state is None or record.awaits_dial:
            return 0.0
        left = seen.target.interval - (self._clock.now() - record.last_contact)
        return left + self.shortly(seen) if left > 0 else 0.0

    def after_failure(self, key: str, seen: Seen) -> float:
        """Return the wait after a visit that failed: one more soon, and then as always."""
        later = self.on_grid(key, seen)
        return min(later, RETRY, seen.target.interval / 4) if seen.sight.failures == 1 else later

    def after_loss(self, seen: Seen, links: int) -> float:
        """Return the wait until a link is opened anew, of so many that may have been lost at once."""
        if seen.backoff is None:
            seen.backoff = Backoff(self._draw)
        wait = seen.backoff.failed(None)
        if seen.backoff.failures == 1:
            wait *= max(1.0, links / REDIALS)
        return min(wait, seen.target.interval)
