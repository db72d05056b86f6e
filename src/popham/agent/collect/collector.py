"""Looks at the machine as the policy in force says, and puts what it finds into the streams.

Rules:

1. Everything has its own interval.  The first look is soon; from then on each agent looks at its own phase of the
   interval, so that agents of one policy do not all send at once.
2. A look that is still under way when the next is due is not joined by another: the beat is missed, not queued.
3. Timers are of the monotonic clock, data of the wall clock.
4. What another policy leaves as it is goes on: its schedule, how it was at the last look, counters, places in files.
5. What cannot be looked at is said once; what the disk does not take is counted.  The agent stays.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec

from popham.agent.collect.appends import Appends
from popham.agent.collect.asking import AskedCommand, AskedProbe, Gathers, Results
from popham.agent.collect.encoding import WARN, Encoder, Payload, Record
from popham.agent.collect.log_stream import LogStream
from popham.agent.collect.probes import Prober
from popham.agent.collect.sample import Sample
from popham.agent.collect.tail.followed import Loss
from popham.agent.collect.wanted import WantedCollect, WantedMetrics
from popham.clock import Clock
from popham.errors import StreamError
from popham.streams.frame import Cause, Stream

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Look = Callable[[], Awaitable[Results]]
SOON: Final = 10.0
"""Seconds within which the first look comes."""
AT_ONCE: Final = 8
"""Looks under way at once."""
LOOK_MAX: Final = 30.0
"""Seconds after which a look at the machine is given up."""
TOLD_MAX: Final = 256
"""Events that wait to be kept; further ones push out the oldest."""


class Looks(Protocol):
    """Metrics of the machine; :class:`popham.agent.collect.host.Host` makes them, and may wait for the kernel."""

    def summarize(self) -> list[Sample]:
        """Return the key metrics."""
        ...

    def measure(self, wanted: WantedMetrics) -> list[Sample]:
        """Return the metrics that a policy wants."""
        ...


class Asks(Protocol):
    """Makes calls that may block; :class:`popham.net.lookups.Lookups` does, in threads."""

    async def ask(self, key: str, call: Callable[[], _T], *, seconds: float) -> _T | None:
        """Return what ``call`` returned; None if it took longer, or raised OSError."""
        ...


@dataclass(slots=True, eq=False)
class _Job:
    """Something that is done on a schedule.

    Attributes:
        interval: Seconds from one look to the next.
        look: Looks once.
        due: Loop time of the next look.
        running: The look under way.
        over: Whether it is wanted no more; what a look still brings is dropped.
    """

    interval: float
    look: _Look
    due: float
    running: asyncio.Task[None] | None = None
    over: bool = False


class Collector:
    """Collects on one machine.

    Attributes:
        sampled: Called with what each look at the machine, each probe and each command measured.
    """

    def __init__(
        self,
        appends: Appends,
        *,
        host: Looks,
        prober: Prober,
        programs: Gathers,
        asks: Asks,
        lines: Callable[[Callable[[Loss], None]], LogStream],
        clock: Clock,
        encoder: Encoder,
        phase: float,
        paused: Callable[[], bool],
    ) -> None:
        """Collect nothing before :meth:`configure`.

        Args:
            appends: Takes what is found.
            host: Looks at the machine.
            prober: Asks services.
            programs: Run commands.
            asks: Makes calls that may block.
            lines: Makes what brings lines of logs, and tells what of files was lost.
            clock: Wall time.
            encoder: Makes payloads.
            phase: The agent's own number in [0, 1).
            paused: Whether collection is paused.
        """
        self.sampled: list[Callable[[Sequence[Sample]], Awaitable[None]]] = []
        self._appends = appends
        self._host = host
        self._prober = prober
        self._programs = programs
        self._asks = asks
        self._make_lines = lines
        self._clock = clock
        self._encoder = encoder
        self._phase = phase
        self._paused = paused
        self._wanted: WantedCollect | None = None
        self._jobs: dict[Hashable, _Job] = {}
        self._lines: LogStream | None = None
        self._reading: asyncio.Task[None] | None = None
        self._reads: tuple[Sequence[Any], bool] | None = None
        self._bound = asyncio.Semaphore(AT_ONCE)
        self._news = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._told: deque[Record] = deque(maxlen=TOLD_MAX)
        self._full: set[Stream] = set()

    def configure(self, wanted: WantedCollect | None) -> None:
        """Collect what a policy wants from now on; None for nothing."""
        self._wanted = wanted
        former, self._jobs = self._jobs, {}
        for key, interval, look in self._looks_of(wanted):
            known = former.pop(key, None)
            self._jobs[key] = known or _Job(interval, look, self._first(interval))
        for job in former.values():
            job.over = True
        self._news.set()

    def look_again(self) -> None:
        """Take note that collection was paused, or goes on."""
        self._news.set()

    def tell(self, event: Record) -> None:
        """Have an event kept."""
        self._told.append(event)
        self._news.set()

    async def run(self) -> None:
        """Look whenever something is due, until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                while True:
                    self._news.clear()
                    await self._read_lines()
                    await self._tell_events()
                    self._begin_due(asyncio.get_running_loop().time())
                    await self._wait()
        finally:
            self._group = None
            await self._prober.aclose()

    async def look_now(self) -> None:
        """Look at everything once; returns when all of it is in the streams."""
        for job in self._jobs.values():
            self._begin(job)
        running = [job.running for job in self._jobs.values() if job.running is not None]
        if running:
            await asyncio.wait(running)
        if self._lines is not None:
            await self._lines.collect()

    # The schedule.

    def _first(self, interval: float) -> float:
        return asyncio.get_running_loop().time() + min(interval, SOON) * self._phase

    def _next(self, interval: float, now: float) -> float:
        """Return the next beat after ``now`` at this agent's phase."""
        beat = math.floor(now / interval - self._phase) + 1
        due = (beat + self._phase) * interval
        # Rounding may have it that the beat that is now is still to come.
        return due if due > now else (beat + 1 + self._phase) * interval

    def _begin_due(self, now: float) -> None:
        for job in self._jobs.values():
            if job.due <= now:
                job.due = self._next(job.interval, now)
                if not self._paused():
                    self._begin(job)

    def _begin(self, job: _Job) -> None:
        """Begin a look, unless one is under way."""
        if self._group is not None and job.running is None:
            job.running = self._group.create_task(self._do(job))

    async def _do(self, job: _Job) -> None:
        try:
            async with self._bound:
                found = await job.look()
            if not job.over:
                await self._keep_all(found)
        except Exception:  # noqa: BLE001  # whatever it is, the agent stays, and its log says it
            _log.exception("a look failed")
        finally:
            job.running = None

    async def _wait(self) -> None:
        """Wait until something is due, or is to be done differently."""
        due = min((job.due for job in self._jobs.values()), default=None)
        try:
            async with asyncio.timeout_at(due):
                await self._news.wait()
        except TimeoutError:
            return

    # What is looked at.

    def _looks_of(self, wanted: WantedCollect | None) -> Iterator[tuple[Hashable, float, _Look]]:
        """Yield what is to be done: what it is the same by, how often, and its look."""
        if wanted is None:
            return
        every = wanted.summary_interval
        if every:
            yield ("summary", every), every, self._summarize
        metrics, every = wanted.metrics, wanted.interval
        if metrics != WantedMetrics():
            yield ("metrics", every, _key(metrics)), every, functools.partial(self._measure, metrics, every)
        for probe in wanted.probes:
            asked = AskedProbe(probe, self._prober.ask, self._clock.now)
            yield ("probe", _key(probe)), probe.interval, asked.look
        for command in wanted.commands:
            run = AskedCommand(command, self._programs, self._clock.now)
            yield ("command", _key(command)), command.interval, run.look

    async def _summarize(self) -> Results:
        found = await self._asks.ask("summary", self._host.summarize, seconds=LOOK_MAX)
        at = self._clock.now()
        views = {stream: self._appends.view(stream) for stream in Stream}
        waiting = [
            Sample(
                name="popham.spool.records",
                unit="{record}",
                value=float(view.waiting if view is not None else 0),
                at=at,
                attributes={"popham.stream": stream.value},
            )
            for stream, view in views.items()
        ]
        return Results(stream=Stream.SUMMARY, samples=[*(found or ()), *waiting])

    async def _measure(self, metrics: WantedMetrics, interval: float) -> Results:
        look = functools.partial(self._host.measure, metrics)
        found = await self._asks.ask("metrics", look, seconds=max(min(interval, LOOK_MAX), 1.0))
        return Results(samples=found or [])

    async def _read_lines(self) -> None:
        """Begin, change or end the reading of lines."""
        wanted = self._wanted
        if wanted is None or not wanted.reads_lines:
            self._lines, reading, self._reading = None, self._reading, None
            if reading is not None:
                reading.cancel()
                await asyncio.wait({reading})
            return
        if self._lines is None and self._group is not None:
            self._lines = self._make_lines(self._tell_loss)
            self._reading = self._group.create_task(self._lines.run())
            self._reads = None
        reads = wanted.logs, self._paused()
        if self._lines is not None and reads != self._reads:
            self._lines.read(wanted.logs, paused=self._paused())
            self._reads = reads

    def _tell_loss(self, loss: Loss) -> None:
        body = (
            f"{loss.source}: {loss.size} bytes of {loss.path} were gone before they were read ({loss.cause})"
        )
        attributes = {
            "popham.source": loss.source,
            "log.file.path": loss.path,
            "popham.cause": loss.cause.value,
        }
        event = Record(
            body=body, at=self._clock.now(), event="popham.log.lost", severity=WARN, attributes=attributes
        )
        self.tell(event)

    # Into the streams.

    async def _keep_all(self, found: Results) -> None:
        if found.samples:
            for told in self.sampled:
                await told(found.samples)
        await self._keep(found.stream, self._encoder.encode_samples(found.samples))
        await self._keep(Stream.EVENTS, self._encoder.encode_records(found.events))
        if found.lines and self._lines is not None:
            await self._lines.bring(self._encoder.encode_records(found.lines))

    async def _tell_events(self) -> None:
        events = list(self._told)
        self._told.clear()
        await self._keep(Stream.EVENTS, self._encoder.encode_records(events))

    async def _keep(self, stream: Stream, payloads: Iterable[Payload]) -> None:
        """Append payloads; what the disk does not take is counted, and said here once."""
        for payload, count in payloads:
            try:
                await self._appends.append(stream, payload, count)
            except StreamError as error:
                self._appends.lose(stream, count, Cause.DISK)
                if stream not in self._full:
                    _log.warning("records of the stream %s are lost: %s", stream.value, error)
                self._full.add(stream)
            else:
                self._full.discard(stream)


def _key(wanted: msgspec.Struct) -> bytes:
    """Return what a part of a policy is the same by."""
    return msgspec.json.encode(wanted)
