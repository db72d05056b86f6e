"""Requests fall into records; whatever is wrong with one, its neighbours are kept."""

import gc
import json
from dataclasses import replace

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.manager.otlp.requests import SPAN, TRACE, gauge, line, logs, metrics, raw_logs

from popham.errors import WireError
from popham.manager.otlp.dividing import divide
from popham.manager.otlp.pieces import Budget, write_field
from popham.manager.otlp.reading import AROUND, read
from popham.manager.otlp.signals import RECORD, SIGNALS
from popham.streams.frame import PAYLOAD_LIMIT, Stream

LOGS, METRICS = SIGNALS[Stream.LOGS], SIGNALS[Stream.METRICS]
SOUND = line("sound").SerializeToString()


def owner(name):
    return (name or "own").encode().ljust(16)[:16]


def found(body, signal=LOGS, *, is_json=False):
    return read(body, signal, owner, Budget(), is_json=is_json)


def as_json(request):
    """Return a request as OTLP has it in JSON: ids are hexadecimal, and enumerations numbers."""
    made = MessageToDict(request, use_integers_for_enums=True)
    for part in made.get("resourceLogs", ()):
        for scope in part["scopeLogs"]:
            for record in scope["logRecords"]:
                record |= {"traceId": TRACE.hex(), "spanId": SPAN.hex()}
    return json.dumps(made).encode()


def join(portions, kind):
    made = kind()
    for portion in portions:
        made.MergeFromString(portion.payload)
    return made


def test_f_d9_what_is_read_of_protobuf_is_what_was_sent():
    request = logs("one", "two", instance="a")
    request.resource_logs.extend(logs("three", instance="b").resource_logs)
    portions = divide(found(request.SerializeToString()).items)
    assert [(portion.uid.strip(), portion.count) for portion in portions] == [(b"a", 2), (b"b", 1)]
    assert join(portions, ExportLogsServiceRequest) == request


def test_f_d9_what_is_read_of_json_is_what_was_sent():
    request = logs("one", "two\0\u20ac")
    reading = found(as_json(request), is_json=True)
    assert not reading.rejected
    assert join(divide(reading.items), ExportLogsServiceRequest) == request
    measured = metrics(gauge(), gauge("cold", 2))
    reading = found(as_json(measured), METRICS, is_json=True)
    assert [item.count for item in reading.items] == [3, 2]
    assert join(divide(reading.items), ExportMetricsServiceRequest) == measured


BROKEN = [
    b"\x2a\x02\x0a",
    write_field(3, b"\xff\xfe"),
    b"\x0b",
    b"\xff" * 12,
]


@pytest.mark.parametrize("poison", BROKEN)
def test_rel_12_a_record_that_is_none_is_rejected_and_its_neighbours_are_kept(poison):
    reading = found(raw_logs(SOUND, poison, SOUND))
    assert (len(reading.items), reading.rejected) == (2, {"malformed": 1})
    assert reading.why == "1 are malformed"


@given(st.lists(st.one_of(st.just(SOUND), st.binary(max_size=40)), max_size=12))
def test_rel_12_whatever_stands_beside_them_sound_records_are_kept(records):
    reading = found(raw_logs(*records))
    kept = [item.data for item in reading.items]
    assert kept.count(SOUND) == records.count(SOUND)
    assert len(kept) + reading.rejected.total() == len(records)
    payloads = divide(reading.items)
    assert sum(portion.count for portion in payloads) == len(kept)
    join(payloads, ExportLogsServiceRequest)


@pytest.mark.parametrize(
    "poison",
    [
        7,
        None,
        {"timeUnixNano": "-1"},
        {"timeUnixNano": "9" * 30},
        {"traceId": "no hex"},
        {"severityNumber": 1e308},
        {"body": {"stringValue": 5}},
        {"attributes": {"key": 1}},
    ],
)
def test_rel_12_a_record_of_json_that_is_none_is_rejected_and_its_neighbours_are_kept(poison):
    request = json.loads(as_json(logs("one", "two")))
    request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].insert(1, poison)
    reading = found(json.dumps(request).encode(), is_json=True)
    assert (len(reading.items), reading.rejected) == (2, {"malformed": 1})


def test_rel_12_a_scope_that_ends_early_takes_no_other_with_it():
    torn = write_field(2, write_field(2, SOUND) + b"\x12\x7f")
    request = write_field(1, torn) + logs("kept").SerializeToString()
    reading = found(request)
    assert [item.count for item in reading.items] == [1, 1]
    assert reading.rejected == {"malformed": 1}


