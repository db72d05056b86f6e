"""Probes of the Manager's own: services that it asks itself, as agents do by their policies.

Rules:

1. What is found is a metric under the Manager's uid, kept by the intake as what agents bring is.
2. A service that failed twice in a row is an alert, which the first success ends; one that cannot be asked from here
   is neither up nor down, and the log says so.
3. A probe that is still under way when its next turn comes misses that turn.  So many are asked at once, and no more.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from popham.clock import Clock
from popham.errors import LinkError, StateError
from popham.manager.intake.made import Portion, make_frame
from popham.manager.itself import MANAGER
from popham.model.types.collect import check_collect, find_host
from popham.model.types.collect_schema import PROBE_INTERVAL, PROBE_TIMEOUT, PROBES
from popham.net.probing import Found, Question
from popham.streams.frame import Head, Stream

_log = logging.getLogger(__name__)
AT_ONCE: Final = 16
"""Services that are asked at once."""
SOON: Final = 10.0
"""Seconds within which all are asked first, one after the other."""
FAILURES: Final = 2
"""Failures in a row from which on a service is down."""
RETRY: Final = 1.0
"""Seconds until another attempt to begin, after the database had no room."""
_NANO: Final = 1_000_000_000


class Asks(Protocol):
    """Asks services; :class:`popham.net.probing.Asking` does."""

    async def ask(self, question: Question) -> Found:
        """Return what came of a question, within its time."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class Keeps(Protocol):
    """Keeps frames; :class:`popham.manager.intake.intake.Intake` does."""

    async def take(self, source: bytes, stream: Stream, frames: Sequence[tuple[Head, memoryview]]) -> None:
        """Keep frames of the Manager's own. Raises LinkError, StateError."""
        ...


class Tells(Protocol):
    """Makes alerts; :class:`popham.manager.alerts.probed.ProbeAlerts` does."""

    async def load(self, names: Sequence[str]) -> None:
        """Read what is down; what none of ``names`` asks any more has recovered. Raises StateError."""
        ...

    async def note(self, name: str, text: str, *, down: bool) -> None:
        """Take note of how a service is. Raises StateError."""
        ...


@dataclass(frozen=True, slots=True)
class Probe:
    """A service that is asked.

    Attributes:
        name: What it is called.
        interval: Seconds from one question to the next.
        question: What it is asked.
    """

    name: str
    interval: float
    question: Question


class Probing:
    """Asks services again and again."""

    def __init__(
        self,
        probes: Sequence[Probe],
        asks: Asks,
        keeps: Keeps,
        tells: Tells,
        clock: Clock,
    ) -> None:
        """Keep what is needed; :meth:`run` does the work.

        Args:
            probes: Whom to ask.
            asks: Asks them.
            keeps: Takes what is found.
            tells: Is told of what is down.
            clock: Dates it.
        """
        self._probes = probes
        self._asks = asks
        self._keeps = keeps
        self._tells = tells
        self._clock = clock
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Ask until cancelled.

        Raises:
            StateError: The disk or the database failed; the process must end.
        """
        await self._load()
        tasks = [asyncio.ensure_future(self._repeat(*numbered)) for numbered in enumerate(self._probes)]
        try:
            # Without probes too it goes on until it is cancelled: nothing has failed.
            never = asyncio.get_running_loop().create_future()
            await asyncio.wait([never, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await self._asks.aclose()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _load(self) -> None:
        while True:
            try:
                await self._tells.load([probe.name for probe in self._probes])
            except StateError as error:
                if not error.retryable:
                    raise
                _log.warning("the Manager's probes begin later: %s", error)
                await asyncio.sleep(RETRY)
            else:
                return

    async def _repeat(self, number: int, probe: Probe) -> None:
        now = asyncio.get_running_loop().time
        due = now() + min(SOON, probe.interval) * number / len(self._probes)
        failures, unable = 0, False
        while True:
            await asyncio.sleep(due - now())
            async with self._room:
                at = self._clock.now()
                found = await self._asks.ask(probe.question)
            if found.up is None and not unable:
                _log.warning("the probe %s: %s %s", probe.name, probe.question.target, found.why)
            unable = found.up is None
            if found.up is not None:
                failures = 0 if found.up else failures + 1
                await self._note(probe, found, at, failures)
            due += probe.interval * max(1, math.ceil((now() - due) / probe.interval))

    async def _note(self, probe: Probe, found: Found, at: float, failures: int) -> None:
        """Have it kept and told; what there is no room for now is told by the next time."""
        try:
            if found.up or failures >= FAILURES:
                said = f"answers again after {found.seconds:.3g} s" if found.up else found.why
                text = f"{probe.name}: {probe.question.target} {said}"
                await self._tells.note(probe.name, text, down=not found.up)
            portion = Portion(MANAGER.bytes, encode(probe, found, at), 2)
            frame = make_frame(Stream.METRICS, portion, self._clock.now())
            await self._keeps.take(MANAGER.bytes, Stream.METRICS, [frame])
        except (LinkError, StateError) as error:
            if not error.retryable:
                raise
            _log.warning("what the probe %s found is not kept: %s", probe.name, error)


def read_probes(specs: Sequence[Mapping[str, Any]]) -> tuple[Probe, ...]:
    """Return probes as the policy type ``collect`` writes them.

    Raises:
        DefinitionError: ``definition.collect``: one is none.
    """
    return tuple(map(_read, check_collect({"probes": list(specs)})["probes"]))


def _read(spec: Mapping[str, Any]) -> Probe:
    kind = next(kind for kind in PROBES if kind in spec)
    question = Question(
        kind=kind,
        target=spec[kind],
        host=find_host(kind, spec[kind]),
        timeout=spec.get("timeout", PROBE_TIMEOUT),
        **spec.get("expect", {}),
    )
    return Probe(spec["name"], spec.get("interval", PROBE_INTERVAL), question)


def encode(probe: Probe, found: Found, at: float) -> bytes:
    """Return what was found as an OTLP request with two points, named as those of agents are."""
    request = ExportMetricsServiceRequest()
    part = request.resource_metrics.add()
    part.resource.attributes.add(key="service.name").value.string_value = "popham-manager"
    part.resource.attributes.add(key="service.instance.id").value.string_value = str(MANAGER)
    held = part.scope_metrics.add()
    held.scope.name = "popham.probing"
    labels = {
        "popham.source": probe.name,
        "popham.probe.type": probe.question.kind,
        "popham.probe.target": probe.question.target,
    }
    for name, unit, value in (
        ("popham.probe.up", "1", float(bool(found.up))),
        ("popham.probe.duration", "s", found.seconds),
    ):
        points = held.metrics.add(name=name, unit=unit).gauge.data_points
        point = points.add(time_unix_nano=int(at * _NANO), as_double=value)
        for key, text in labels.items():
            point.attributes.add(key=key).value.string_value = text
    return request.SerializeToString()
