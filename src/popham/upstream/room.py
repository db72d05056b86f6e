"""How many links are held, how many may be, and when whoever found no room asks again.

Rules:

1. Who holds a link may always open another in its place.
2. Once the last place is taken there is room again when a fiftieth is free, or
   agents would come and go at the edge for ever.
3. Who is sent away pulls meanwhile, so nothing is lost but the moment; it asks
   again at a time drawn from a window that grows with how many are sent away.

Source: SEPM, whose manager caps the clients in push mode.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from popham.clock import Clock
from popham.net.rate import RoundRate
from popham.net.seam import FULL, Peer, Refusal
from popham.upstream.record import Record

START_RATE = 400.0
"""Links a second, where nobody measures it. Source: docs/adr/0008-reconnect-storms.md."""
FREE = 0.98
"""Part of the places below which there is room again."""
ASKS = 10.0
"""Requests for a link in a second, of those for whom there was no room: each costs a handshake."""
LONGEST = 3600.0
"""Seconds of the largest window from which the next request is drawn."""
_SENTENCE = f"This Manager's links are all taken; pull by heartbeat, and ask for a link later ({FULL})"


class Room:
    """Counts held links against their cap.

    Attributes:
        held: Links held now.
        cap: How many may be; 0 for any number.
        refused: Requests for a link for which there was no room, since the start.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        cap: int = 0,
        rate: Callable[[], float] = lambda: START_RATE,
        rng: random.Random | None = None,
    ) -> None:
        """Begin empty.

        Args:
            clock: Monotonic time.
            cap: How many links may be held; 0 for any number.
            rate: Returns the links this upstream can take in a second; names the window of
                first retries. Source: guarantees, reconnect storms.
            rng: Spreads the return of those who are sent away.
        """
        self._rate = rate
        self._asks = RoundRate(ASKS, clock=clock, rng=rng or random.SystemRandom(), longest=LONGEST)
        self._full = False
        self.cap = cap
        self.held = 0
        self.refused = 0

    @property
    def retry_window(self) -> float:
        """Seconds from which agents draw their first retry after a loss: links held ÷ rate."""
        return max(1.0, self.held / self._rate())

    @property
    def full(self) -> bool:
        """Whether there is no room for one more agent."""
        if self.cap <= 0:
            return False
        least = min(self.cap - 1, int(self.cap * FREE))
        self._full = self.held >= self.cap or (self._full and self.held > least)
        return self._full

    def refusal(self, peer: Peer, record: Record | None) -> Refusal | None:
        """Return why ``peer`` may not hold a link now, or None if it may.

        Args:
            peer: Who asks; already identified.
            record: The agent it says it is; None if it is not known.
        """
        if not self.full or _replaces(peer, record):
            return None
        self.refused += 1
        return Refusal(status=503, retry_after=self._asks.send_away(), body=_SENTENCE)


def _replaces(peer: Peer, record: Record | None) -> bool:
    """Return whether this peer's own agent holds a link, in whose place the new one will stand."""
    if record is None or record.link is None:
        return False
    here, there = peer.identity, record.link.peer.identity
    return bool((here.uid, here.token) == (there.uid, there.token))
