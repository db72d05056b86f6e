"""Rows of logs and metrics: one record of a payload each, with what is known of how it came."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from popham.streams.frame import Frame

STREAM = "stream"
"""Way of what an agent of ours signed."""
OTLP = "otlp"
"""Way of what came as plain OTLP, which nobody signed."""


class Entry(Protocol):
    """What the intake took: a frame, and what was known when it came."""

    @property
    def received(self) -> float:
        """When it was taken, unix seconds."""
        ...

    @property
    def skew(self) -> float | None:
        """Seconds by which the agent's clock was ahead of ours; None if that was not known."""
        ...

    @property
    def frame(self) -> Frame:
        """The frame itself."""
        ...


class Origin(NamedTuple):
    """Where a record stands, and how it came.

    Attributes:
        uid: Of which agent.
        epoch: Of which epoch of its stream.
        offset: In the stream.
        received: When the Manager took it, unix nanoseconds.
        skew: Nanoseconds by which the agent's clock was ahead then; None if that was not known.
        written: When the agent wrote it into its stream, by its clock, unix nanoseconds.
        way: :data:`STREAM` or :data:`OTLP`.
    """

    uid: str
    epoch: int
    offset: int
    received: int
    skew: int | None
    written: int
    way: str


class LogRow(NamedTuple):
    """One line of a log, or one event. Times are unix nanoseconds.

    Attributes:
        uid: Of which agent.
        epoch: Of which epoch of its stream.
        offset: In the stream.
        received: When the Manager took it.
        skew: Nanoseconds by which the agent's clock was ahead then; None if that was not known.
        at: When it was, corrected for skew, and never after it was received.
        time: When it was, by the agent's clock.
        observed: When it was read, by the agent's clock; 0 if that was not said.
        severity: OTLP severity number, 0 to 24.
        level: Severity as it was written.
        body: The text; JSON if it is none.
        event: Name of the event; empty for a line.
        source: Name of the source in the policy, else of the file; empty for neither.
        file: Path of the file, else its name; empty for none.
        attributes: JSON of all attributes.
        resource: JSON of the resource's attributes.
        way: :data:`STREAM` or :data:`OTLP`.
    """

    uid: str
    epoch: int
    offset: int
    received: int
    skew: int | None
    at: int
    time: int
    observed: int
    severity: int
    level: str
    body: str
    event: str
    source: str
    file: str
    attributes: str
    resource: str
    way: str


class PointRow(NamedTuple):
    """One data point of a metric. Times are unix nanoseconds.

    Attributes:
        uid: Of which agent.
        epoch: Of which epoch of its stream.
        offset: In the stream.
        received: When the Manager took it.
        skew: Nanoseconds by which the agent's clock was ahead then; None if that was not known.
        at: When it was, corrected for skew, and never after it was received.
        time: When it was, by the agent's clock.
        start: Since when a sum counts, by the agent's clock; 0 for none.
        name: Of the metric.
        unit: Of the metric.
        kind: ``gauge``, ``sum`` (goes up and down), ``counter`` (goes up), ``histogram``, ``exponential``,
            ``summary``.
        delta: Whether a sum or a histogram counts since the point before, not since ``start``.
        value: Of a gauge or a sum; the sum of what was seen for the other kinds. None for a point without one.
        detail: JSON of a histogram's or a summary's count, sum, bounds, buckets or quantiles; empty for others.
        attributes: JSON of the point's attributes.
        resource: JSON of the resource's attributes.
        way: :data:`STREAM` or :data:`OTLP`.
    """

    uid: str
    epoch: int
    offset: int
    received: int
    skew: int | None
    at: int
    time: int
    start: int
    name: str
    unit: str
    kind: str
    delta: bool
    value: float | None
    detail: str
    attributes: str
    resource: str
    way: str
