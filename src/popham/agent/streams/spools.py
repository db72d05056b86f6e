"""The spools of one agent, one of each stream: what waits on its disk until upstream has it.

Rules:

1. An append returns once it is durable.  What is appended while the disk is busy shares the next turn.
2. One thing at a time is done on the disk, in a thread.
3. A stream that never had a record has no folder, and costs nothing.
4. A disk that takes nothing is an error of whoever appends, never the end of the agent.  Metrics and logs are
   refused first: :data:`RESERVE` is left for events and the summary.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from popham.agent.streams.signing import signer
from popham.clock import Clock
from popham.errors import PophamError, StreamError
from popham.streams.disk import Disk, SystemDisk
from popham.streams.frame import Cause, Frame, Stream
from popham.streams.standing import Standing
from popham.trust.keys import IdentityKey

if TYPE_CHECKING:
    # Imported when the first record is written or found: an idle agent has a budget of memory.
    from popham.streams.limits import Limits
    from popham.streams.spool import Continue, Spool

_log = logging.getLogger(__name__)
T = TypeVar("T")
FOLDER: Final = "streams"
"""Folder of the state directory with a folder for each stream."""
RESERVE: Final = 16 * 1024 * 1024
"""Bytes of the disk that metrics and logs leave free."""
_BULK: Final = frozenset({Stream.METRICS, Stream.LOGS})


class Offload(Protocol):
    """Runs what waits for the disk; :func:`popham.agent.apply.in_thread` does."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Return what ``function`` returns."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What waits in one stream, all of it durable.

    Attributes:
        epoch: Of which history.
        first: Offset of the first record that upstream is not known to have.
        next: Offset after the last record.
        waiting: Records that wait.
        bytes: Of their frames.
        oldest: When the oldest of them was appended, in unix seconds; None if none waits.
        lost: Cause → how many records were lost by it.
    """

    epoch: int
    first: int
    next: int
    waiting: int
    bytes: int
    oldest: float | None
    lost: Mapping[str, int]

    @classmethod
    def of(cls, spool: Spool) -> View:
        """Return what waits in a spool."""
        return cls(
            epoch=spool.epoch,
            first=spool.first,
            next=spool.next,
            waiting=spool.waiting,
            bytes=spool.size,
            oldest=spool.oldest,
            lost={str(cause): count for cause, count in spool.lost.items()},
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for people."""
        return {
            "waiting": self.waiting,
            "bytes": self.bytes,
            "oldest": self.oldest,
            "sent": self.first,
            "lost": dict(self.lost),
        }


@dataclass(slots=True, eq=False)
class _Entry:
    """A payload that is to be appended; ``error`` says why it alone was not."""

    payload: bytes
    count: int
    durable: asyncio.Future[None]
    error: StreamError | None = None


@dataclass(slots=True)
class _Work:
    """What is to be written to one stream."""

    entries: list[_Entry] = field(default_factory=list)
    losses: Counter[Cause] = field(default_factory=Counter)


