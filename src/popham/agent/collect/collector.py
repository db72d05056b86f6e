"""Looks at the machine as the policy in force says, and puts what it finds into the streams.

Rules:

1. Everything has its own interval.  The first look is soon; from then on each agent looks at its own phase of the
   interval, so that agents of one policy do not all send at once.
2. A look that is still under way when the next is due is not joined by another: the beat is missed, not queued.
3. Timers are of the monotonic clock, data of the wall clock.
4. What another policy leaves as it is goes on: its schedule, how it was at the last look, counters.
5. What cannot be looked at, or kept, is said once; the agent stays.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import msgspec

from popham.agent.collect.asking import AskedCommand, AskedProbe, Gathers, Results
from popham.agent.collect.encoding import Encoder, Payload, Record
from popham.agent.collect.probes import Prober
from popham.agent.collect.sample import Sample
from popham.agent.collect.wanted import WantedCollect, WantedMetrics
from popham.clock import Clock
from popham.errors import StreamError
from popham.streams.frame import Stream

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
SOON: Final = 10.0
"""Seconds within which the first look comes."""
AT_ONCE: Final = 8
"""Probes and commands under way at once."""
LOOK_MAX: Final = 30.0
"""Seconds after which a look at the machine is given up."""
MINUTE: Final = 60.0


class Appends(Protocol):
    """The streams of this machine."""

    async def append(self, stream: Stream, payload: bytes, count: int) -> None:
        """Keep a payload of ``count`` records; returns once it is durable. Raises StreamError."""
        ...

    def waiting(self, stream: Stream) -> int:
        """Return how many records wait to be sent."""
        ...


class Looks(Protocol):
    """Metrics of the machine; :class:`popham.agent.collect.host.Host` makes them, and may wait for the kernel."""

    def summarize(self) -> list[Sample]:
        """Return the key metrics."""
        ...

    def measure(self, wanted: WantedMetrics) -> list[Sample]:
        """Return the metrics that a policy wants."""
        ...


class Asks(Protocol):
    """Makes calls that may block; :class:`popham.agent.lookups.Lookups` does, in threads."""

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
    """

    interval: float
    look: Callable[[], Awaitable[None]]
    due: float
    running: asyncio.Task[None] | None = None


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
        clock: Clock,
        resource: Mapping[str, str],
        phase: float,
        paused: Callable[[], bool],
        logs: asyncio.Lock,
    ) -> None:
        """Collect nothing before :meth:`configure`.

        Args:
            appends: Takes what is found.
            host: Looks at the machine.
            prober: Asks services.
            programs: Run commands.
            asks: Makes calls that may block.
            clock: Wall time.
            resource: Attributes of this machine and its agent, for every payload.
            phase: The agent's own number in [0, 1).
            paused: Whether collection is paused.
            logs: Held while something is appended to ``logs``.
        """
        self.sampled: list[Callable[[Sequence[Sample]], None]] = []
        self._appends = appends
        self._host = host
        self._prober = prober
        self._programs = programs
        self._asks = asks
        self._clock = clock
        self._encoder = Encoder(resource)
        self._phase = phase
        self._paused = paused
        self._logs = logs
        self._jobs: dict[Hashable, _Job] = {}
        self._bound = asyncio.Semaphore(AT_ONCE)
        self._news = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._said: set[str] = set()

    def configure(self, wanted: WantedCollect | None) -> None:
        """Collect what a policy wants from now on; None for nothing."""
        former, self._jobs = self._jobs, {}
        for key, interval, make in self._jobs_of(wanted):
            known = former.pop(key, None)
            self._jobs[key] = known or _Job(interval, make(), self._first(interval))
        for job in former.values():
            if job.running is not None:
                job.running.cancel()
        self._news.set()

    async def run(self) -> None:
        """Look whenever something is due, until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                while True:
                    self._news.clear()
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

    # The schedule.

    def _first(self, interval: float) -> float:
        return asyncio.get_running_loop().time() + min(interval, SOON) * self._phase

    def _next(self, interval: float, now: float) -> float:
        """Return the next beat after ``now`` at this agent's phase."""
        return (math.floor(now / interval - self._phase) + 1 + self._phase) * interval

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
            await job.look()
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

    def _jobs_of(
        self, wanted: WantedCollect | None
    ) -> Iterable[tuple[Hashable, float, Callable[[], Callable[[], Awaitable[None]]]]]:
        """Yield what is to be done: what it is the same by, how often, and what makes its look."""
        if wanted is None:
            return
        if wanted.summary_interval:
            yield ("summary", wanted.summary_interval), wanted.summary_interval, lambda: self._summarize
        metrics = wanted.metrics
        if metrics != WantedMetrics():
            key = "metrics", wanted.interval, _key(metrics)
            yield key, wanted.interval, lambda: lambda: self._measure(metrics, wanted.interval)
        for probe in wanted.probes:
            yield (
                ("probe", _key(probe)),
                probe.interval,
                lambda probe=probe: self._bounded(AskedProbe(probe, self._prober.ask, self._clock.now).look),
            )
        for command in wanted.commands:
            yield (
                ("command", _key(command)),
                command.interval,
                lambda command=command: self._bounded(
                    AskedCommand(command, self._programs, self._clock.now).look
                ),
            )

    async def _summarize(self) -> None:
        seconds = LOOK_MAX
        found = await self._asks.ask("summary", self._host.summarize, seconds=seconds)
        at = self._clock.now()
        waiting = [
            Sample(
                name="popham.spool.records",
                unit="{record}",
                value=float(self._appends.waiting(stream)),
                at=at,
                attributes={"popham.stream": stream.value},
            )
            for stream in Stream
        ]
        await self._keep_samples(Stream.SUMMARY, [*(found or ()), *waiting])

    async def _measure(self, metrics: WantedMetrics, interval: float) -> None:
        seconds = max(min(interval, LOOK_MAX), 1.0)
        found = await self._asks.ask("metrics", lambda: self._host.measure(metrics), seconds=seconds)
        await self._keep_samples(Stream.METRICS, found or [])

    def _bounded(self, look: Callable[[], Awaitable[Results]]) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            async with self._bound:
                found = await look()
            await self._keep_samples(Stream.METRICS, found.samples)
            await self._keep(Stream.EVENTS, self._encoder.encode_records(found.events))
            if found.lines:
                async with self._logs:
                    await self._keep(Stream.LOGS, self._encoder.encode_records(found.lines))

        return ask

    # Into the streams.

    async def note(self, events: Sequence[Record]) -> None:
        """Put events into their stream."""
        await self._keep(Stream.EVENTS, self._encoder.encode_records(events))

    async def _keep_samples(self, stream: Stream, samples: Sequence[Sample]) -> None:
        if samples:
            for told in self.sampled:
                told(samples)
            await self._keep(stream, self._encoder.encode_samples(samples))

    async def _keep(self, stream: Stream, payloads: Iterable[Payload]) -> None:
        """Append payloads; what the streams do not take is counted there, and said here once."""
        for payload, count in payloads:
            try:
                await self._appends.append(stream, payload, count)
            except StreamError as error:
                if error.code not in self._said:
                    _log.warning("%s: %s", stream.value, error)
                self._said.add(error.code)
            else:
                self._said.clear()


def _key(wanted: msgspec.Struct) -> bytes:
    """Return what a part of a policy is the same by."""
    return msgspec.json.encode(wanted)
