"""Reads what agents put into frames: OTLP payloads, as rows.

Nothing that an agent may have put there stops a reader.  A record that cannot be parsed is set aside by name, and its
neighbours are read; so is a whole payload that is none, or that has another count of records than its frame says, since
the offsets of its records are not known then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from popham.errors import StreamError
from popham.manager.data.log_records import read_log
from popham.manager.data.metric_points import count_points, read_metric
from popham.manager.data.rows import OTLP, STREAM, Entry, LogRow, Origin, PointRow
from popham.manager.data.values import as_json
from popham.manager.data.wire_walk import BrokenError, find
from popham.streams.frame import UNSIGNED, Frame, Kind

WHOLE: Final = 1024 * 1024
"""Bytes of a payload that are parsed at once, and of a record: what a parser makes of more is not bounded."""
_ITEMS: Final = 2
"""Number of the field that holds the scopes of a resource, and of that which holds the items of a scope."""


class Reason(StrEnum):
    """Why something was set aside."""

    UNPACKED = "unpacked"
    """The payload could not be decompressed."""
    BROKEN = "broken"
    """It is no OTLP message."""
    COUNT = "count"
    """It has another count of records than its frame says."""
    RECORD = "record"
    """One record of it could not be read."""


Aside = Callable[[Entry, Reason, int], None]
"""Called with what is set aside: the entry, why, and how many records of it."""


def read_logs(entry: Entry, aside: Aside) -> Iterator[LogRow]:
    """Yield the lines or events of an entry of ``logs`` or ``events``; none for a gap."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    def whole(data: bytes) -> Iterator[tuple[Any, Any]]:
        for part in ExportLogsServiceRequest.FromString(data).resource_logs:
            for scope in part.scope_logs:
                yield from ((part.resource, record) for record in scope.log_records)

    found = _open(entry, aside, whole, LogRecord, lambda _record: 1)
    if found is None:
        return
    way, offset = _way(entry.frame), entry.frame.head.first
    for resource, record in found:
        if record is None:
            aside(entry, Reason.RECORD, 1)
        else:
            yield read_log(_origin(entry, offset), record, resource, way, entry.frame.head.written)
        offset += 1


def read_points(entry: Entry, aside: Aside) -> Iterator[PointRow]:
    """Yield the data points of an entry of ``metrics`` or ``summary``; none for a gap."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

    def whole(data: bytes) -> Iterator[tuple[Any, Any]]:
        for part in ExportMetricsServiceRequest.FromString(data).resource_metrics:
            for scope in part.scope_metrics:
                yield from ((part.resource, metric) for metric in scope.metrics)

    found = _open(entry, aside, whole, Metric, count_points)
    if found is None:
        return
    way, offset = _way(entry.frame), entry.frame.head.first
    for resource, metric in found:
        if isinstance(metric, int):
            aside(entry, Reason.RECORD, metric)
            offset += metric
            continue
        for row in read_metric(_origin(entry, offset), metric, resource, way, entry.frame.head.written):
            yield row
            offset = row.offset + 1
