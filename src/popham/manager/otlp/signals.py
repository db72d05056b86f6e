"""What the two kinds of OTLP requests consist of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics, ScopeMetrics

from popham.manager.data.metric_points import count_points
from popham.streams.frame import Stream


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind of request.

    Attributes:
        names: What its parts, their scopes, and the items of those are called in JSON.
        part, scope, item: Their classes; an item is a log record, or a metric.
        count: Returns how many records an item is.
    """

    names: tuple[str, str, str]
    part: Any
    scope: Any
    item: Any
    count: Callable[[Any], int]


SIGNALS: Final = MappingProxyType(
    {
        Stream.LOGS: Signal(
            ("resourceLogs", "scopeLogs", "logRecords"), ResourceLogs, ScopeLogs, LogRecord, lambda _record: 1
        ),
        Stream.METRICS: Signal(
            ("resourceMetrics", "scopeMetrics", "metrics"),
            ResourceMetrics,
            ScopeMetrics,
            Metric,
            count_points,
        ),
    }
)
"""Stream → what is sent for it."""
