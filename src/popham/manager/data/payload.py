"""Reads what agents put into frames: OTLP payloads, as rows.

Nothing that an agent may have put there stops a reader.  A record that cannot be parsed is set aside by name, and its
neighbours are read; so is a whole payload that is none, or that has another count of records than its frame says, since
the offsets of its records are not known then.  What the records of a payload share stands in each of their rows; where it is so much
that a few bytes would become gigabytes, the records beyond are set aside too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from popham.errors import StreamError
from popham.manager.data.log_records import read_log
from popham.manager.data.metric_points import count_points, read_metric, walk_points
from popham.manager.data.rows import OTLP, STREAM, Entry, LogRow, Origin, PointRow
from popham.manager.data.values import as_json, nanoseconds
from popham.manager.data.wire_walk import BrokenError, find
from popham.streams.frame import UNSIGNED, Kind
from popham.streams.packing import unpack

WHOLE: Final = 1024 * 1024
"""Bytes of a payload that are parsed at once, and of one record: what a parser makes of more is not bounded."""
SHARED: Final = 64 * 1024 * 1024
"""Bytes that all rows of one payload may have of what they share: the resource, the name and the unit of a metric."""


class Reason(StrEnum):
    """Why something was set aside."""

    UNPACKED = "unpacked"
    """The payload could not be decompressed."""
    BROKEN = "broken"
    """It is no OTLP message."""
    COUNT = "count"
    """It has another count of records than its frame says."""
    RECORD = "record"
    """Some records of it could not be read."""
    SHARED = "shared"
    """Its records share so much that not all of them can be rows."""


Aside = Callable[[Entry, Reason, int], None]
"""Called with what is set aside: the entry, why, and how many records of it; once for each reason."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A log record or a metric: how many records it stands for, itself, and its resource as JSON."""

    count: int
    message: Any
    resource: str


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a payload consists of: its class, the names of its parts, and how an item's records are counted.

    ``shared`` returns how many characters of an item stand in each of its rows.
    """

    request: Any
    item: Any
    names: tuple[str, str, str]
    count: Callable[[Any], int]
    walk: Callable[[memoryview], int]
    shared: Callable[[Any], int]


def read_logs(entry: Entry, aside: Aside) -> Iterator[LogRow]:
    """Yield the lines or events of an entry of ``logs`` or ``events``; none for a gap."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    names = ("resource_logs", "scope_logs", "log_records")
    shape = _Shape(
        ExportLogsServiceRequest, LogRecord, names, lambda _record: 1, lambda _data: 1, lambda _record: 0
    )
    for origin, item in _read(entry, aside, shape):
        yield read_log(origin, item.message, item.resource)


def read_points(entry: Entry, aside: Aside) -> Iterator[PointRow]:
    """Yield the data points of an entry of ``metrics`` or ``summary``; none for a gap."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

    names = ("resource_metrics", "scope_metrics", "metrics")
    shape = _Shape(ExportMetricsServiceRequest, Metric, names, count_points, walk_points, _named)
    for origin, item in _read(entry, aside, shape):
        yield from read_metric(origin, item.message, item.resource)


def _read(entry: Entry, aside: Aside, shape: _Shape) -> Iterator[tuple[Origin, _Item]]:
    """Yield the items of an entry, each with where its first record stands."""
    head = entry.frame.head
    if head.kind is Kind.GAP:
        return
    try:
        data = unpack(entry.frame)
    except StreamError:
        aside(entry, Reason.UNPACKED, head.count)
        return
    try:
        items, count = _parse(data, shape)
    except BrokenError:
        aside(entry, Reason.BROKEN, head.count)
        return
    if count != head.count:
        aside(entry, Reason.COUNT, head.count)
        return
    uid, received = str(UUID(bytes=head.uid)), nanoseconds(entry.received)
    skew = None if entry.skew is None else nanoseconds(entry.skew)
    way = OTLP if entry.frame.signature == UNSIGNED else STREAM
    offset, shared, broken = head.first, 0, 0
    for item in items:
        if item.message is None:
            broken += item.count
        else:
            shared += item.count * (len(item.resource) + shape.shared(item.message))
            if shared > SHARED:
                break
            yield Origin(uid, head.epoch, offset, received, skew, head.written, way), item
        offset += item.count
    else:
        shared = 0
    if broken:
        aside(entry, Reason.RECORD, broken)
    if shared:
        aside(entry, Reason.SHARED, head.end - offset)


def _named(metric: Any) -> int:
    return len(metric.name) + len(metric.unit)


def _parse(data: bytes, shape: _Shape) -> tuple[Iterator[_Item], int]:
    """Return the items of a payload, and how many records they are.

    Raises:
        BrokenError: It is no message.
    """
    from google.protobuf.message import DecodeError

    if len(data) <= WHOLE:
        try:
            items = list(_whole(shape.request.FromString(data), shape))
        except DecodeError:
            pass  # one record may be the reason: they are looked at one by one
        else:
            return iter(items), sum(item.count for item in items)
    view = memoryview(data)
    count = sum(shape.walk(item) for _, item in _walk(view))
    return _pieces(view, shape), count


def _whole(request: Any, shape: _Shape) -> Iterator[_Item]:
    parts, scopes, items = shape.names
    for part in getattr(request, parts):
        resource = as_json(part.resource.attributes)
        for scope in getattr(part, scopes):
            for message in getattr(scope, items):
                yield _Item(shape.count(message), message, resource)


def _pieces(data: memoryview, shape: _Shape) -> Iterator[_Item]:
    """Yield the items of a payload, each parsed by itself; one that cannot be has no message."""
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    known: tuple[memoryview | None, str] = None, "{}"
    for resource, item in _walk(data):
        if resource is not known[0]:
            parsed = _piece(resource, Resource) if resource is not None else None
            known = resource, as_json(parsed.attributes) if parsed is not None else "{}"
        count, message = shape.walk(item), _piece(item, shape.item)
        yield _Item(
            count, message if message is not None and shape.count(message) == count else None, known[1]
        )


def _walk(data: memoryview) -> Iterator[tuple[memoryview | None, memoryview]]:
    """Yield the bytes of each item, with those of its resource."""
    for part in find(data, 1):
        resource = next(find(part, 1), None)
        for scope in find(part, 2):
            yield from ((resource, item) for item in find(scope, 2))


def _piece(data: memoryview, kind: Any) -> Any:
    """Return a message, or None if these bytes are none, or are too many."""
    from google.protobuf.message import DecodeError

    if len(data) > WHOLE:
        return None
    try:
        return kind.FromString(bytes(data))
    except DecodeError:
        return None
