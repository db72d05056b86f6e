"""What agents put into frames, as rows; and what they should not have put there."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from tests.manager.data.intaking import (
    ALICE,
    NOW,
    SECOND,
    attribute,
    counter,
    entry_of,
    gauge,
    line,
    lines,
    logs,
    make_frame,
)

from popham.manager.data.columns import LOGS, make_batch
from popham.manager.data.payload import SHARED, Reason, read_logs, read_points
from popham.streams.frame import Kind, Stream


class Aside(list):
    def __call__(self, entry, reason, count):
        self.append((reason, count))


def read(payload, count, **more):
    aside = Aside()
    return list(read_logs(entry_of(make_frame(payload, count), **more), aside)), aside


def points(payload, count):
    aside = Aside()
    return list(read_points(entry_of(make_frame(payload, count, stream=Stream.METRICS)), aside)), aside


def test_a_line_has_where_it_stands_and_whose_it_is():
    record = line("hello", severity_number=9, severity_text="INFO", observed_time_unix_nano=5)
    record.attributes.extend([attribute("log.file.path", "/var/log/x"), attribute("popham.source", "web")])
    (_, row), aside = read(logs(line("before"), record), 2)
    assert (row.uid, row.epoch, row.offset) == (str(ALICE), 7, 1)
    assert (row.body, row.severity, row.level, row.source, row.file) == (
        "hello",
        9,
        "INFO",
        "web",
        "/var/log/x",
    )
    assert json.loads(row.attributes) == {"log.file.path": "/var/log/x", "popham.source": "web"}
    assert json.loads(row.resource) == {"host.name": "web-1"}
    assert (row.time, row.observed, row.way, aside) == (NOW * SECOND, 5, "stream", [])


def test_f_d12_times_are_corrected_for_skew_and_both_are_kept():
    (row,), _ = read(logs(line("x", NOW + 90)), 1, skew=100.0)
    assert (row.time, row.at, row.skew) == ((NOW + 90) * SECOND, (NOW - 10) * SECOND, 100 * SECOND)


def test_nothing_was_after_it_was_received():
    (row,), _ = read(logs(line("x", NOW + 86400)), 1)
    assert row.at == NOW * SECOND == row.received


def test_a_line_without_a_time_has_that_of_its_frame():
    (row,), _ = read(logs(line("x", 0)), 1)
    assert row.time == NOW * SECOND


def test_a_body_that_is_no_text_is_json():
    record = line("")
    record.body.CopyFrom(AnyValue(bytes_value=b"a\xff"))
    other = line("")
    other.body.kvlist_value.values.append(attribute("a", "b"))
    found, _ = read(logs(record, other), 2)
    assert [row.body for row in found] == ["a\ufffd", '{"a":"b"}']


def test_a_gap_has_no_rows():
    assert list(read_logs(entry_of(make_frame(b"{}", 5, kind=Kind.GAP)), Aside())) == []


def test_points_of_a_gauge_and_of_a_counter():
    (first, second), _ = points(*gauge("cpu", 0.5, 0.25))
    assert (first.name, first.kind, first.value, first.offset, second.offset) == ("cpu", "gauge", 0.5, 0, 1)
    (row,), _ = points(*counter("bytes", 7))
    assert (row.kind, row.delta, row.value, row.unit) == ("counter", False, 7.0, "By")


def test_a_histogram_has_its_buckets():
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="h")
    metric.histogram.data_points.add(count=3, sum=6.0, bucket_counts=[1, 2], explicit_bounds=[2.0], max=4.0)
    (row,), _ = points(request.SerializeToString(), 1)
    assert (row.kind, row.value) == ("histogram", 6.0)
    assert json.loads(row.detail) == {"count": 3, "bounds": [2.0], "buckets": [1, 2], "max": 4.0}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_rel_12_a_value_that_is_no_number_stands_as_a_word(value):
    (row,), _ = points(*gauge("cpu", value))
    assert (row.value, json.loads(row.detail)) == (None, {"value": str(value)})


def test_rel_12_one_broken_record_is_set_aside_and_its_neighbours_are_read():
    payload = logs(line("one"), line("br\x02ken"), line("three")).replace(b"br\x02ken", b"br\xffken")
    found, aside = read(payload, 3)
    assert [(row.body, row.offset) for row in found] == [("one", 0), ("three", 2)]
    assert aside == [(Reason.RECORD, 1)]
    assert json.loads(found[1].resource) == {"host.name": "web-1"}


def test_rel_12_one_broken_metric_is_set_aside_with_all_its_points():
    payload = (
        gauge("a", 1.0)[0] + gauge("b\x02d", 1.0, 2.0)[0].replace(b"b\x02d", b"b\xffd") + gauge("c", 3.0)[0]
    )
    found, aside = points(payload, 4)
    assert [(row.name, row.offset) for row in found] == [("a", 0), ("c", 3)]
    assert aside == [(Reason.RECORD, 2)]


@pytest.mark.parametrize(
    ("payload", "count", "reason"),
    [
        (b"\xff\xff\xff", 4, Reason.BROKEN),
        (lines(["a", "b"])[0], 4, Reason.COUNT),
        (b"", 4, Reason.COUNT),
    ],
)
def test_rel_12_a_payload_that_is_none_is_set_aside_whole(payload, count, reason):
    assert read(payload, count) == ([], [(reason, count)])


def test_rel_12_a_payload_that_does_not_unpack_is_set_aside():
    frame = make_frame(*lines(["a" * 2000]))
    broken = type(frame)(frame.head, frame.payload[:-3] + b"xyz", frame.signature)
    aside = Aside()
    assert list(read_logs(entry_of(broken), aside)) == []
    assert aside == [(Reason.UNPACKED, 1)]


def long(letter, length):
    """Return a text that is not compressed to nothing."""
    return "".join(f"{letter * 32}{number * 2654435761 % 2**32:08x}" for number in range(length // 40))


def test_rel_12_a_large_payload_is_read_record_by_record_and_one_too_large_is_set_aside():
    found, aside = read(logs(line(long("x", 700_000)), line(long("y", 1_100_000)), line("z")), 3)
    assert [(row.body[:1], row.offset) for row in found] == [("x", 0), ("z", 2)]
    assert aside == [(Reason.RECORD, 1)]


def test_rel_12_ten_thousand_attributes_and_numbers_at_their_ends():
    record = line("nul\x00inside")
    record.time_unix_nano = (1 << 64) - 1
    record.severity_number = -5
    record.attributes.extend(attribute(f"k{number}", "v") for number in range(10_000))
    (row,), aside = read(logs(record), 1)
    assert (row.body, row.severity, row.at, len(json.loads(row.attributes)), aside) == (
        "nul\x00inside",
        0,
        NOW * SECOND,
        10_000,
        [],
    )
    assert make_batch(LOGS, [1], [row]).num_rows == 1


def test_rel_12_what_records_share_cannot_make_gigabytes_of_rows():
    request = ExportLogsServiceRequest.FromString(lines([""] * 2000)[0])
    request.resource_logs[0].resource.attributes.append(attribute("long", "x" * 60_000))
    found, aside = read(request.SerializeToString(), 2000)
    ((reason, left),) = aside
    assert (reason, len(found) + left) == (Reason.SHARED, 2000)
    assert sum(len(row.resource) for row in found) <= SHARED

    request = ExportMetricsServiceRequest.FromString(gauge("n" * 60_000, *[1.0] * 2000)[0])
    found, aside = points(request.SerializeToString(), 2000)
    assert (found, aside) == ([], [(Reason.SHARED, 2000)])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 5))
def test_rel_12_whatever_an_agent_sends_every_record_is_a_row_or_set_aside(payload, count):
    for reading in (read_logs, read_points):
        aside = Aside()
        rows = list(reading(entry_of(make_frame(payload, count)), aside))
        assert len(rows) + sum(number for _, number in aside) == count
