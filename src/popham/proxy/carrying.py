"""Streams of the agents of a proxy: stored here, carried on, and acknowledged as their custody says.

Rules:

1. What an agent is told is true of what is durable: under ``hop`` of what is on this disk, on top of what is above; under
   ``end to end`` of what is above only.  A copy here is for carrying on then, and the agent keeps its own.
2. A frame is verified as the Manager verifies it, and carried as it is; nothing of it is read but its head.
3. It is never said that less is durable than was said before: the agent would count what is between as lost.  So nothing
   is said before it is known how far it is above, and agents wait meanwhile.
4. No room is no loss: it is refused with a time to come again, and stays with the agent, whose own limits count.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from popham.clock import Clock
from popham.downstream.standings import from_wire
from popham.errors import StreamError
from popham.net.seam import Refusal
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.spool.asking import Ask, Asking
from popham.proxy.spool.bounds import Bounds, Limits, Load
from popham.proxy.spool.held import COST
from popham.proxy.spool.keeping import Keeping
from popham.proxy.spool.loading import Loading
from popham.proxy.spool.writing import Append, Piece
from popham.streams.disk import Disk, SystemDisk
from popham.streams.frame import START, Head, Stream
from popham.streams.receiving import Receiving, Verdict
from popham.streams.standing import CREDIT, Standing
from popham.upstream.checking import divide
from popham.upstream.intake import Sent
from popham.upstream.record import Record

_log = logging.getLogger(__name__)
HOP: Final = "hop"
"""Custody: what is durable here is acknowledged."""
END_TO_END: Final = "end to end"
"""Custody: what is above is acknowledged."""
HOLD: Final = 3.0
"""Seconds that an answer waits for the word from above, under ``end to end``; below the agents' 15 s for an answer."""
TRIES: Final = 8
"""Times that frames are said and not taken, after which copies of what agents have themselves are deleted."""


