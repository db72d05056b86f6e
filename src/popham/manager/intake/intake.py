"""The Manager's intake, as an upstream and people see it.

The loop divides what comes into frames and asks the door; one thread does all that takes time.  What the loop holds
of an append is its future and a few numbers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from popham.clock import Clock
from popham.errors import StreamError
from popham.manager.intake.appends import Append, Piece
from popham.manager.intake.cache import Cache
from popham.manager.intake.checking import divide
from popham.manager.intake.door import DISK_WAIT, Door, Shut
from popham.manager.intake.limits import Limits
from popham.manager.intake.quota import Quota
from popham.manager.intake.rate import Rate
from popham.manager.intake.reading import Segments
from popham.manager.intake.room import Room
from popham.manager.intake.views import IntakeView, Known
from popham.manager.intake.waiting import Queue
from popham.manager.intake.worker import Worker
from popham.manager.intake.writer import Writer
from popham.net.seam import Refusal
from popham.store.seam import Store
from popham.streams.disk import Disk
from popham.streams.frame import Stream
from popham.streams.standing import Standing
from popham.upstream.intake import Sent
from popham.upstream.record import Record

_log = logging.getLogger(__name__)
EVERY: Final = 30.0
"""Seconds between two looks at what is due: to seal, to cache, to delete."""
R = TypeVar("R")


class Intake:
    """Takes frames of agents, and knows how far it is.

    Attributes:
        segments: What was taken, for those who derive something from it.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        clock: Clock,
        *,
        limits: Limits,
        draw: Callable[[], float],
        disk: Disk,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Keep what is needed; :meth:`load` begins.

        Args:
            folder: Where the segments are; made if it is not there.
            store: Has the cache.
            clock: Dates what comes.
            limits: Bounds.
            draw: Returns a number from 0 to 1: agents that are refused come back spread.
            disk: Where the folder is.
        """
        self._clock = clock
        self._room = Room(lambda: disk.free(folder), reserve=limits.reserve, limit=limits.bytes)
        self._writer = Writer(folder, disk, self._room, clock, keep=limits.keep)
        self._worker: Worker[Piece] = Worker(Queue(), self._writer.write, self._tell)
        quota = Quota(limits.bytes_per_second)
        self._door = Door(self._room, self._worker.room, quota, draw=draw)
        self._cache = Cache(store, self._writer, self._ask)
        self._open: dict[Stream, dict[Append, None]] = {stream: {} for stream in Stream}
        now = clock.monotonic()
        self._rates = {stream: Rate(now) for stream in Stream}
        self.segments = Segments(self._writer.files)

    async def load(self) -> None:
        """Read how far it is, repair what a crash left, and begin to take frames.

        Raises:
            StateError: The segments or the cache cannot be read.
        """
        self._loop = asyncio.get_running_loop()
        await self._cache.load()
        self._worker.start()

    async def run(self) -> None:
        """Seal, cache and delete once in a while, until cancelled.

        Raises:
            StateError: The disk or the database failed; the process must end.
        """
        ended = asyncio.wrap_future(self._worker.ended)
        try:
            while True:
                await asyncio.wait({ended}, timeout=EVERY)
                if ended.done():
                    ended.result()
                    return
                await self._tend()
        finally:
            ended.cancel()

    async def close(self) -> None:
        """Write what waits, end the thread, and note in the cache how far it came. It may be called again."""
        if self._worker.ended.done():
            return
        ...

    def refusal(self, record: Record, stream: Stream) -> Refusal | None:
        """As :meth:`popham.upstream.intake.Intake.refusal`."""
        return self._door.refusal(record.key, stream, self._clock.monotonic())
