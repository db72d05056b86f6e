"""What a policy of type ``collect`` wants, as its document says it: seconds, bytes, and what holds where it is silent.

Forms that this agent does not know are refused: what would be left out silently was promised to somebody.
"""

from __future__ import annotations

from typing import Any

import msgspec

from popham.model.types.collect_schema import (
    AGE,
    BYTES,
    COMMAND_INTERVAL,
    INTERVAL,
    PROBE_INTERVAL,
    PROBE_TIMEOUT,
    PROBES,
    RECORDS,
)


class _Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the document."""


class WantedSummary(_Form, frozen=True, kw_only=True):
    """Key metrics, every ``interval`` seconds."""

    interval: float = INTERVAL


class Choice(_Form, frozen=True, kw_only=True):
    """Which devices or mounts: those that fit ``include``, but for those that fit ``exclude``; all if it is empty."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class ProcessSort(_Form, frozen=True, kw_only=True):
    """Processes whose program's name is like ``match``."""

    name: str
    match: str


class WantedMetrics(_Form, frozen=True, kw_only=True):
    """Metrics of the machine; attributes as the keys of the policy."""

    cpu: bool = False
    load: bool = False
    memory: bool = False
    filesystem: bool | Choice = False
    disk: bool | Choice = False
    network: bool | Choice = False
    processes: tuple[ProcessSort, ...] = ()

    def choice(self, metrics: str) -> Choice | None:
        """Return which of ``filesystem``, ``disk`` or ``network`` are wanted; None for none."""
        wanted: bool | Choice = getattr(self, metrics)
        return wanted if isinstance(wanted, Choice) else Choice() if wanted else None


class Expectation(_Form, frozen=True, kw_only=True):
    """What is right beyond an answer; None for whatever comes."""

    status: int | None = None
    contains: str | None = None
    address: str | None = None


class Probe(_Form, frozen=True, kw_only=True):
    """A service that is asked whether it answers; one of the four ways is named."""

    name: str
    http: str | None = None
    tcp: str | None = None
    dns: str | None = None
    ping: str | None = None
    interval: float = PROBE_INTERVAL
    timeout: float = PROBE_TIMEOUT
    expect: Expectation = Expectation()

    @property
    def kind(self) -> str:
        """How it is asked; empty if the document does not say."""
        return next((kind for kind in PROBES if getattr(self, kind) is not None), "")

    @property
    def target(self) -> str:
        """Who is asked."""
        found: str = getattr(self, self.kind)
        return found


class WantedCommand(_Form, frozen=True, kw_only=True):
    """A command of the machine that is run on a schedule."""

    name: str
    command: str
    interval: float = COMMAND_INTERVAL
    into: str = "logs"


class Bound(_Form, frozen=True, kw_only=True):
    """A value that something is above, or below; one of the two is named."""

    above: float | None = None
    below: float | None = None


class WantedThreshold(_Form, frozen=True, kw_only=True):
    """Values of ``item`` from which on something is a warning or an error; attributes as the keys of the policy."""

    name: str
    item: str
    resource: str = "*"
    when: tuple[dict[str, Any], ...] = ()
    warning: Bound | None = None
    error: Bound | None = None
    hysteresis: float = 0.0
    samples: str = "1 of 1"
    text: str = ""


class WantedLimits(_Form, frozen=True, kw_only=True):
    """What is kept of each stream until it is upstream."""

    records: int = RECORDS
    bytes: int = BYTES
    age: float = AGE


class WantedUpload(_Form, frozen=True, kw_only=True):
    """Which streams are sent: ``on`` or ``off``."""

    events: str = "on"
    summary: str = "on"
    metrics: str = "on"
    logs: str = "on"


class WantedCollect(_Form, frozen=True, kw_only=True):
    """A policy of type ``collect``.

    Attributes:
        logs: Each in its normal form, as :mod:`popham.agent.collect.tail` reads it.
        bandwidth: Bytes a second, at most, that are sent; None for any number.
    """

    interval: float = INTERVAL
    summary: bool | WantedSummary = True
    metrics: WantedMetrics = WantedMetrics()
    logs: tuple[dict[str, Any], ...] = ()
    probes: tuple[Probe, ...] = ()
    commands: tuple[WantedCommand, ...] = ()
    thresholds: tuple[WantedThreshold, ...] = ()
    limits: WantedLimits = WantedLimits()
    bandwidth: int | None = None
    upload: WantedUpload = WantedUpload()

    @property
    def summary_interval(self) -> float:
        """Seconds from one summary to the next; 0 for none."""
        if isinstance(self.summary, WantedSummary):
            return self.summary.interval
        return INTERVAL if self.summary else 0.0

    @property
    def reads_lines(self) -> bool:
        """Whether something goes into the stream ``logs``."""
        return bool(self.logs) or any(command.into == "logs" for command in self.commands)

    def sends(self, stream: str) -> bool:
        """Return whether what is in ``stream`` is sent."""
        said: Any = getattr(self.upload, stream)
        return bool(said == "on")
