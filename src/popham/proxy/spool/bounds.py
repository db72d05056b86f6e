"""Whether a proxy takes something of an agent now, and when it is to come back if not: the agent keeps it meanwhile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from popham.errors import LinkError
from popham.net.seam import Refusal
from popham.streams.frame import Stream
from popham.streams.standing import CREDIT

FULL_WAIT: Final = 60.0
"""Seconds to stay away while there is no room: something has to go up first."""
QUEUE_WAIT: Final = 2.0
"""Seconds to stay away while too much waits for the disk."""
AWAY_WAIT: Final = 30.0
"""Seconds to stay away while nobody says how far it is above."""
AWAY_MOST: Final = 300.0
"""Seconds to stay away, at most, where it is known that nobody will say so for long: there may be more to store."""
_MARGINS: Final[Mapping[Stream, float]] = MappingProxyType(
    {Stream.EVENTS: 0.0, Stream.SUMMARY: 1 / 16, Stream.METRICS: 1 / 8, Stream.LOGS: 3 / 16}
)
"""Part of the whole that each stream leaves to those that are dearer."""
_SENTENCES: Final = {
    "disk": "the Proxy Manager's disk takes no more data",
    "full": "the Proxy Manager has no room for more data until some of it is above",
    "share": "the Proxy Manager holds as much of this agent's data as of one agent it may",
    "age": "data of this agent waits at the Proxy Manager for too long already",
    "queue": "more data waits for the Proxy Manager's disk than it bears",
    "away": "nobody tells the Proxy Manager how far this agent's data is above",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a proxy may keep of streams.

    Attributes:
        bytes: Of all agents.
        share: Of one agent.
        age: Seconds that an agent's oldest frame may wait; then nothing more of it is taken, and copies of what it has
            itself are deleted. Source: guarantees REL-7, 72 h.
        reserve: Bytes of the disk that are left free. Source: guarantees REL-3.
        segment: Bytes of a segment.
    """

    bytes: int = 1024**3
    share: int = 64 * 1024**2
    age: float = 72 * 3600.0
    reserve: int = 64 * 1024**2
    segment: int = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Load:
    """What is there as somebody asks.

    Attributes:
        all: Bytes of all agents, or of the files if that is more.
        own: Bytes of the agent.
        oldest: Since when its oldest frame of the stream waits, unix seconds; None if none does.
        queue: Bytes more of it that may wait for the disk.
        free: Bytes that the disk has left.
    """

    all: int
    own: int
    oldest: float | None
    queue: int
    free: float


class Bounds:
    """Looks at what is there.

    Attributes:
        refused: Why → appends that were refused since the start.
    """

    def __init__(self, limits: Limits, draw: Callable[[], float]) -> None:
        """Keep to ``limits``; ``draw`` returns a number from 0 to 1: agents that are refused come back spread."""
        self.limits = limits
        self.refused: Counter[str] = Counter()
        self._draw = draw
        self._until = -math.inf

    def run_out(self, now: float) -> None:
        """Take note that the disk took nothing: for a while nothing is tried; ``now`` is monotonic."""
        self._until = now + FULL_WAIT / 2

    def look(self, load: Load, stream: Stream, size: int, *, now: float, wall: float) -> str:
        """Return why ``size`` bytes are not taken: a reason; empty if they are."""
        limits, part = self.limits, 1.0 - _MARGINS[stream]
        if now < self._until or load.free - size < limits.reserve:
            return "disk"
        if load.all + size > limits.bytes * part:
            return "full"
        if load.own + size > limits.share * part:
            return "share"
        if load.oldest is not None and wall - load.oldest > limits.age:
            return "age"
        return "queue" if load.queue < size else ""

    def refusal(self, reason: str) -> Refusal | None:
        """Return the refusal for a reason; None for none."""
        if not reason:
            return None
        self.refused[reason] += 1
        return Refusal(status=503, retry_after=self.wait(reason), body=_SENTENCES[reason])

    def busy(self, reason: str) -> LinkError:
        """Return the error for something that is not taken, and count it."""
        self.refused[reason] += 1
        return LinkError("busy", _SENTENCES[reason], retry_after=self.wait(reason), status=503)

    def credit(self, load: Load) -> int:
        """Return the bytes that an agent may send unasked."""
        room = min(self.limits.bytes - load.all, self.limits.share - load.own, load.queue)
        return max(1, min(CREDIT, room))

    def later(self, beat: float) -> float:
        """Return the seconds to stay away with what is stored; those above say something each ``beat`` seconds."""
        return max(AWAY_WAIT, min(AWAY_MOST, beat / 2)) * (0.5 + self._draw() / 2)

    def wait(self, reason: str) -> float:
        """Return the seconds to stay away for a reason."""
        seconds = {"queue": QUEUE_WAIT, "away": AWAY_WAIT}.get(reason, FULL_WAIT)
        return seconds * (1.0 + self._draw())
