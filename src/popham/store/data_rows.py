"""What the store keeps of agents' data: how far it is, and what is derived for windows and alerts.

The records themselves are in segments and Parquet files, never here; of the streams ``events`` and ``summary`` the
newest are here too, so that a window needs no file.  Times are unix seconds (float).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from popham.model.names import DEFAULT_TENANT

RECOVERED: Final = "recovered"
"""State of an alert that is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRow:
    """How far the intake is with one epoch of one stream of one agent, as it was at ``segment`` and ``position``.

    What came after that stands in the segments, and is read from them at a start.

    Attributes:
        body: JSON: next, last, ranges, boots, lost (cause → records), stored (records), skew (seconds), received.
        segment: Number of the segment up to which this says it all.
        position: Bytes of it.
    """

    uid: str
    stream: str
    epoch: int
    body: str
    segment: int
    position: int
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event of an agent, or of the Manager itself about one.

    Attributes:
        number: Rises by one per event; the order in which they were learned.
        uid: About which agent.
        at: When it happened, by the agent's clock corrected for skew.
        received: When the Manager learned it.
        name: ``popham.threshold``, …
        severity: OTLP severity number.
        body: JSON: text, attributes, and at the agent's own time.
    """

    number: int
    uid: str
    at: float
    received: float
    name: str
    severity: int
    body: str
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRow:
    """The newest summary of an agent. ``body`` is JSON: item → value, and when it was sampled."""

    uid: str
    at: float
    received: float
    body: str
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """Something that is not as it should be with an agent, or was: open until it recovered.

    Attributes:
        uid: Which agent.
        item: What is watched, such as ``system.filesystem.utilization``, ``presence`` or ``lagging``.
        resource: Which of them, such as ``/var``; empty for the only one.
        state: ``warning``, ``error`` or ``recovered``.
        since: When it came into this state.
        number: Of the event that said so.
        body: JSON: text, value, bound, thresholds, and what was told to whom.
    """

    uid: str
    item: str
    resource: str
    state: str
    since: float
    number: int
    body: str
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceRow:
    """Alerts that are not told for a while. ``body`` is JSON: selector, group, item, resource, author, message."""

    name: str
    begins: float
    ends: float
    body: str
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """Something that is to be told over a route, in the order of the numbers.

    Attributes:
        number: Of the same row of numbers as events; the order in which they are told.
        route: Name of the route.
        at: When it is to be tried next.
        attempts: How often it was tried.
        body: What is told.
        error: Why the last attempt failed; empty before.
    """

    number: int
    route: str
    at: float
    attempts: int
    body: str
    error: str = ""
    tenant: str = DEFAULT_TENANT
