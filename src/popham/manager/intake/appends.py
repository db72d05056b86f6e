"""What an agent brings at once, on its way to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from popham.errors import PophamError
from popham.streams.frame import Head, Kind, Stream

COST: Final = 4096
"""Bytes that a frame counts, at least: small ones take time to verify, and memory beside their bytes."""


@dataclass(slots=True, eq=False)
class Append:
    """Frames of one stream that came together; whoever brought them waits for all.

    Attributes:
        uid: Whose they are.
        stream: Of which stream.
        keys: Public keys as DER, of which one has to have signed each frame.
        received: When they came, unix seconds.
        skew: Seconds that the agent's clock is ahead of ours; None if that is not known.
        waiting: Records that wait at the agent after these; None if that is not known.
        since: When they began to wait here, by the monotonic clock.
        answer: Ended once they are durable, or refused.
        pieces: Frames that are not through yet.
        size: Bytes of all frames.
        records: Records of all frames; what a gap stands for is none.
        taken: Of those, the records that were new and became durable.
        error: Why the rest is not taken; None as long as all is well.
        full: Whether that is because the disk is full.
        is_made: Whether the frames are the Manager's own, of what came as plain OTLP: ``uid`` is who sent it then.
    """

    uid: bytes
    stream: Stream
    keys: tuple[bytes, ...]
    received: float
    skew: float | None
    waiting: int | None
    since: float
    answer: asyncio.Future[None]
    pieces: int = 0
    size: int = 0
    records: int = 0
    taken: int = 0
    error: PophamError | None = None
    full: bool = False
    is_made: bool = False

    @property
    def is_refused(self) -> bool:
        """Return whether what is left of it is not taken."""
        return self.full or self.error is not None


@dataclass(slots=True, eq=False)
class Piece:
    """One frame of an append: what waits for the disk, and counts ``size`` bytes of what may wait."""

    append: Append
    head: Head
    frame: memoryview
    uid: bytes = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        """Note what the queue asks for most."""
        self.uid = self.append.uid
        self.size = max(COST, len(self.frame))

    @property
    def records(self) -> int:
        """Return how many records it has."""
        return self.head.count if self.head.kind is Kind.RECORDS else 0


def cost_of(frames: Iterable[tuple[Head, memoryview]]) -> int:
    """Return the bytes that frames count of what may wait."""
    return sum(max(COST, len(frame)) for _, frame in frames)
