"""What people are shown of logs and metrics. Times are unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """One line of a log.

    Attributes:
        uid: Of which agent.
        agent: Its name; empty if it is not known any more.
        at: When it was, corrected for skew.
        time: When it was, by the agent's clock.
        received: When the Manager took it.
        severity: OTLP severity number; 0 for none.
        level: Severity as it was written.
        source: Name of the source in the policy, else of the file.
        text: The line.
        attributes: All attributes.
    """

    uid: str
    agent: str
    at: float
    time: float
    received: float
    severity: int
    level: str
    source: str
    text: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Some lines.

    Attributes:
        items: In the order that was asked for.
        cursor: Of the next page; empty if this is the last.
        after: Where to go on for what comes later.
    """

    items: tuple[LogView, ...]
    cursor: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricView:
    """A metric.

    Attributes:
        name: Its name.
        kind: ``gauge``, ``sum``, ``counter``, ``histogram``, ``exponential`` or ``summary``.
        unit: Its unit.
        agents: How many agents have it.
        points: How many points.
        newest: When the newest was.
    """

    name: str
    kind: str
    unit: str
    agents: int
    points: int
    newest: float


class Series(NamedTuple):
    """A metric of one agent and one set of attributes, as it was found; attributes are JSON."""

    uid: str
    kind: str
    unit: str
    resource: str
    attributes: str
    values: list[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesView:
    """A metric of one agent and one set of attributes.

    Attributes:
        uid: Of which agent.
        agent: Its name; empty if it is not known any more.
        kind: Of the metric.
        unit: Of the values: of a counter, in a second.
        attributes: Of the points.
        values: One for each step, the first beginning at ``since``; null where there was none.
    """

    uid: str
    agent: str
    kind: str
    unit: str
    attributes: Mapping[str, Any]
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPage:
    """Some series of one metric.

    Attributes:
        items: By agent and attributes.
        since: When the first step begins.
        step: Seconds of a step.
        more: Whether there are more series than were asked for.
    """

    items: tuple[SeriesView, ...]
    since: float
    step: float
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPage:
    """Some records of a stream, with all that is kept of them.

    Attributes:
        items: By time. Their times are unix nanoseconds.
        cursor: Of the next page; empty if this is the last.
    """

    items: tuple[Mapping[str, Any], ...]
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptView:
    """What is kept of a stream in files.

    Attributes:
        records: In files.
        files: How many there are.
        bytes: Of them.
        oldest: The first day, in UTC; empty if there is none.
        aside: Reason → records that could not be read, and were set aside.
        dropped: Cause → records that are kept no more: ``age``, ``bytes`` or ``damaged``.
    """

    records: int
    files: int
    bytes: int
    oldest: str
    aside: Mapping[str, int]
    dropped: Mapping[str, int]
