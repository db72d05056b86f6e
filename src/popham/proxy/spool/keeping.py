"""Keeps frames: hands them to the one thread that writes, knows them once they are durable, and clears up.

The loop has what is known; the thread has the log.  What was written is told to the loop in the order in which it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from popham.agent.programs import Offload
from popham.clock import Clock
from popham.errors import StateError, StreamError
from popham.proxy.spool.bounds import Limits
from popham.proxy.spool.held import Held
from popham.proxy.spool.lanes import Lanes
from popham.proxy.spool.log import Log, Place
from popham.proxy.spool.stamp import Stamp
from popham.proxy.spool.words import NAME, Words
from popham.proxy.spool.writing import Append, Piece, Writing
from popham.streams.disk import Disk
from popham.streams.frame import Head, Stream
from popham.streams.waiting import Queue
from popham.streams.worker import Worker

_log = logging.getLogger(__name__)
EVERY: Final = 30.0
"""Seconds between two looks at what is due."""
WORDS: Final = 300.0
"""Seconds after which words are written that changed, although no segment is removed; the first of a stream sooner."""
REST: Final = 1024 * 1024
"""Bytes from which the newest segment is removed too, once nothing in it is needed."""
SPARSE: Final = 8
"""A segment of which less than one part in so many is needed is emptied, where the log is far larger than what is held."""
R = TypeVar("R")


class Keeping:
    """The log of a proxy, and what is known of it.

    Attributes:
        lanes: What is held.
        words: What was said above.
        free: Bytes that the disk has left, as far as is known.
        on_kept: Told of frames that are held now.
        on_failed: Told that the disk took nothing.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        limits: Limits,
        disk: Disk,
        *,
        offload: Offload = asyncio.to_thread,
        worker: type[Worker[Piece]] = Worker,
    ) -> None:
        """Keep frames in ``folder``, which is made if it is not there; :meth:`begin` begins.

        ``offload`` runs what waits for the disk, and ``worker`` what is to be done one thing after the other.
        """
        self.lanes = Lanes()
        self.words = Words()
        self.free = 0
        self.on_kept: Callable[[], None] = lambda: None
        self.on_failed: Callable[[], None] = lambda: None
        self._folder = folder
        self._clock = clock
        self._limits = limits
        self._disk = disk
        self._log = Log(folder, disk, segment=limits.segment)
        self._offload = offload
        self._worker = worker(Queue(), Writing(self._log).write, self._tell)
        self._open: set[Append] = set()
        self._stirred = asyncio.Event()
        self._ended = False
        self._number = 0
        self._written = clock.monotonic()

    @property
    def size(self) -> int:
        """Return the bytes of the files, or of what is held if that is more."""
        return max(self._log.size, self.lanes.cost)

    def room(self, uid: bytes) -> int:
        """Return how many bytes more of an agent may wait for the disk."""
        return self._worker.room(uid)

    # From the start to the end.

    async def begin(self) -> None:
        """Read what is there, and begin to take frames. Raises StateError ``state.broken``."""
        self._loop = asyncio.get_running_loop()
        try:
            found = await self._offload(self._read)
        except OSError as error:
            problem = f"the data of agents cannot be read: {error}"
            raise StateError("broken", problem, "Check the disk, then start again") from error
        for place, head, stamp in sorted(found, key=lambda one: one[2].number):
            self._number = max(self._number, stamp.number)
            self._hold(Held(head, place, stamp))
        self._worker.ended.add_done_callback(self._end)
        self._worker.start()
        await self.tidy()

    def _read(self) -> list[tuple[Place, Head, Stamp]]:
        found = list(self._log.open())
        self.words.load(self._disk, self._folder)
        return found

    async def run(self) -> None:
        """Clear up when there is something to clear up, and once in a while, until cancelled.

        Raises:
            StateError: The thread ended; the process must end.
        """
        while not self._ended:
            try:
                async with asyncio.timeout(EVERY):
                    await self._stirred.wait()
            except TimeoutError:
                pass
            self._stirred.clear()
            if not self._ended:
                await self.tidy()
        self._worker.ended.result()

    async def close(self) -> None:
        """Write what waits, and how far it is above; then end the thread. It may be called again."""
        try:
            if self._worker.is_running:
                await self._put_words([])
        except (OSError, StateError) as error:
            _log.warning("how far streams are above is not noted, and asked for again: %s", error)
        finally:
            await self._offload(self._worker.close)

    # What comes.

    def stamp(self, now: float | None, waiting: int | None, *, promised: bool) -> Stamp:
        """Return the stamp of the next frame."""
        self._number += 1
        return Stamp(self._number, self._clock.now(), now, waiting, promised)

    async def keep(self, append: Append, pieces: Sequence[Piece]) -> None:
        """Have frames durable, and held; its append says what went wrong. Raises StateError if the thread ended."""
        append.pieces = len(pieces)
        self._worker.hand(list(pieces))
        self._open.add(append)
        await append.answer

    def _tell(self, batch: list[Piece]) -> None:
        """Have those answered who wait for a batch; called by the thread."""
        self._loop.call_soon_threadsafe(self._settle, batch)

    def _settle(self, batch: list[Piece]) -> None:
        self._worker.settle(batch)
        for piece in batch:
            append, place = piece.append, piece.place
            if place is not None:
                self.free -= place.size
                error = self._hold(Held(piece.head, place, piece.stamp))
                append.error = append.error or error
            append.pieces -= 1
            if append.pieces:
                continue
            self._open.discard(append)
            if append.failed:
                self.on_failed()
            # Whoever brought it may have gone away meanwhile.
            if not append.answer.done():
                append.answer.set_result(None)
        self.on_kept()

    def _hold(self, held: Held) -> StreamError | None:
        head = held.head
        try:
            self.lanes.add(held, partial(self.words.find, head.uid, head.stream, head.epoch))
        except StreamError as error:
            return error
        return None

    def _end(self, ended: Future[None]) -> None:
        """Have everybody know that the thread ended; called by it."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._give_up, ended)

    def _give_up(self, ended: Future[None]) -> None:
        error = ended.exception()
        for append in self._open:
            if error is not None and not append.answer.done():
                append.answer.set_exception(error)
        self._ended = True
        self._stirred.set()

    # What goes.

    def read(self, held: Held) -> bytes:
        """Return a frame. Raises StreamError ``stream.damaged``, or OSError."""
        return self._log.read(held.place, held.head).encode()

    def stir(self) -> None:
        """Take note that something is held no more."""
        current = self._log.current
        for number, size in tuple(self._log.sizes.items()):
            if number not in self.lanes.live and (number < current or size >= REST):
                self._stirred.set()
                return

    async def tidy(self) -> None:
        """Remove what nobody needs; what the disk does not let be done now is done the next time."""
        self.lanes.expire(self._clock.now() - self._limits.age)
        try:
            self.free = await self._offload(partial(self._disk.free, self._folder))
            dead = await self._find_dead()
            is_time = self.words.is_first or self._clock.monotonic() >= self._written + WORDS
            if dead or (self.words.is_changed and is_time):
                await self._put_words(dead)
            await self._empty_one()
        except OSError as error:
            _log.warning("what is not needed any more is not removed yet: %s", error)

    async def _find_dead(self) -> list[int]:
        """Return the segments of which nothing is needed, and to which nothing is written."""
        current = await self._ask(partial(self._turn, frozenset(self.lanes.live)))
        # What the thread wrote before it answered is held by now.
        return [one for one in tuple(self._log.sizes) if one < current and one not in self.lanes.live]

    def _turn(self, live: frozenset[int]) -> int:
        """Begin a new segment if the newest has grown, and nothing in it is needed; called by the thread."""
        newest = max(self._log.sizes, default=0)
        if newest not in live and self._log.sizes.get(newest, 0) >= REST:
            return self._log.begin()
        return self._log.current

    async def _put_words(self, dead: list[int]) -> None:
        """Write the words, and then remove segments. Raises OSError."""
        write = partial(self._disk.replace, self._folder / NAME, self.words.encode())
        try:
            await self._ask(write)
        except OSError:
            self.words.is_changed = True
            if not dead:
                raise
            # On a full disk the room for it is where nothing is needed any more.
            await self._ask(partial(self._log.remove, dead))
            await self._ask(write)
            self.words.is_changed = False
        else:
            await self._ask(partial(self._log.remove, dead))
        self._written = self._clock.monotonic()

    async def _empty_one(self) -> None:
        """Move what is needed of a segment that is nearly empty, where such make the log much larger than it has to be."""
        lanes, sizes = self.lanes, dict(self._log.sizes)
        if sum(sizes.values()) < 2 * sum(lanes.live_bytes.values()) + 4 * self._limits.segment:
            return
        current = self._log.current
        sparse = (one for one in sizes if one < current and 0 < lanes.live_bytes[one] < sizes[one] / SPARSE)
        number = next(sparse, None)
        if number is None:
            return
        items: list[tuple[Held, bytes]] = []
        for one in lanes.in_segment(number):
            try:
                items.append((one, self.read(one)))
            except StreamError:
                lane = lanes.find(one.head.uid, one.head.stream)
                if lane is not None:
                    lanes.drop(lane, [one], "damaged")
        if items:
            pairs = [(one.stamp, frame) for one, frame in items]
            places = await self._ask(partial(self._log.write, pairs))
            for (one, _), place in zip(items, places, strict=True):
                lanes.move(one, place)
            self._stirred.set()

    async def _ask(self, task: Callable[[], R]) -> R:
        """Return what a task of the thread returns. Raises OSError, or StateError if the thread ended."""
        return await asyncio.wrap_future(self._worker.ask(task))

    def oldest(self, uid: bytes, stream: Stream) -> float | None:
        """Return since when the oldest frame of a stream of an agent is here, unix seconds; None if none is."""
        lane = self.lanes.find(uid, stream)
        return lane.oldest.stamp.received if lane is not None and lane.oldest is not None else None
