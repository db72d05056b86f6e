"""Requests of OTLP, as stock senders make them."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from popham.manager.otlp.pieces import write_field

SCOPE = InstrumentationScope(name="scope", version="1")
TRACE, SPAN = bytes(range(16)), bytes(range(8))


def resource(instance="", **attributes):
    named = {"service.name": "shop"} | ({"service.instance.id": instance} if instance else {}) | attributes
    pairs = [KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in named.items()]
    return Resource(attributes=pairs)


def line(text):
    return LogRecord(
        time_unix_nano=1_800_000_000 * 10**9,
        severity_number=9,
        severity_text="INFO",
        body=AnyValue(string_value=text),
        trace_id=TRACE,
        span_id=SPAN,
    )


def logs(*texts, instance=""):
    """Return a request with these lines."""
    scopes = [ScopeLogs(scope=SCOPE, log_records=[line(text) for text in texts])]
    part = ResourceLogs(resource=resource(instance), scope_logs=scopes, schema_url="https://schema")
    return ExportLogsServiceRequest(resource_logs=[part])


def gauge(name="heat", points=3, note=""):
    pairs = [KeyValue(key="note", value=AnyValue(string_value=note))] if note else []
    found = [NumberDataPoint(time_unix_nano=1, as_int=value, attributes=pairs) for value in range(points)]
    return Metric(name=name, gauge=Gauge(data_points=found))


def metrics(*found, instance=""):
    """Return a request with these metrics."""
    scopes = [ScopeMetrics(scope=SCOPE, metrics=found)]
    part = ResourceMetrics(resource=resource(instance), scope_metrics=scopes)
    return ExportMetricsServiceRequest(resource_metrics=[part])


def raw_logs(*records, instance=""):
    """Return a request whose records are these bytes, sound or not."""
    scope = b"".join(write_field(2, record) for record in records)
    part = write_field(1, resource(instance).SerializeToString()) + write_field(2, scope)
    return write_field(1, part)
