"""What was taken, for those who derive something from it: in order, durable, and as often as they want.

A reader keeps its own position, durably, together with what it derives; so nothing is derived twice or left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from popham.manager.intake.position import Position
from popham.manager.intake.writer import Part
from popham.streams.frame import Frame, Stream

__all__ = ["Entry", "Position", "Segments"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A frame as it was taken.

    Attributes:
        position_after: The place after it.
        received: When it came, unix seconds.
        skew: Seconds that the agent's clock was ahead of ours then; None if that is not known.
        frame: Verified when it was taken, and whole still.
    """

    position_after: Position
    received: float
    skew: float | None
    frame: Frame


class Segments:
    """The frames of all streams."""

    def __init__(self, parts: Mapping[Stream, Part]) -> None:
        self._parts = parts
        self._waiting: dict[Stream, set[asyncio.Future[None]]] = {stream: set() for stream in Stream}

    def register(self, stream: Stream, reader: str, position: Position) -> None:
        """Have nothing deleted beyond a position that somebody has read up to; of a stream nobody reads, nothing is."""
        self._parts[stream].readers[reader] = position

    def release(self, stream: Stream, reader: str, position: Position) -> None:
        """Note that a reader needs nothing before a position any more: what it derived of it is durable."""
        self._parts[stream].readers[reader] = position

    def end(self, stream: Stream) -> Position:
        """Return the place after the last frame."""
        return self._parts[stream].shelf.extent.end

    def read(self, stream: Stream, after: Position, *, limit: int) -> list[Entry]:
        """Return the entries after a place: about ``limit`` bytes of them, at least one if there is any.

        It reads a file: call it in a thread.  What rotted is left out, and counted.

        Raises:
            OSError: The disk failed.
        """
        shelf = self._parts[stream].shelf
        return [
            Entry(position, received, skew, frame)
            for position, received, skew, frame in shelf.read(after, limit=limit)
        ]

    async def wait(self, stream: Stream, after: Position) -> None:
        """Return once something is to be read after a place."""
        shelf = self._parts[stream].shelf
        while not shelf.extent.follows(after):
            turn = asyncio.get_running_loop().create_future()
            self._waiting[stream].add(turn)
            try:
                await turn
            finally:
                self._waiting[stream].discard(turn)

    def wake(self, streams: Collection[Stream]) -> None:
        """Have those look again who wait for something of these streams."""
        for stream in streams:
            for turn in self._waiting[stream]:
                if not turn.done():
                    turn.set_result(None)
