"""What an upstream that dials remembers of each agent that it visits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from popham.errors import PophamError, VisitError
from popham.link.backoff import Backoff
from popham.upstream.dialled import DialledLink
from popham.upstream.targets import Target
from popham.upstream.visits import Dials, Nonce

SLOW = 20.0
"""Seconds of a visit that succeeded, from which on the next one is among the slow; an agent answers within ten."""


@dataclass(slots=True)
class Sight:
    """What came of the visits of one agent.

    Attributes:
        last: Unix seconds of the last visit that succeeded, or sign of life on the held link; None for never.
        since: Unix seconds since which it is as it is now.
        error: Why the last attempt failed; None if it did not.
        failures: Attempts in a row that failed.
        next: Unix seconds of the next attempt; None while a link is held or one is under way.
    """

    since: float
    last: float | None = None
    error: PophamError | None = None
    failures: int = 0
    next: float | None = None

    @property
    def code(self) -> str:
        """Of the error; empty for none."""
        return self.error.code if self.error else ""

    def begin_anew(self, now: float) -> None:
        """Forget why it failed: it is visited in another way from now on."""
        self.error, self.failures, self.since = None, 0, now


@dataclass(slots=True)
class Seen:
    """One agent of the schedule.

    Attributes:
        target: Who, and where.
        sight: What people are told.
        dials: The way there.
        nonce: The newest it gave.
        again: How often it was asked again because it was applying.
        backoff: Where a link is to be held, and was lost.
        link: The link that is held.
        task: The visit or link under way.
        wanted: Newer than ``target``, once what is under way has come to its end.
        soon: Seconds to the next attempt from the end of this one, if somebody asked for one meanwhile.
        dropped: Whether it is forgotten once what is under way has come to its end.
        moving: Visits it until one succeeds, to let the link go then.
        asked: Whether it is visited even if it came another way.
        only_reads: Whether nothing but its streams is asked for this time, since it came another way.
        unheld: Why no link can be held there, so that it is visited instead; None if one can.
        begun: Unix seconds at which what is under way began; None once it is known how long it took.
        lingered: Whether the last visit took long.
    """

    target: Target
    sight: Sight
    dials: Dials
    nonce: Nonce = field(default_factory=Nonce)
    again: int = 0
    backoff: Backoff | None = None
    link: DialledLink | None = None
    task: asyncio.Task[None] | None = None
    wanted: Target | None = None
    soon: float | None = None
    dropped: bool = False
    moving: asyncio.Task[None] | None = None
    asked: bool = False
    only_reads: bool = False
    unheld: VisitError | None = None
    begun: float | None = None
    lingered: bool = False

    @property
    def is_slow(self) -> bool:
        """Whether the next visit may take long: the last one did, or failed."""
        return self.lingered or bool(self.sight.failures)

    def begin(self, now: float) -> None:
        """Take note that a visit begins, or a link is being opened."""
        self.sight.next = self.soon = None
        self.begun = now

    def note_well(self, now: float) -> None:
        """Take note that it was visited, or that a link to it is open."""
        if self.begun is not None:
            self.lingered, self.begun = now - self.begun > SLOW, None
        sight = self.sight
        if sight.last is None or sight.code != (self.unheld.code if self.unheld else ""):
            sight.since = now
        sight.last, sight.error, sight.failures = now, self.unheld, 0

    def note_failure(self, error: PophamError, now: float) -> bool:
        """Take note of why it was not visited; return whether that is new."""
        sight, fresh = self.sight, self.sight.code != error.code
        if fresh:
            sight.since = now
        sight.error, sight.failures, self.again = error, sight.failures + 1, 0
        return fresh

    def late(self, seconds: float) -> VisitError:
        """Return the error for a visit that took longer than that."""
        problem = f"the visit of {self.target.place.url} took longer than {seconds:g} s"
        return VisitError("slow", problem, "Look at the load of the machine, and at what stands in between")
