"""Whether this end is visited, so that it need not dial; pure.

Rules:

1. Make before break: who is to be visited dials as ever until a visit came, and again after
   :data:`MISSED` visits did not come; who is to dial says that it is visited still, until its own way worked.
2. ``never_dial`` is the exception to the second: such an end waits, however long it takes, from its first visit on,
   or from its start if it starts so.
3. A service that is off cannot be visited.
4. A process that starts where visits hold already waits for them first, and before that for its own service: it
   opens nothing on its own.

Source: design, groups, locations, settings.
"""

from __future__ import annotations

import math

from popham.model.communication import CommunicationSettings, Dialer

MISSED = 3
"""Visits that do not come before this end dials by itself. Source: design 5."""
STARTING = 5.0
"""Seconds that a service has to begin to listen, when the process starts."""
OFF, AWAITED, LAPSED = "visit.off", "visit.awaited", "visit.missed"
"""Codes of why an end dials although it is to be visited."""
KEPT = "visit.kept"
"""Code of why an end is visited although it is to dial: its own way has not worked yet."""


class Visits:
    """When the last visit was; all times are monotonic seconds of one clock."""

    def __init__(self) -> None:
        """Begin without one."""
        self._last = self._begun = -math.inf
        self._came = self._kept = self._works = False

    def begin(self, settings: CommunicationSettings, now: float) -> None:
        """Take note that the process starts under ``settings``: visits are waited for as if one had just been."""
        if settings.dialer is Dialer.MANAGER:
            self._last = self._begun = now

    @property
    def works(self) -> bool:
        """Whether this end's own way worked since it is to dial."""
        return self._works

    def note(self, now: float) -> None:
        """Take note of a visit, or of a sign of life on a link that upstream opened."""
        self._last, self._came = now, True
        self._kept = not self._works

    def dialled(self) -> bool:
        """Take note that this end's own way worked; return whether it was visited until then."""
        kept, self._kept, self._works = self._kept, False, True
        return kept

    def left(self, settings: CommunicationSettings, now: float, *, serving: bool) -> float:
        """Return the seconds for which this end need not dial; 0 or less if it has to, infinity if it never does."""
        if settings.dialer is Dialer.AGENT:
            # Visits of before say nothing of whether those that are ordered the next time come.
            self._last = self._begun = -math.inf
            self._came = False
            return 0.0
        self._works = False
        if settings.never_dial and (self._came or self._begun > -math.inf):
            return math.inf
        if not serving:
            return max(0.0, self._begun + STARTING - now)
        return self._last + MISSED * settings.heartbeat - now

    def why(self, settings: CommunicationSettings, now: float, *, serving: bool) -> str:
        """Return the code of why this end dials although it is to be visited, or is visited although it is to dial.

        Empty if each is as it is to be.
        """
        if settings.dialer is Dialer.AGENT:
            return KEPT if self._kept else ""
        if self.left(settings, now, serving=serving) > 0:
            return ""
        if not serving:
            return OFF
        return LAPSED if self._came else AWAITED
