"""When an agent comes next: at its heartbeat, or sooner because something happened.

Rules:

1. Something that happened (a change was applied, the machine woke, the network is another, an error)
   brings one round nearer, to a draw from the upper half of ``accelerated`` seconds.
2. At most :data:`IN_A_ROW` such rounds follow each other; then a heartbeat passes first.
3. They take nothing from the spread: the round that moves an agent to its phase is still to come.
4. While upstream puts rounds off there are none.
"""

from __future__ import annotations

from collections.abc import Callable

from popham.link.cadence import phase_of, wait_until_next
from popham.model.communication import CommunicationSettings

IN_A_ROW = 3
"""Accelerated rounds after which a heartbeat passes. Source: features, F.L11."""


class Pace:
    """Names the waits of one agent."""

    def __init__(self, uid: bytes, draw: Callable[[], float]) -> None:
        """Begin; ``draw`` returns a random number in [0, 1)."""
        self._phase = phase_of(uid)
        self._draw = draw
        self._rounds = 0
        self._paced: CommunicationSettings | None = None
        self._hastened = 0
        self._sooner = False

    def heartbeat(self, settings: CommunicationSettings, stretch: float) -> float:
        """Return seconds from a round to the next, if nothing happens."""
        if settings != self._paced:
            self._paced, self._rounds = settings, 0
        rounds = self._rounds + 1
        wait = wait_until_next(settings.heartbeat, settings.window, rounds=rounds, phase=self._phase)
        return wait + stretch

    def after_round(self, settings: CommunicationSettings, stretch: float, *, stirred: bool) -> float:
        """Return seconds from a round of pull to the next; ``stirred`` if something happened."""
        if not self._sooner:
            self._hastened = 0
        self._sooner = False
        wait = self.heartbeat(settings, stretch)
        return self.hasten(wait, settings, stretch) if stirred else wait

    def hasten(self, left: float, settings: CommunicationSettings, stretch: float) -> float:
        """Return what is left of a wait because something happened: less, or the same."""
        if self._sooner or stretch > 0 or self._hastened >= IN_A_ROW:
            return left
        if not settings.accelerated or left <= settings.accelerated:
            return left
        self._hastened += 1
        self._sooner = True
        return self.draw(settings)

    def draw(self, settings: CommunicationSettings) -> float:
        """Return a draw from the upper half of ``accelerated`` seconds."""
        return settings.accelerated * (0.5 + 0.5 * self._draw())

    def passed(self) -> None:
        """Take note that the wait for a round is over."""
        if not self._sooner:
            self._rounds += 1