class Spools:
    """Keeps the records of an agent until they are sent.

    Attributes:
        appended: Told of a stream in which there is more than before.
    """

    def __init__(
        self,
        folder: Path,
        uid: bytes,
        clock: Clock,
        *,
        boot: bytes,
        offload: Offload,
        disk: Disk | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            folder: Has a folder for each stream.
            uid: instance_uid, 16 bytes.
            clock: Wall time.
            boot: Drawn by this process; 8 bytes.
            offload: Runs what waits for the disk.
            disk: Where frames are; None for the machine's own.
        """
        self.appended: Callable[[Stream], None] = lambda _stream: None
        self._folder = folder
        self._uid = uid
        self._clock = clock
        self._boot = boot
        self._offload = offload
        self._disk = disk or SystemDisk()
        self._limits: dict[Stream, Limits] = {}
        self._spools: dict[Stream, Spool] = {}
        self._views: dict[Stream, View] = {}
        self._turn = asyncio.Lock()
        self._work: dict[Stream, _Work] = {}
        self._writing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Open the streams that have records from before; one that cannot be opened is tried again by an append."""
        try:
            kept = self._disk.names(self._folder)  # one look, for which no thread need be begun
        except OSError as error:
            _log.warning("what waits in streams cannot be read: %s", error)
            return
        for stream in Stream:
            try:
                if stream in kept:
                    await self.open(stream)
            except PophamError as error:
                _log.warning("what waits in the stream %s cannot be read: %s", stream, error)

    async def open(self, stream: Stream) -> None:
        """Open a stream, also one that never had a record. Raises StreamError."""
        await self._with(stream, View.of)

    async def close(self) -> None:
        """Wait until what was appended is durable, and close every stream."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        async with self._turn:
            for spool in self._spools.values():
                await self._offload(spool.close)
            self._spools.clear()

    # What comes.

    async def append(self, stream: Stream, payload: bytes, count: int) -> None:
        """Append records, and return once they are durable; who is cancelled waits for that, too.

        Args:
            stream: Which one.
            payload: An OTLP export request.
            count: Its records, or data points.

        Raises:
            StreamError: ``stream.full``: the disk takes nothing. Others as of the spool.
        """
        entry = _Entry(payload, count, asyncio.get_running_loop().create_future())
        self._work.setdefault(stream, _Work()).entries.append(entry)
        self._write_soon()
        try:
            await asyncio.shield(entry.durable)
        except asyncio.CancelledError:
            await asyncio.wait({entry.durable})
            entry.durable.exception()  # it is known, though nobody is told
            raise

    def lose(self, stream: Stream, count: int, cause: Cause) -> None:
        """Count records that could not be appended; it is written as soon as the disk takes something."""
        self._work.setdefault(stream, _Work()).losses[cause] += count
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="spools")

    async def _write_all(self) -> None:
        """Write what there is, and what comes meanwhile, until there is nothing more."""
        tried: set[Stream] = set()
        while stream := next((one for one in Stream if self._wants(one, tried)), None):
            work = self._work.pop(stream)
            try:
                await self._with(stream, partial(self._write, stream, work))
            except BaseException as error:
                # What was lost is counted by the next turn that succeeds.
                self._work.setdefault(stream, _Work()).losses.update(work.losses)
                tried.add(stream)
                _settle(work.entries, error)
                if not isinstance(error, PophamError):
                    raise
            else:
                _settle(work.entries, None)
                self.appended(stream)

    def _wants(self, stream: Stream, tried: set[Stream]) -> bool:
        work = self._work.get(stream)
        return work is not None and bool(work.entries or (work.losses and stream not in tried))

    def _write(self, stream: Stream, work: _Work, spool: Spool) -> None:
        if stream in _BULK:
            self._check_reserve()
        for cause, count in work.losses.items():
            spool.lose(count, cause)
        work.losses = Counter()
        entries = list(work.entries)
        while (refused := _append_all(spool, entries)) is not None:
            entries.remove(refused)
        spool.commit()

    def _check_reserve(self) -> None:
        try:
            free = self._disk.free(self._folder)
        except OSError as error:
            raise _full(error.strerror or str(error)) from error
        if free < RESERVE:
            raise _full(f"less than {RESERVE // (1024 * 1024)} MiB are free, which are left for events")

    # What goes.

    def view(self, stream: Stream) -> View | None:
        """Return what waits in a stream; None if it never had a record."""
        return self._views.get(stream)

    def describe(self) -> dict[str, Any]:
        """Return what waits in each stream that ever had a record, as plain data."""
        return {str(stream): self._views[stream].as_dict() for stream in Stream if stream in self._views}

    async def read(
        self, stream: Stream, first: int, *, limit: int, key: Callable[[], IdentityKey]
    ) -> list[Frame]:
        """Return frames from ``first`` on, signed; ``limit`` bytes at most, but one frame at least if there is any.

        Args:
            stream: Of which stream.
            first: Offset of the first record that is wanted.
            limit: Bytes.
            key: Returns the key whose certificate is in use.

        Raises:
            StreamError: They cannot be read.
        """
        if stream not in self._spools:
            return []

        def work(spool: Spool) -> list[Frame]:
            sign = signer(key())
            return [frame.sign(sign) for frame in spool.read(max(first, spool.first), limit=limit)]

        return await self._with(stream, work)

    async def heard(self, standing: Standing) -> Continue | None:
        """Take note of how far upstream is, and return where to go on; None for a stream that never had a record.

        Raises:
            StreamError: It cannot be written.
        """
        if standing.stream not in self._spools:
            return None
        return await self._with(standing.stream, lambda spool: spool.heard(standing))

    # Limits.

    async def set_limits(self, limits: Mapping[Stream, Limits]) -> None:
        """Keep no more than this from now on; a stream that is not named keeps as much as by default.

        Raises:
            StreamError: It cannot be written.
        """
        self._limits = dict(limits)
        for stream in list(self._spools):
            await self._with(stream, partial(self._limit, stream))

    async def enforce(self) -> None:
        """Drop what is too old. Raises StreamError."""
        for stream in list(self._spools):
            await self._with(stream, _enforce)

    # The disk.

    async def _with(self, stream: Stream, work: Callable[[Spool], T]) -> T:
        """Return what ``work`` does with a spool, alone and in a thread; note what waits then."""

        def run() -> tuple[T, View]:
            spool = self._need(stream)
            return work(spool), View.of(spool)

        async with self._turn:
            found, self._views[stream] = await self._offload(run)
        return found

    def _need(self, stream: Stream) -> Spool:
        """Return a spool, opened if it is not."""
        from popham.streams.spool import Spool

        spool = self._spools.get(stream)
        if spool is None:
            spool = self._spools[stream] = Spool.open(
                self._folder / stream,
                stream,
                self._uid,
                disk=self._disk,
                clock=self._clock,
                boot=self._boot,
                limits=self._limits_of(stream),
            )
        return spool

    def _limits_of(self, stream: Stream) -> Limits:
        from popham.streams.limits import Limits

        return self._limits.get(stream) or Limits()

    def _limit(self, stream: Stream, spool: Spool) -> None:
        spool.set_limits(self._limits_of(stream))


def _append_all(spool: Spool, entries: Iterable[_Entry]) -> _Entry | None:
    """Append all, or none and return the first that cannot be: it alone has failed."""
    for entry in entries:
        try:
            spool.append(entry.payload, entry.count)
        except StreamError as error:
            entry.error = error
            return entry
    return None


def _enforce(spool: Spool) -> None:
    spool.enforce()


def _settle(entries: Iterable[_Entry], error: BaseException | None) -> None:
    """Tell those who wait that their records are durable, or why they are not."""
    for entry in entries:
        failed = entry.error or error
        if failed is None:
            entry.durable.set_result(None)
        else:
            entry.durable.set_exception(failed)


def _full(why: str) -> StreamError:
    problem = f"the disk takes no records: {why}"
    return StreamError("full", problem, "Make room where the agent keeps its state; it tries again by itself")
