"""The Manager's intake, as an upstream and people see it.

The loop divides what comes into frames and asks the door; one thread does all that takes time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from popham.clock import Clock
from popham.errors import PophamError, StateError, StreamError, WireError
from popham.manager.intake.appends import Append, Piece, cost_of
from popham.manager.intake.cache import read_cache, write_cache
from popham.manager.intake.door import DISK_WAIT, Door, Shut
from popham.manager.intake.limits import Limits
from popham.manager.intake.measures import Depth, view_part
from popham.manager.intake.quota import Quota
from popham.manager.intake.rate import Rate
from popham.manager.intake.reading import Segments
from popham.manager.intake.recovery import recover
from popham.manager.intake.room import Room
from popham.manager.intake.shelf import Shelf
from popham.manager.intake.standings import Standings, Total
from popham.manager.intake.views import IntakeView, Known
from popham.manager.intake.writer import Part, Writer
from popham.net.seam import Refusal
from popham.store.refusal import OverloadError
from popham.store.seam import Store
from popham.streams.disk import Disk
from popham.streams.frame import Head, Stream
from popham.streams.receiving import Receiving
from popham.streams.standing import Standing
from popham.streams.waiting import SHARE, Queue
from popham.streams.worker import Worker
from popham.upstream.checking import divide
from popham.upstream.intake import Sent
from popham.upstream.record import Record

_log = logging.getLogger(__name__)
EVERY: Final = 30.0
"""Seconds between two looks at what is due: to seal, to cache, to delete."""
SKEW_MAX: Final = 1e9
"""Seconds; a clock that is further off is none."""
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
        self._store = store
        self._clock = clock
        self._room = Room(lambda: disk.free(folder), reserve=limits.reserve, limit=limits.bytes)
        parts = {stream: Part(Shelf(folder / stream, disk), Standings(stream)) for stream in Stream}
        self._writer = Writer(parts, self._room, clock, keep=limits.keep)
        self._worker: Worker[Piece] = Worker(Queue(), self._writer.write, self._tell)
        quota = Quota(limits.bytes_per_second)
        self._door = Door(self._room, self._worker.room, quota, draw=draw)
        self._open: dict[Stream, dict[Append, None]] = {stream: {} for stream in Stream}
        self._rates = {stream: Rate(clock.monotonic()) for stream in Stream}
        self._saving = asyncio.Lock()
        self.segments = Segments(self._writer.parts)

    async def load(self) -> None:
        """Read how far it is, repair what a crash left, and begin to take frames.

        Raises:
            StateError: The segments or the cache cannot be read.
        """
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        rows, notes = await read_cache(self._store)
        await asyncio.to_thread(recover, self._writer.parts, rows, notes)
        self._worker.ended.add_done_callback(self._end)
        self._worker.start()
        await self._tend()

    async def run(self) -> None:
        """Seal, cache and delete once in a while, until cancelled.

        Raises:
            StateError: The disk or the database failed; the process must end.
        """
        while True:
            try:
                async with asyncio.timeout(EVERY):
                    await self._ended.wait()
            except TimeoutError:
                await self._tend()
            else:
                self._worker.ended.result()
                return

    async def close(self) -> None:
        """Write what waits, note in the cache how far that is, and end the thread. It may be called again."""
        try:
            if self._worker.is_running:
                await self._save()
        finally:
            await asyncio.to_thread(self._worker.close)

    # What an upstream asks: see :class:`popham.upstream.intake.Intake`.

    def refusal(self, record: Record, stream: Stream) -> Refusal | None:
        """Return why nothing of this stream is taken of this agent now; None if it is welcome."""
        return self._door.refusal(record.key, stream, self._clock.monotonic())

    async def standing(self, record: Record, stream: Stream, epoch: int = 0) -> Standing:
        """Return how far it is with an epoch of a stream of this agent; of the newest that is known, if 0."""
        known = self._writer.parts[stream].standings
        newest = known.newest(record.key)
        held = known.find(record.key, epoch or newest)
        credit, wait = self._door.credit(record.key, stream, self._clock.monotonic())
        receiving = Receiving(stream, epoch) if held is None else held.receiving
        return receiving.standing(newest=newest, credit=credit, retry_after=wait)

    async def append(self, record: Record, stream: Stream, frames: bytes, sent: Sent) -> Standing:
        """Keep frames, signed by this agent; returns once they are durable.

        Raises:
            StreamError, LinkError, StateError: As :meth:`popham.upstream.intake.Intake.append` says.
        """
        now = self._clock.monotonic()
        try:
            found = divide(frames, record.key, stream)
        except StreamError as error:
            self._door.spend(record.key, len(frames), now)
            raise self._refuse(stream, error) from None
        if not found:
            return await self.standing(record, stream)
        size = cost_of(found)
        shut = self._door.look(record.key, stream, size, now)
        if shut is not None:
            raise self._door.busy(stream, shut)
        self._door.spend(record.key, size, now)
        await self._keep(self._begin(record, stream, sent, now), found)
        return await self.standing(record, stream, found[0][0].epoch)

    # What comes as plain OTLP.

    def refusal_of(self, source: bytes, stream: Stream) -> Refusal | None:
        """Return why nothing of this stream is taken of whoever sends it now; None if it is welcome."""
        return self._door.refusal(source, stream, self._clock.monotonic())

    def spend(self, source: bytes, cost: int) -> None:
        """Take bytes of the quota of whoever sent something."""
        self._door.spend(source, cost, self._clock.monotonic())

    async def take(self, source: bytes, stream: Stream, frames: Sequence[tuple[Head, memoryview]]) -> None:
        """Keep frames of the Manager's own, which it gives a place; returns once they are durable.

        Args:
            source: Who sent them, 16 bytes: whose quota, and whose place in the queue.
            stream: Of which stream they are.
            frames: As :func:`popham.manager.intake.made.make_frame` returns them.

        Raises:
            WireError: ``wire.too_large``: they would never find room.
            LinkError: ``link.busy`` with ``retry_after``: there is no room now.
            StateError: They could not be written.
        """
        received, now = self._clock.now(), self._clock.monotonic()
        size = cost_of(frames)
        if size > SHARE:
            raise WireError("too_large", f"Records have at most {SHARE} bytes at once, packed", "Send fewer")
        shut = self._door.look(source, stream, size, now)
        if shut is not None:
            raise self._door.busy(stream, shut)
        answer = self._loop.create_future()
        append = Append(source, stream, (), received, None, None, now, answer, is_made=True)
        if frames:
            await self._keep(append, frames)

    # What the Manager asks.

    async def forget(self, uid: str) -> None:
        """Know nothing more of an agent; what it sent stays in the segments until they are deleted."""
        await self._ask(lambda: self._writer.forget(UUID(uid).bytes))
        await self._save()

    def known(self, uid: str) -> dict[Stream, Known]:
        """Return what is known of each stream of an agent that has sent something."""
        found = {}
        for stream, part in self._writer.parts.items():
            known = part.standings.known(UUID(uid).bytes)
            if known is not None:
                found[stream] = known
        return found

    def totals(self) -> Mapping[Stream, Total]:
        """Return what became of the records of each stream, of all agents."""
        return {stream: part.standings.total for stream, part in self._writer.parts.items()}

    def views(self) -> tuple[IntakeView, ...]:
        """Return how the intake of each stream is."""
        now, at = self._clock.now(), self._clock.monotonic()
        return tuple(
            view_part(
                stream,
                part,
                Depth.of(self._open[stream], at),
                appended=self._rates[stream].read(at),
                refused=self._door.refused[stream],
                now=now,
            )
            for stream, part in self._writer.parts.items()
        )

    def _begin(self, record: Record, stream: Stream, sent: Sent, now: float) -> Append:
        received = self._clock.now()
        skew = None if sent.now is None else sent.now - received
        if skew is not None and not abs(skew) < SKEW_MAX:
            skew = None
        return Append(
            uid=record.key,
            stream=stream,
            keys=(record.public_key, record.former_key),
            received=received,
            skew=skew,
            waiting=sent.waiting,
            since=now,
            answer=self._loop.create_future(),
        )

    async def _keep(self, append: Append, found: Sequence[tuple[Head, memoryview]]) -> None:
        """Have frames written; returns once they are durable, or raises why they are not."""
        pieces = [Piece(append, head, frame) for head, frame in found]
        append.pieces, append.records = len(pieces), sum(piece.records for piece in pieces)
        append.size = sum(len(piece.frame) for piece in pieces)
        self._worker.hand(pieces)
        self._open[append.stream][append] = None
        await append.answer
        if append.full:
            raise self._door.busy(append.stream, Shut("disk", DISK_WAIT))
        if append.error is not None:
            raise self._refuse(append.stream, append.error)

    def _refuse(self, stream: Stream, error: PophamError) -> PophamError:
        """Count the refusal of an append, and return it."""
        self._door.refused[stream][error.code.partition(".")[2]] += 1
        return error

    def _tell(self, batch: list[Piece]) -> None:
        """Have those answered who wait for a batch; called by the thread."""
        self._loop.call_soon_threadsafe(self._settle, batch)

    def _settle(self, batch: list[Piece]) -> None:
        self._worker.settle(batch)
        now = self._clock.monotonic()
        for piece in batch:
            append = piece.append
            append.pieces -= 1
            if append.pieces:
                continue
            del self._open[append.stream][append]
            self._rates[append.stream].note(append.taken, now)
            # Whoever brought it may have gone away meanwhile.
            if not append.answer.done():
                append.answer.set_result(None)
        self.segments.wake({piece.append.stream for piece in batch})

    def _end(self, ended: Future[None]) -> None:
        """Have everybody know that the thread ended; called by it."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._give_up, ended)

    def _give_up(self, ended: Future[None]) -> None:
        error = ended.exception()
        for appends in self._open.values():
            for append in appends:
                if error is not None and not append.answer.done():
                    append.answer.set_exception(error)
        self._ended.set()

    async def _ask(self, task: Callable[[], R]) -> R:
        """Return what a task of the thread returns; raises StateError."""
        try:
            return await asyncio.wrap_future(self._worker.ask(task))
        except OSError as error:
            problem = f"the data of agents cannot be kept: {error}"
            raise StateError("broken", problem, "Check the disk, then start again") from error

    async def _tend(self) -> None:
        if await self._ask(self._writer.tend):
            await self._save()

    async def _save(self) -> None:
        """Bring the cache up to date; when the database has too much to do, it is done another time."""
        async with self._saving:
            for stream, part in self._writer.parts.items():
                changes = await self._ask(partial(self._writer.changes, stream))
                try:
                    await write_cache(self._store, part.standings, changes)
                except BaseException as error:
                    await self._ask(partial(self._writer.put_back, stream, changes))
                    if isinstance(error, OverloadError):
                        _log.warning("how far the intake is will be noted later: %s", error)
                        return
                    raise
                part.cached = changes.note.position
