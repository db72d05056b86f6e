"""Log files on their way into the stream ``logs``: the loop.

The promise (REL-27): each line that a file had when it was read comes into the stream once, also if the agent is
killed at any moment or the machine loses power; what was truncated or deleted before it could be read is told, as far
as one can know.  A batch is read again only if the spool itself lost its history meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from popham.agent.collect.tail.finding import FILES
from popham.agent.collect.tail.followed import Loss
from popham.agent.collect.tail.packing import Batch
from popham.agent.collect.tail.reader import Reader, SourceStatus
from popham.agent.collect.tail.source import Source
from popham.agent.collect.tail.wire import Envelope
from popham.agent.storage import Storage
from popham.clock import Clock
from popham.errors import PophamError, StateError, StreamError

T = TypeVar("T")
REST: Final = 0.4
"""Seconds from one look at the files to the next."""
LINGER: Final = 0.1
"""The same after something was read: so long lines come together for one append."""
SEARCH: Final = 3.0
"""Seconds from one search for files to the next, if no directory changes; one that does causes one at once."""
SHARE: Final = 50
"""Times as long as a search took that the next waits at least, however quickly directories change."""
RETRY: Final = 2.0
"""Seconds after which is tried again what the disk did not take."""


class Sink(Protocol):
    """The stream that lines go to.

    Attributes:
        turn: Held from a checkpoint until its batch is durable; whoever else appends to the stream, or counts
            something as lost in it, holds it as well.
    """

    turn: asyncio.Lock

    def position(self) -> tuple[int, int]:
        """Return the stream's epoch, and where it ends."""
        ...

    async def append(self, payloads: Sequence[tuple[bytes, int]]) -> None:
        """Append payloads, each with its number of records, in this order; durable once it returned.

        Raises:
            StreamError: Not all were taken; those that were are the first of them.
        """
        ...


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How it goes.

    Attributes:
        sources: How each source is, by its name.
        lines: Records that went into the stream since the start.
        cut: Those of them that were too long.
        lost: Bytes that were gone before they were read since the start, by cause.
        over: How many files are not followed, since there are too many.
        problems: What is wrong with files, by their path.
        stopped: Why nothing is read; empty while it is.
    """

    sources: Mapping[str, SourceStatus] = field(default_factory=dict)
    lines: int = 0
    cut: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    over: int = 0
    problems: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ""


class LogFiles:
    """Brings the lines of log files into a stream, for as long as :meth:`run` runs."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        sink: Sink,
        storage: Storage,
        clock: Clock,
        resource: Mapping[str, str],
        lost: Callable[[Loss], None],
        may_read: Callable[[str], bool],
        thread: Callable[..., Coroutine[Any, Any, Any]] = asyncio.to_thread,
        most: int = FILES,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            sources: Whose files are followed.
            sink: Where their lines go.
            storage: Where the checkpoint is.
            clock: For the times of records, and for how long nothing happened.
            resource: Attributes of the resource of all records.
            lost: Told what was gone before it was read.
            may_read: Whether a file may be read, by its path without links.
            thread: Calls what waits for the disk.
            most: Files that are followed at once.
        """
        self._sink = sink
        self._clock = clock
        self._lost = lost
        self._thread = thread
        self._reader = Reader(
            sources, storage=storage, envelope=Envelope(resource), may_read=may_read, most=most
        )
        self._wake = asyncio.Event()
        self._asked: list[asyncio.Future[None]] = []
        self._searched = self._pause = 0.0
        self._asked_for, self._same = True, True
        self._paused = False
        self._stopped = ""
        self._in_turn = False
        self._lines = self._cut = 0
        self._losses: Counter[str] = Counter()

    async def open(self) -> None:
        """Take up where the last process ended: before anybody appends to the stream.

        Raises:
            StateError, OSError: The checkpoint cannot be written.
        """
        await self._call(self._reader.start, *self._sink.position())

    async def run(self) -> None:
        """Bring lines until cancelled; :meth:`open` comes first."""
        asked: list[asyncio.Future[None]] = []
        try:
            while True:
                asked += self._asked
                self._asked.clear()
                self._wake.clear()
                rest = await self._go_round()
                if rest and (not self._asked_for or self._stopped):
                    _answer(asked)
                if rest:
                    with contextlib.suppress(TimeoutError):
                        # Not wait_for, which forgets that it is cancelled if it is woken at that moment.
                        async with asyncio.timeout(rest):
                            await self._wake.wait()
        finally:
            with contextlib.suppress(StateError, OSError):
                await self._call(self._reader.end, self._clock.now())
                self._release()
            _answer(asked + self._asked)

    def reconfigure(self, sources: Sequence[Source]) -> None:
        """Follow the files of these sources from now on; what stays as it is goes on without a pause."""
        self._reader.assign(sources)
        self._look_anew()

    def pause(self) -> None:
        """Read nothing; files are held all the same, so that nothing is missed that is there long enough."""
        self._paused = True

    def resume(self) -> None:
        """Go on where :meth:`pause` was called."""
        self._paused = False
        self._look_anew()

    async def collect(self) -> None:
        """Look now; returns once all that the files have is durable, or nothing can be read."""
        done = asyncio.get_running_loop().create_future()
        self._asked.append(done)
        self._look_anew()
        await done

    def status(self) -> LogStatus:
        """Return how it goes."""
        return LogStatus(
            sources=self._reader.status(),
            lines=self._lines,
            cut=self._cut,
            lost=dict(self._losses),
            over=self._reader.over,
            problems=dict(self._reader.problems),
            stopped="collection is paused" if self._paused else self._stopped,
        )

    def _look_anew(self) -> None:
        self._asked_for = True
        self._wake.set()

    async def _go_round(self) -> float:
        """Look at all files once; return the seconds to rest."""
        try:
            now = self._clock.monotonic()
            since = now - self._searched
            if self._asked_for or since >= SEARCH or (not self._same and since >= self._pause):
                self._asked_for = False
                self._tell(await self._call(self._reader.search, now, self._clock.now()))
                # So it is known where files are begun, and what the last batch did not bring.
                await self._call(self._reader.save, self._clock.now())
                self._release()
                self._searched = self._clock.monotonic()
                self._pause = SHARE * (self._searched - now)
            self._same, due = await self._call(self._reader.look, now)
            if self._paused or not due:
                self._stopped = ""
                return REST if self._same else LINGER
            batch, more = await self._call(self._reader.read, now, int(self._clock.now() * 1e9))
            if batch.payloads:
                await self._bring(batch)
        except (StreamError, StateError, OSError) as error:
            self._asked_for, self._stopped = True, _say(error)
            return RETRY
        self._stopped = ""
        return 0.0 if more else LINGER

    async def _bring(self, batch: Batch) -> None:
        """Put a batch into the stream: never a part of it twice.

        What is not taken leaves the turn with us, until the checkpoint is written without it: else what others append
        would be taken for it after a crash.

        Raises:
            StreamError, StateError, OSError: Not all of it was taken.
        """
        await self._sink.turn.acquire()
        self._in_turn = True
        epoch, end = self._sink.position()
        taken, whole = 0, sum(count for _, count in batch.payloads)
        try:
            await self._call(self._reader.note, batch, self._clock.now(), epoch, end)
            await _finish(self._sink.append(batch.payloads))
            taken = whole
        finally:
            after = self._sink.position()
            taken = max(taken, after[1] - end if after[0] == epoch else 0)
            self._reader.advance(batch, taken)
            self._lines += taken
        self._cut += batch.cut
        self._release()

    def _release(self) -> None:
        if self._in_turn:
            self._in_turn = False
            self._sink.turn.release()

    def _tell(self, losses: Sequence[Loss]) -> None:
        for loss in losses:
            self._losses[loss.cause] += loss.size
            self._lost(loss)

    def _call(self, work: Callable[..., T], *values: Any) -> Awaitable[T]:
        """Call what waits for the disk; it is never left running."""
        return _finish(self._thread(work, *values))


async def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, which goes on to its end also where this is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _answer(asked: list[asyncio.Future[None]]) -> None:
    for one in asked:
        if not one.done():
            one.set_result(None)
    asked.clear()


def _say(error: PophamError | OSError) -> str:
    return error.problem if isinstance(error, PophamError) else str(error.strerror or error)