def test_rel_12_records_of_a_resource_that_is_none_are_rejected():
    part = write_field(1, b"\xff\xff") + write_field(2, write_field(2, SOUND) + write_field(2, SOUND))
    reading = found(write_field(1, part) + logs("kept").SerializeToString())
    assert (len(reading.items), reading.rejected) == (1, {"malformed": 2})


def test_sec_9_a_record_that_is_too_large_is_rejected_by_name():
    request = logs("small", "x" * RECORD, "small")
    reading = found(request.SerializeToString())
    assert ([item.count for item in reading.items], reading.rejected) == ([1, 1], {"too_large": 1})
    assert "1 are larger than 262144 bytes" in reading.why
    request = logs("small", instance="i" * AROUND)
    assert found(request.SerializeToString()).rejected == {"too_large": 1}


def test_a_metric_that_is_large_is_divided_by_its_points():
    large, worst = gauge(points=900, note="n" * 1000), gauge(points=2, note="n" * RECORD)
    reading = found(metrics(large, gauge(), worst).SerializeToString(), METRICS)
    assert reading.rejected == {"too_large": 2}
    assert sum(item.count for item in reading.items) == 903
    assert all(len(item.data) <= RECORD for item in reading.items)
    portions = divide(reading.items)
    assert all(len(portion.payload) <= PAYLOAD_LIMIT for portion in portions)
    points = [
        point.as_int
        for part in join(portions, ExportMetricsServiceRequest).resource_metrics
        for scope in part.scope_metrics
        for metric in scope.metrics
        for point in metric.gauge.data_points
    ]
    assert points == [*range(900), *range(3)]


def test_sec_9_a_metric_that_a_parser_would_blow_up_is_not_parsed():
    bomb = write_field(5, write_field(1, b"") * 600)
    scope = write_field(2, bomb) + write_field(2, gauge().SerializeToString())
    budget = Budget()
    signal = replace(METRICS, whole=1000)
    reading = read(write_field(1, write_field(2, scope)), signal, owner, budget, is_json=False)
    assert ([item.count for item in reading.items], reading.rejected) == ([3], {"too_large": 600})
    assert budget.used > 600


def test_a_metric_without_points_is_nothing():
    reading = found(metrics(gauge(points=0)).SerializeToString(), METRICS)
    assert (reading.items, reading.rejected) == ([], {})


def test_payloads_are_divided_between_records():
    request = logs(*("x" * 1000 for _ in range(700)))
    portions = divide(found(request.SerializeToString()).items)
    assert len(portions) == 2
    assert all(len(portion.payload) <= PAYLOAD_LIMIT for portion in portions)
    kept = [ExportLogsServiceRequest.FromString(portion.payload) for portion in portions]
    assert sum(len(one.resource_logs[0].scope_logs[0].log_records) for one in kept) == 700


@pytest.mark.parametrize(
    ("body", "is_json"),
    [
        (b"\xff", False),
        (b"\x0a\x05x", False),
        (b"{", True),
        (b"[]", True),
        (b"\xff", True),
    ],
)
def test_sec_9_a_request_that_is_none_is_refused(body, is_json):
    with pytest.raises(WireError, match=r"wire\.malformed"):
        found(body, is_json=is_json)


def test_sec_9_json_without_an_end_is_refused():
    # At the bottom of it nothing else may be called: whoever watches the collector of garbage would fail.
    gc.disable()
    try:
        with pytest.raises(WireError, match=r"wire\.malformed"):
            found(b'{"resourceLogs":' + b"[" * 100_000, is_json=True)
    finally:
        gc.enable()


@pytest.mark.parametrize("body", [b"{}", b'{"resourceLogs": 3, "other": [{}]}', b'{"resourceLogs": [null]}'])
def test_what_is_not_known_is_passed_over(body):
    assert found(body, is_json=True).items == []


def test_sec_9_a_value_that_is_nested_too_deep_is_rejected():
    value = {"stringValue": "x"}
    for _ in range(90):
        value = {"arrayValue": {"values": [value]}}
    request = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": value}, {}]}]}]}
    assert found(json.dumps(request).encode(), is_json=True).rejected == {"malformed": 1}


@pytest.mark.parametrize(
    ("body", "is_json"),
    [
        (raw_logs(*[b""] * 200), False),
        (write_field(1, b"") * 200, False),
        (write_field(1, write_field(2, b"") * 200), False),
        (b'{"resourceLogs":[' + b"{}," * 200 + b"{}]}", True),
    ],
    ids=["records", "resources", "scopes", "json"],
)
def test_sec_9_a_request_of_too_many_parts_is_refused(body, is_json):
    budget = Budget(100)
    with pytest.raises(WireError, match=r"wire\.too_large"):
        read(body, LOGS, owner, budget, is_json=is_json)
    assert budget.used == 101
