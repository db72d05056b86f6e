"""What an upstream that dials remembers of each agent that it visits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from popham.errors import PophamError
from popham.link.backoff import Backoff
from popham.upstream.dialled import DialledLink
from popham.upstream.targets import Target
from popham.upstream.visits import Dials, Nonce


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


@dataclass(slots=True)
class Seen:
    """One agent of the schedule.

    Attributes:
        target: Who, and where.
        sight: What people are told.
        dials: The way there.
        nonce: The newest it gave.
        due: Monotonic seconds of the next attempt.
        again: How often it was asked again because it was applying.
        backoff: Where a link is to be held, and was lost.
        link: The link that is held.
        task: The visit or link under way.
        asked: Whether it is visited even if it came another way.
        bringing: Whether it is brought what it lacks, beside the link.
    """

    target: Target
    sight: Sight
    dials: Dials
    nonce: Nonce = field(default_factory=Nonce)
    due: float = 0.0
    again: int = 0
    backoff: Backoff | None = None
    link: DialledLink | None = None
    task: asyncio.Task[None] | None = None
    asked: bool = False
    bringing: bool = False
