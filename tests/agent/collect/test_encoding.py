"""OTLP of samples, events and lines."""

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from popham.agent.collect.encoding import CUT, PAYLOAD_AIM, WARN, Encoder, Record
from popham.agent.collect.sample import Sample, SampleKind

from .collecting import points_of, records_of

RESOURCE = {"host.name": "paris", "service.name": "popham-agent"}


def sample(name="m", value=1.0, **rest):
    return Sample(name=name, unit="By", value=value, at=1_800_000_000.25, **rest)


def test_samples_of_one_metric_stand_together_and_none_is_lost():
    samples = [
        sample("a", 1.0, attributes={"k": "x"}),
        sample("b", 2.0),
        sample("a", 3.0, attributes={"k": "y"}),
    ]
    ((payload, count),) = Encoder(RESOURCE).encode_samples(samples)
    assert count == 3
    assert points_of(payload) == [("a", 1.0, {"k": "x"}), ("a", 3.0, {"k": "y"}), ("b", 2.0, {})]


def test_a_sum_is_cumulative_since_its_start_and_a_gauge_is_as_it_is_now():
    samples = [sample("s", kind=SampleKind.SUM, start=1_700_000_000.0), sample("g")]
    ((payload, _),) = Encoder(RESOURCE).encode_samples(samples)
    request = ExportMetricsServiceRequest.FromString(payload)
    held = request.resource_metrics[0]
    assert {one.key: one.value.string_value for one in held.resource.attributes} == RESOURCE
    total, gauge = held.scope_metrics[0].metrics
    assert (total.sum.is_monotonic, total.sum.aggregation_temporality, total.unit) == (True, 2, "By")
    assert total.sum.data_points[0].start_time_unix_nano == 1_700_000_000_000_000_000
    assert abs(gauge.gauge.data_points[0].time_unix_nano - 1_800_000_000_250_000_000) < 1000


def test_what_is_too_much_for_one_payload_is_divided_between_records():
    records = [Record(body=f"{number}:" + "x" * 1000, at=1.0) for number in range(1000)]
    payloads = list(Encoder(RESOURCE).encode_records(records))
    assert len(payloads) > 1
    assert all(len(payload) <= PAYLOAD_AIM for payload, _ in payloads)
    bodies = [one.body.string_value for payload, _ in payloads for one in records_of(payload)]
    assert bodies == [record.body for record in records]
    assert sum(count for _, count in payloads) == 1000
    assert list(Encoder(RESOURCE).encode_records([])) == []


def test_an_event_has_a_name_a_severity_and_a_sentence():
    event = Record(body="it is so", at=2.5, event="popham.probe", severity=WARN, attributes={"a": "b"})
    ((payload, count),) = Encoder(RESOURCE).encode_records([event])
    (found,) = records_of(payload)
    assert (count, found.event_name, found.severity_number, found.body.string_value) == (
        1,
        "popham.probe",
        WARN,
        "it is so",
    )
    assert found.time_unix_nano == 2_500_000_000


def test_a_line_that_is_too_long_is_cut_between_characters_and_says_so():
    line = "x" + "€" * 100_000
    ((payload, _),) = Encoder(RESOURCE).encode_records([Record(body=line, at=1.0)])
    (found,) = records_of(payload)
    body = found.body.string_value
    assert line.startswith(body)
    (cut,) = [one.value.int_value for one in found.attributes if one.key == CUT]
    assert cut == len(line.encode()) - len(body.encode())
    assert len(found.SerializeToString()) < 256 * 1024


def test_half_a_character_and_a_nul_are_no_reason_to_lose_a_record():
    ((payload, _),) = Encoder({"host.name": "p\udcff"}).encode_records([Record(body="a\0\udc80", at=1.0)])
    assert records_of(payload)[0].body.string_value == "a\0?"
    ((payload, _),) = Encoder(RESOURCE).encode_samples([sample(attributes={"mount": "/\udcff"})])
    assert points_of(payload)[0][2] == {"mount": "/?"}