class ProxyIntake:
    """Takes frames of the agents below, and has them carried up; implements :class:`popham.upstream.intake.Intake`.

    Attributes:
        custody: Stream → :data:`HOP` or :data:`END_TO_END`; the latter for those that are not named.
        strict: Returns whether a proxy between an agent (uid of 16 bytes) and this one says :data:`END_TO_END` of a stream.
        on_news: Told that there is something to carry.
        hold: Seconds that an answer waits for the word from above, under ``end to end``.
        beat: Returns the seconds from one word from above to the next, 0 where it comes at once.
        on_standing: Told of an agent (uid of 16 bytes) and a stream of which it is to be told how far it is.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        ask: Ask,
        draw: Callable[[], float],
        limits: Limits | None = None,
        disk: Disk | None = None,
        keeping: Callable[[Path, Clock, Limits, Disk], Keeping] = Keeping,
    ) -> None:
        """Keep what is needed; :meth:`begin` begins.

        Args:
            folder: Where frames are kept; made if it is not there, and nothing else is in it.
            clock: Dates what comes, and times what waits.
            ask: Asks above: a kind of call, an agent's uid of 16 bytes, and a body; raises PophamError or Refused.
            draw: Returns a number from 0 to 1: agents that are refused come back spread.
            limits: What may be kept.
            disk: Where the folder is.
            keeping: Makes what keeps them there.
        """
        self.custody: Mapping[Stream, str] = {}
        self.strict: Callable[[bytes, Stream], bool] = lambda _uid, _stream: False
        self.hold = HOLD
        self.beat: Callable[[], float] = lambda: 0.0
        self.on_news: Callable[[], None] = lambda: None
        self.on_standing: Callable[[bytes, Stream], None] = lambda _uid, _stream: None
        self._clock = clock
        self._asking = Asking(ask, clock)
        self._draw = draw
        limits = limits or Limits()
        self._bounds = Bounds(limits, draw)
        self._keeping = keeping(folder, clock, limits, disk or SystemDisk())
        self._keeping.on_kept = lambda: self.on_news()  # noqa: PLW0108  # it may be set later
        self._keeping.on_failed = lambda: self._bounds.run_out(clock.monotonic())
        self._lanes = self._keeping.lanes
        self._words = self._keeping.words
        self._loading = Loading(self._keeping, clock)
        self._loading.on_lost = lambda uid, stream: self.on_standing(uid, stream)  # noqa: PLW0108  # likewise, it may be set later
        self._away: set[bytes] = set()  # agents that were not told how far their streams are

    async def begin(self) -> None:
        """Read what is kept, repair what a crash left, and begin to take frames. Raises StateError."""
        await self._keeping.begin()

    async def run(self) -> None:
        """Clear up, until cancelled. Raises StateError if nothing can be written any more: the process must end."""
        await self._keeping.run()

    async def close(self) -> None:
        """Write what waits, and end. It may be called again."""
        await self._keeping.close()

    # What an upstream asks: see :class:`popham.upstream.intake.Intake`.

    def refusal(self, record: Record, stream: Stream) -> Refusal | None:
        """Return why nothing of this stream is taken of this agent now; None if it is welcome."""
        return self._bounds.refusal(self._look(record.key, stream, 1))

    async def standing(self, record: Record, stream: Stream, epoch: int = 0) -> Standing:
        """Return how far it is with an epoch of a stream of this agent; of the newest that is known, if 0.

        Raises:
            LinkError: ``link.busy`` with ``retry_after``: that is not known now.
        """
        await self._learn(record.key, stream, epoch)
        return self.told(record.key, stream, epoch)

    async def append(self, record: Record, stream: Stream, frames: bytes, sent: Sent) -> Standing:
        """Keep frames, signed by this agent; returns once they are durable here, and how far it is by their custody.

        Raises:
            StreamError, LinkError, StateError: As :meth:`popham.upstream.intake.Intake.append` says.
        """
        uid = record.key
        found = divide(frames, uid, stream)
        if not found:
            return await self.standing(record, stream)
        reason = self._look(uid, stream, sum(max(COST, len(frame)) for _, frame in found))
        if reason:
            raise self._bounds.busy(reason)
        epoch = found[0][0].epoch
        await self._learn(uid, stream, epoch, found[0][0])
        fresh, error = self._sort(uid, stream, found)
        if fresh:
            await self._keep(record, stream, fresh, sent)
        if error is not None:
            raise error
        return await self._answer(uid, stream, epoch, found[-1][0].end)

    # What goes up.

    @property
    def waits(self) -> bool:
        """Whether there is something to carry now."""
        return self._lanes.waits(self._clock.monotonic())

    @property
    def held(self) -> int:
        """How many records are held."""
        return self._lanes.records

    def knows(self, uid: bytes) -> bool:
        """Return whether this process was told how far the streams of an agent are above."""
        return all(self._words.is_fresh(uid, stream, 0) for stream in Stream)

    def next_frames(self, limit: int) -> list[wire.Carried]:
        """Return what is to be carried now, about ``limit`` bytes of frames; each is said once until :meth:`lost`."""
        return self._loading.load(limit)

    def lost(self) -> None:
        """Take note that what was said may not have arrived: what was not answered is said again."""
        self._lanes.lost()

    def stood(self, stood: wire.Stood) -> None:
        """Take the word from above: what is there is held no more.

        Raises:
            WireError: ``wire.standing``: it says what no receiver says.
        """
        uid, word = stood.key, from_wire(stood.standing)
        lane = self._lanes.find(uid, word.stream)
        moved = self._hear(uid, word)
        self._words.freshen(uid, word.stream, word.epoch)
        self._call_back(uid, word.stream)
        # It may be said unasked, too: of an agent that was named as new.
        if lane is not None and (moved or lane.said or word.retry_after):
            now = self._clock.monotonic()
            lane.took(now, moved=moved, wait=word.retry_after, draw=self._draw())
            if lane.failures >= TRIES:
                # Their agent has them, and signs them by the key that it has then.
                copies = [one for one in lane.order if not one.stamp.promised]
                self._lanes.drop(lane, copies, "unwanted")

    def forget(self, uid: bytes) -> None:
        """Ask anew how far the streams of an agent are: it went elsewhere. What is held of it goes up nevertheless."""
        self._words.forget(uid)
        self._away.discard(uid)

    def discard(self, uid: bytes, why: str = "discarded") -> None:
        """Hold nothing more of an agent: nobody above takes it, ever. It is counted."""
        self.forget(uid)
        self._lanes.discard(uid, why)
        self._keeping.stir()

    def depth(self) -> dict[str, Any]:
        """Return what waits: stream → records, bytes, oldest (unix seconds); and beside that, of all together.

        ``files`` are the bytes on the disk, ``dropped`` records by cause that were held and never go up from here,
        ``refused`` appends by cause for which there was no room.
        """
        return {
            **self._lanes.depth(),
            "files": self._keeping.size,
            "dropped": dict(self._lanes.dropped),
            "refused": dict(self._bounds.refused),
        }

    # What is taken.

    def _look(self, uid: bytes, stream: Stream, size: int) -> str:
        """Return why so many bytes are not taken now; empty if they are."""
        return self._bounds.look(
            self._load(uid, stream), stream, size, now=self._clock.monotonic(), wall=self._clock.now()
        )

    def _load(self, uid: bytes, stream: Stream) -> Load:
        keeping = self._keeping
        return Load(
            all=keeping.size,
            own=self._lanes.costs[uid],
            oldest=keeping.oldest(uid, stream),
            queue=keeping.room(uid),
            free=keeping.free,
        )

    def _sort(
        self, uid: bytes, stream: Stream, found: Sequence[tuple[Head, memoryview]]
    ) -> tuple[list[tuple[Head, memoryview]], StreamError | None]:
        """Return the frames that are new, and why one is refused; those after it are not looked at."""
        trial = self._receiving(uid, stream, found[0][0].epoch)
        if trial is None:
            return [], StreamError("overlap", "this epoch of the stream was refused", "Begin a new epoch")
        fresh = []
        for head, frame in found:
            try:
                if trial.offer(head) is not Verdict.HAVE:
                    trial.take(head)
                    fresh.append((head, frame))
            except StreamError as error:
                return fresh, error
        return fresh, None

    def _receiving(self, uid: bytes, stream: Stream, epoch: int) -> Receiving | None:
        """Return a copy of how far this is with all that is held; None if the epoch was refused above."""
        held = self._lanes.epoch(uid, stream, epoch)
        if held is not None:
            return held.whole.copy()
        word = self._words.find(uid, stream, epoch)
        if word is not None and word.refused:
            return None
        return Receiving(stream, epoch) if word is None else Receiving.from_standing(word)

    async def _keep(
        self, record: Record, stream: Stream, fresh: Sequence[tuple[Head, memoryview]], sent: Sent
    ) -> None:
        """Have frames durable. Raises StreamError, LinkError, StateError."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        append = Append(record.key, (record.public_key, record.former_key), answer)
        promised = self._is_hop(record.key, stream)
        pieces = [
            Piece(append, head, frame, self._keeping.stamp(sent.now, sent.waiting, promised=promised))
            for head, frame in fresh
        ]
        await self._keeping.keep(append, pieces)
        if append.failed:
            raise self._bounds.busy("disk")
        if append.error is not None:
            raise append.error

    def _is_hop(self, uid: bytes, stream: Stream) -> bool:
        return self.custody.get(stream, END_TO_END) == HOP and not self.strict(uid, stream)

    # What is answered.

    async def _answer(self, uid: bytes, stream: Stream, epoch: int, end: int) -> Standing:
        """Return how far it is, after an append; under ``end to end`` what is above soon is waited for."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.hold
        while True:
            told = self.told(uid, stream, epoch)
            lane = self._lanes.find(uid, stream)
            if self._is_hop(uid, stream) or told.next >= end or told.refused or lane is None:
                return told
            wait = until - loop.time()
            if wait <= 0 or lane.oldest is None or lane.oldest.stamp.received < self._clock.now() - self.hold:
                # It is stored, and the agent need not hurry with it.
                return replace(told, credit=0, retry_after=self._bounds.later(self.beat()))
            waiter = loop.create_future()
            lane.waiters.append(waiter)
            await asyncio.wait([waiter], timeout=wait)

    def told(self, uid: bytes, stream: Stream, epoch: int = 0) -> Standing:
        """Return how far it is by the custody of the stream, with what may be sent now."""
        newest = max(self._words.newest(uid, stream) or 0, self._lanes.newest(uid, stream), epoch)
        epoch = epoch or newest
        reason = self._look(uid, stream, 1)
        wait = self._bounds.wait(reason) if reason else 0.0
        credit = 0 if reason else self._bounds.credit(self._load(uid, stream))
        word = self._words.find(uid, stream, epoch)
        if word is not None and word.refused:
            return replace(word, newest=newest, credit=credit, retry_after=wait)
        held = self._lanes.epoch(uid, stream, epoch)
        if held is not None:
            found = held.promise() if self._is_hop(uid, stream) else held.promised()
        elif word is not None:
            found = Receiving.from_standing(word)
        elif epoch:
            found = Receiving(stream, epoch)
        else:
            return Standing(stream=stream, newest=newest, credit=credit, retry_after=wait)
        standing = found.standing(newest, credit=credit, retry_after=wait)
        # What is here may come to the Manager later than what the agent sends by another way.
        above = 0 if word is None else word.next if word.above is None else word.above
        return replace(standing, above=above) if above < standing.next else standing

    async def _learn(self, uid: bytes, stream: Stream, epoch: int, head: Head | None = None) -> None:
        """Have it known how far it is above; ``head`` is of a frame that is to be taken.

        Raises:
            LinkError: ``link.busy`` with ``retry_after``: nobody says that now, and it is not known from before.
        """
        # An agent that sends the beginning was told of nothing that it lacks.
        if self._words.is_fresh(uid, stream, epoch) or _is_first(head):
            return
        word = await self._asking.find(uid, stream, epoch)
        if self._words.is_fresh(uid, stream, epoch):
            return  # it was said meanwhile, and not before the answer was
        if word is not None:
            self._hear(uid, word)
            for one in {epoch, word.epoch}:
                self._words.freshen(uid, stream, one)
            self._call_back(uid, stream)
        elif not (self._is_hop(uid, stream) and self._is_known(uid, stream, epoch)):
            self._away.add(uid)
            raise self._bounds.busy("away")

    def _call_back(self, uid: bytes, stream: Stream) -> None:
        """Have an agent told how far it is that could not be told before."""
        if uid in self._away:
            self._away.discard(uid)
            self.on_standing(uid, stream)

    def _is_known(self, uid: bytes, stream: Stream, epoch: int) -> bool:
        """Return whether what is known, from the disk or from before, is no less than what the agent was told."""
        newest = self._words.newest(uid, stream)
        number = epoch or max(newest or 0, self._lanes.newest(uid, stream))
        if not number:
            return newest is not None
        if self._words.find(uid, stream, number) is not None:
            return True
        # What was never removed since the beginning of the epoch is all that was promised.
        held = self._lanes.epoch(uid, stream, number)
        if held is None:
            return newest is not None and number > newest
        return not self._words.is_lost and held.promised().next > 0

    def _hear(self, uid: bytes, word: Standing) -> bool:
        """Take a word from above; returns whether anything is held no more."""
        stream, epoch = word.stream, word.epoch
        before = self._mark(uid, stream, epoch)
        refused = self._lanes.dropped["refused"]
        self._words.note(uid, replace(word, credit=CREDIT, retry_after=0.0))
        lane = self._lanes.find(uid, stream)
        moved = self._lanes.hear(uid, word)
        if self._lanes.dropped["refused"] > refused:
            _log.warning("frames of %s of %s are not carried: above is another history", stream, uid.hex())
        if lane is not None:
            lane.wake()
        if moved:
            self._keeping.stir()
        if self._mark(uid, stream, epoch) != before:
            self.on_standing(uid, stream)
        return moved

    def _mark(self, uid: bytes, stream: Stream, epoch: int) -> tuple[Any, ...]:
        """Return how far an agent is told that it is, to be compared."""
        if self._lanes.epoch(uid, stream, epoch) is None and self._words.find(uid, stream, epoch) is None:
            return ()
        told = self.told(uid, stream, epoch)
        return told.next, told.last, told.ranges, told.refused


def _is_first(head: Head | None) -> bool:
    return head is not None and (head.first, head.before) == (0, START)
