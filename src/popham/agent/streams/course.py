"""How far the records of one stream were brought, and when the next are due."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from popham.agent.streams.spools import View
from popham.link.backoff import Backoff
from popham.streams.frame import Frame, Stream
from popham.streams.standing import CREDIT, Range, Standing

if TYPE_CHECKING:
    from popham.streams.spool import Continue

LINGER: Final = 0.1
"""Seconds that a record waits for others, so that they go together. Source: the bound of 0.2 s for push."""


@dataclass(slots=True)
class Course:
    """How far one stream is; times are of the loop.

    Attributes:
        stream: Which one.
        backoff: How long to stay away after it was refused.
        epoch: Of which history upstream told last how far it is; 0 before.
        first: Offset of the next record to send.
        released: Offset up to which a round, or a visit interval, let records go.
        credit: Bytes that upstream takes unasked.
        ranges: What it has beyond ``first``.
        until: It wants nothing before.
        asked: Until when a visitor is waited for that asked, or was told to ask.
        since: When the first record came that was not sent yet; None if none did.
        shunned: Whether its frames were not taken over a link: they go by a request then, which is told why.
        problem: Why it was not sent; empty if it was.
        renewed: Whether it began a new epoch, of which upstream has taken nothing yet.
    """

    stream: Stream
    backoff: Backoff
    epoch: int = 0
    first: int = 0
    released: int = 0
    credit: int = CREDIT
    ranges: Sequence[Range] = ()
    until: float = -math.inf
    asked: float = -math.inf
    since: float | None = None
    shunned: bool = False
    problem: str = ""
    renewed: bool = False

    @property
    def urgent(self) -> bool:
        """Whether it is of what goes at once."""
        return self.stream is Stream.EVENTS

    def appended(self, now: float) -> None:
        """Take note that there is more to send."""
        if self.since is None:
            self.since = now

    @property
    def mark(self) -> tuple[int, int]:
        """How far it is, to be compared: the epoch, and the next offset."""
        return self.epoch, self.first

    @property
    def progress(self) -> tuple[int, int, tuple[Range, ...]]:
        """How far upstream is, to be compared: also beyond what comes to it by another way."""
        return self.epoch, self.first, tuple(self.ranges)

    def note(self, standing: Standing, now: float) -> None:
        """Take note of what upstream said."""
        self.ranges = standing.ranges
        self.credit = standing.credit
        self.until = now + standing.retry_after if standing.retry_after else -math.inf

    def go_on(self, found: Continue, view: View) -> None:
        """Take note of where the spool goes on then."""
        if self.mark != (view.epoch, found.first):
            self.shunned, self.problem = False, ""
        self.epoch, self.first = view.epoch, found.first
        if found.forked:
            self.ranges = ()

    def wait(self, view: View, now: float, *, pulls: bool, critical: bool) -> float:
        """Return the seconds until something is to be sent; infinity if there is nothing, or something lets it go.

        Args:
            view: What waits.
            now: Time of the loop.
            pulls: Whether it waits to be let go.
            critical: Whether what is urgent goes whatever the heartbeat.
        """
        end, linger = view.next, 0.0
        if pulls and not (critical and self.urgent):
            end = min(end, self.released)
        elif not self.urgent and self.since is not None:
            linger = self.since + LINGER - now
        if max(self.first, view.first) >= end:
            return math.inf
        return max(linger, self.until - now)

    def lacking(self, frames: Sequence[Frame]) -> list[Frame]:
        """Return those of ``frames`` that upstream does not have."""
        return [
            frame
            for frame in frames
            if not any(one.first <= frame.head.first and frame.head.end <= one.end for one in self.ranges)
        ]
