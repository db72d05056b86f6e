"""Samples, events and printed lines as OTLP, in payloads that fit into a frame.

Loaded when something is collected, since the schema of OTLP takes memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from popham.agent.collect.sample import Sample, SampleKind

PAYLOAD_AIM: Final = 256 * 1024
"""Bytes above which a payload is divided, as long as it has more than one record."""
TOGETHER: Final = 1024
"""Records of a payload, at most: protobuf takes far more memory for one than its bytes."""
BODY_MAX: Final = 250 * 1024
"""Bytes of a body; with all else a record stays below 256 KiB."""
CUT: Final = "popham.cut"
"""Attribute of a record of which so many bytes were left out."""
INFO: Final = SeverityNumber.SEVERITY_NUMBER_INFO
WARN: Final = SeverityNumber.SEVERITY_NUMBER_WARN
ERROR: Final = SeverityNumber.SEVERITY_NUMBER_ERROR
_SCOPE: Final = "popham.collect"
_NANO: Final = 1_000_000_000
_One = TypeVar("_One")
Payload = tuple[bytes, int]
"""Bytes, and how many records they hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record of logs: an event, which has a name, or a line.

    Attributes:
        body: A sentence, or the line.
        at: Unix seconds at which it was seen.
        event: Name of the event, such as ``popham.probe``; empty for a line.
        severity: :data:`INFO`, :data:`WARN` or :data:`ERROR` of an event; 0 where nobody knows.
        attributes: OpenTelemetry's attributes.
    """

    body: str
    at: float
    event: str = ""
    severity: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)


class Encoder:
    """Makes payloads of what one agent found."""

    def __init__(self, resource: Mapping[str, str]) -> None:
        """Encode for the resource with these attributes."""
        self._resource = Resource(attributes=_attributes(resource))

    def encode_samples(self, samples: Sequence[Sample]) -> Iterator[Payload]:
        """Yield ``ExportMetricsServiceRequest``, whose records are data points."""
        yield from _divide(samples, self._encode_samples)

    def encode_records(self, records: Sequence[Record]) -> Iterator[Payload]:
        """Yield ``ExportLogsServiceRequest``, in the order of ``records``."""
        yield from _divide(records, self._encode_records)

    def _encode_samples(self, samples: Sequence[Sample]) -> bytes:
        request = ExportMetricsServiceRequest()
        held = request.resource_metrics.add(resource=self._resource).scope_metrics.add()
        held.scope.name = _SCOPE
        metrics: dict[str, Metric] = {}
        for sample in samples:
            metric = metrics.get(sample.name)
            if metric is None:
                metric = metrics[sample.name] = held.metrics.add(name=sample.name, unit=sample.unit)
            if sample.kind is SampleKind.SUM:
                metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
                metric.sum.is_monotonic = True
                points = metric.sum.data_points
            else:
                points = metric.gauge.data_points
            points.add(
                attributes=_attributes(sample.attributes),
                start_time_unix_nano=int(sample.start * _NANO),
                time_unix_nano=int(sample.at * _NANO),
                as_double=sample.value,
            )
        return request.SerializeToString()

    def _encode_records(self, records: Sequence[Record]) -> bytes:
        request = ExportLogsServiceRequest()
        held = request.resource_logs.add(resource=self._resource).scope_logs.add()
        held.scope.name = _SCOPE
        held.log_records.extend(map(_log_record, records))
        return request.SerializeToString()


def _log_record(record: Record) -> LogRecord:
    encoded = record.body.encode("utf-8", "replace")
    kept = encoded[:BODY_MAX]
    found = LogRecord(
        time_unix_nano=int(record.at * _NANO),
        observed_time_unix_nano=int(record.at * _NANO),
        severity_number=record.severity,  # type: ignore[arg-type]  # numbers of the schema
        event_name=record.event,
        attributes=_attributes(record.attributes),
    )
    if len(kept) < len(encoded):
        # A character that would be divided is left out whole.
        text = kept.decode("utf-8", "ignore")
        found.body.string_value = text
        found.attributes.add(key=CUT).value.int_value = len(encoded) - len(text.encode())
    else:
        found.body.string_value = encoded.decode()
    return found


def _attributes(attributes: Mapping[str, str]) -> list[KeyValue]:
    """Return attributes; half of a character, as a path may hold it, becomes a question mark."""
    found = []
    for key, value in attributes.items():
        one = KeyValue(key=_text(key))
        one.value.string_value = _text(value)
        found.append(one)
    return found


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _divide(records: Sequence[_One], encode: Callable[[Sequence[_One]], bytes]) -> Iterator[Payload]:
    """Yield payloads of all records, none of several larger than is aimed at."""
    if not records:
        return
    if len(records) > TOGETHER:
        for first in range(0, len(records), TOGETHER):
            yield from _divide(records[first : first + TOGETHER], encode)
        return
    payload = encode(records)
    if len(payload) <= PAYLOAD_AIM or len(records) == 1:
        yield payload, len(records)
        return
    half = len(records) // 2
    yield from _divide(records[:half], encode)
    yield from _divide(records[half:], encode)
