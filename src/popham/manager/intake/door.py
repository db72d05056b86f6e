"""Whether the intake takes something of an agent now, and when it is to come back if not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from popham.errors import LinkError
from popham.manager.intake.quota import Quota
from popham.manager.intake.room import Room
from popham.net.seam import Refusal
from popham.streams.frame import Stream
from popham.streams.standing import CREDIT

DISK_WAIT: Final = 60.0
"""Seconds to stay away while the disk is full: somebody has to make room first."""
QUEUE_WAIT: Final = 2.0
"""Seconds to stay away while too much waits: the queue is written in less."""
_SENTENCES: Final = {
    "disk": "the Manager has no room for more data",
    "queue": "more data waits for the Manager's disk than it bears",
    "quota": "this agent sends more data than the Manager takes of one",
}


@dataclass(frozen=True, slots=True)
class Shut:
    """Why nothing is taken: ``disk``, ``queue`` or ``quota``; and for how many seconds, at least."""

    reason: str
    wait: float

    @property
    def sentence(self) -> str:
        """Return it for people."""
        return _SENTENCES[self.reason]


class Door:
    """Looks at the disk's room, the queue's, and the agent's quota.

    Attributes:
        refused: Stream → reason → appends that were refused since the start.
    """

    def __init__(
        self, room: Room, queue: Callable[[bytes], int], quota: Quota, *, draw: Callable[[], float]
    ) -> None:
        """Keep what is asked.

        Args:
            room: The disk's.
            queue: Returns the bytes that may be queued of an agent.
            quota: Of each agent.
            draw: Returns a number from 0 to 1: agents that are refused come back spread.
        """
        self._room = room
        self._queue = queue
        self._quota = quota
        self._draw = draw
        self.refused: dict[Stream, Counter[str]] = {stream: Counter() for stream in Stream}

    def look(self, uid: bytes, stream: Stream, size: int, now: float) -> Shut | None:
        """Return why ``size`` bytes are not taken now; None if they are."""
        if not self._room.takes(stream):
            return Shut("disk", DISK_WAIT)
        if self._queue(uid) < size:
            return Shut("queue", QUEUE_WAIT)
        wait = self._quota.wait(uid, now)
        return Shut("quota", wait) if wait else None

    def refusal(self, uid: bytes, stream: Stream, now: float) -> Refusal | None:
        """Return the refusal of whatever an agent would bring; None if it is welcome."""
        shut = self.look(uid, stream, 1, now)
        if shut is None:
            return None
        self.refused[stream][shut.reason] += 1
        return Refusal(status=503, retry_after=self._spread(shut.wait), body=shut.sentence)

    def busy(self, stream: Stream, shut: Shut) -> LinkError:
        """Return the error for something that is not taken, and count it."""
        self.refused[stream][shut.reason] += 1
        return LinkError("busy", shut.sentence, retry_after=self._spread(shut.wait), status=503)

    def credit(self, uid: bytes, stream: Stream, now: float) -> tuple[int, float]:
        """Return how many bytes an agent may send unasked, and if none, the seconds that it is to wait."""
        shut = self.look(uid, stream, 1, now)
        if shut is not None:
            return 0, self._spread(shut.wait)
        return int(min(CREDIT, self._queue(uid), self._quota.left(uid, now))) or 1, 0.0

    def spend(self, uid: bytes, size: int, now: float) -> None:
        """Note that an agent brought ``size`` bytes."""
        self._quota.spend(uid, size, now)

    def _spread(self, wait: float) -> float:
        return max(1.0, wait) * (1.0 + self._draw())
