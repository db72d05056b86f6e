"""Probes and commands of a policy, each with how it was at the last look: an event tells of each change."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from popham.agent.collect.encoding import ERROR, INFO, WARN, Record
from popham.agent.collect.sample import Sample
from popham.agent.collect.wanted import Probe, WantedCommand
from popham.agent.commands import Ended, Kept
from popham.agent.programs import say_end
from popham.errors import PolicyError
from popham.net.probing import Found
from popham.streams.frame import Stream

PRINTED_MAX: Final = 256 * 1024
"""Bytes of what a command prints that are kept, of its beginning and its end; between them stands how many are not."""
LINES_MAX: Final = 16 * 1024
"""Lines of it that are kept."""
_NUMBER: Final = 64
"""Characters of a number."""


class Gathers(Protocol):
    """Runs commands of the machine; :class:`popham.agent.programs.Programs` does."""

    @property
    def seconds(self) -> float:
        """How long a command may take."""
        ...

    async def gather(self, name: str, kept: Kept) -> Ended:
        """Run a command to its end; what it prints goes to ``kept``. Raises PolicyError."""
        ...


@dataclass(slots=True)
class Results:
    """What one look brought; ``stream`` is where the samples go."""

    stream: Stream = Stream.METRICS
    samples: list[Sample] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)
    lines: list[Record] = field(default_factory=list)


class AskedProbe:
    """A probe, and what it found last.

    Args:
        probe: It.
        ask: Asks the service.
        now: Wall time, in unix seconds.
    """

    def __init__(
        self, probe: Probe, ask: Callable[[Probe], Awaitable[Found]], now: Callable[[], float]
    ) -> None:
        self._probe = probe
        self._ask = ask
        self._now = now
        self._last: Found = Found(up=True)

    async def look(self) -> Results:
        """Ask the service."""
        at, probe = self._now(), self._probe
        found = await self._ask(probe)
        labels = {
            "popham.source": probe.name,
            "popham.probe.type": probe.kind,
            "popham.probe.target": probe.target,
        }
        results = Results()
        if found.up is not None:
            up = Sample(name="popham.probe.up", unit="1", value=float(found.up), at=at, attributes=labels)
            seconds = Sample(
                name="popham.probe.duration", unit="s", value=found.seconds, at=at, attributes=labels
            )
            results.samples += [up, seconds]
        if found.up is not self._last.up:
            severity = INFO if found.up else WARN if found.up is None else ERROR
            said = f"answers again after {found.seconds:.3g} s" if found.up else found.why
            results.events.append(
                Record(
                    body=f"{probe.name}: {probe.target} {said}",
                    at=at,
                    event="popham.probe",
                    severity=severity,
                    attributes=labels
                    | {"popham.probe.state": "up" if found.up else "unknown" if found.up is None else "down"},
                )
            )
        self._last = found
        return results


class AskedCommand:
    """A command on a schedule, and how it ended last.

    Args:
        wanted: It.
        programs: Run it.
        now: Wall time, in unix seconds.
    """

    def __init__(self, wanted: WantedCommand, programs: Gathers, now: Callable[[], float]) -> None:
        self._wanted = wanted
        self._programs = programs
        self._now = now
        self._failed = False

    async def look(self) -> Results:
        """Run the command; what it printed counts if it ended well."""
        at, wanted = self._now(), self._wanted
        labels = {"popham.source": wanted.name}
        results = Results()
        printed, why = await self._run()
        if not why and wanted.into == "metrics":
            value = _read_number(printed)
            why = "printed no number on its first line" if value is None else ""
            if value is not None:
                results.samples.append(
                    Sample(name="popham.command.value", unit="1", value=value, at=at, attributes=labels)
                )
        elif not why:
            lines = [line.decode("utf-8", "replace") for line in printed.splitlines()]
            if len(lines) > LINES_MAX:
                lines[LINES_MAX:] = [f"[{len(lines) - LINES_MAX} lines left out]"]
            results.lines += [Record(body=line, at=at, attributes=labels) for line in lines]
        if bool(why) is not self._failed:
            said = why or "ended well again"
            results.events.append(
                Record(
                    body=f"{wanted.name}: the command {wanted.command!r} {said}",
                    at=at,
                    event="popham.command",
                    severity=ERROR if why else INFO,
                    attributes=labels | {"popham.command.state": "failed" if why else "ok"},
                )
            )
        self._failed = bool(why)
        return results

    async def _run(self) -> tuple[bytes, str]:
        """Return what the command printed, and why that does not count, as the end of a sentence."""
        kept = Kept(PRINTED_MAX // 2, PRINTED_MAX // 2)
        try:
            ended = await self._programs.gather(self._wanted.command, kept)
        except PolicyError as error:
            return b"", f"cannot be run: {error.problem}"
        return kept.data, "" if ended.status == 0 else say_end(ended, self._programs.seconds)


def _read_number(printed: bytes) -> float | None:
    """Return the number on the first line; None if there is none."""
    first = printed.partition(b"\n")[0].strip()
    try:
        value = float(first[:_NUMBER])
    except ValueError:
        return None
    return value if math.isfinite(value) and len(first) <= _NUMBER else None
