"""Samples: what one look at the machine found, before it becomes OTLP, and what thresholds are evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SampleKind(StrEnum):
    """What a value is."""

    GAUGE = "gauge"
    """A value as it is now."""
    SUM = "sum"
    """What has come together since ``start``; it only rises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of one metric.

    Attributes:
        name: OpenTelemetry's name of the metric, such as ``system.memory.utilization``.
        unit: As in UCUM: ``1``, ``By``, ``s``, ``{process}``.
        value: The value.
        at: Unix seconds at which it was seen.
        attributes: OpenTelemetry's attributes, such as ``system.device``.
        kind: What the value is.
        start: Unix seconds since which a sum is one; 0 for a gauge.
    """

    name: str
    unit: str
    value: float
    at: float
    attributes: Mapping[str, str] = field(default_factory=dict)
    kind: SampleKind = SampleKind.GAUGE
    start: float = 0.0
