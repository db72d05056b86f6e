"""What the two kinds of OTLP requests consist of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics, ScopeMetrics

from popham.manager.data.metric_points import count_points, walk_points
from popham.streams.frame import Stream

RECORD: Final = 256 * 1024
"""Bytes of one record, encoded."""
METRIC: Final = 1024 * 1024
"""Bytes of one metric, which may have many records."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind of request.

    Attributes:
        names: What its parts, their scopes, and the items of those are called in JSON.
        part, scope, item: Their classes; an item is a log record, or a metric.
        count: Returns how many records an item is.
        walk: Likewise, by its bytes, which need not be sound.
        whole: Bytes of an item that is parsed: what a parser makes of more is not bounded.
    """

    names: tuple[str, str, str]
    part: Any
    scope: Any
    item: Any
    count: Callable[[Any], int]
    walk: Callable[[memoryview], int]
    whole: int


SIGNALS: Final = MappingProxyType(
    {
        Stream.LOGS: Signal(
            ("resourceLogs", "scopeLogs", "logRecords"),
            ResourceLogs,
            ScopeLogs,
            LogRecord,
            lambda _record: 1,
            lambda _data: 1,
            RECORD,
        ),
        Stream.METRICS: Signal(
            ("resourceMetrics", "scopeMetrics", "metrics"),
            ResourceMetrics,
            ScopeMetrics,
            Metric,
            count_points,
            walk_points,
            METRIC,
        ),
    }
)
"""Stream → what is sent for it."""
