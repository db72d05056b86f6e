"""Bytes of a file as lines, records and payloads."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from popham.agent.collect.tail.lines import RECORD, Script, cut_bodies, join_records
from popham.agent.collect.tail.wire import CUT, RECORD_LIMIT, Envelope, Heads, attributes, encode_lines
from popham.model.types.collect_schema import ENCODINGS

TEXTS = st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=9))


@given(
    TEXTS, st.sampled_from(["utf-8", "utf-16le", "utf-16be"]), st.sampled_from(["\n", "\r\n"]), st.booleans()
)
def test_what_is_written_in_lines_is_read_in_lines(texts, encoding, end, bom):
    mark = "\ufeff".encode(encoding) if bom else b""
    script = Script.of(encoding, mark + "".join(texts).encode(encoding))
    data = "".join(text + end for text in texts).encode(encoding)
    lines = script.split(data)
    assert script.mark >= len(mark)
    assert [body.decode() for body in lines.bodies] == texts
    assert lines.ends == [
        len("".join(text + end for text in texts[: at + 1]).encode(encoding)) for at in range(len(texts))
    ]
    assert script.find_last_end(data + "rest".encode(encoding)) == len(data)
    assert script.find_first_end(data) == (lines.ends[0] if texts else 0)


@given(st.binary(max_size=60), st.sampled_from(ENCODINGS))
def test_rel_12_any_bytes_are_lines_of_utf_8_whose_ends_are_those_of_the_file(data, encoding):
    script = Script.of(encoding, b"")
    lines = script.split(data)
    assert all(body.decode().encode() == body for body in lines.bodies)
    assert lines.ends == sorted(set(lines.ends))
    assert (lines.ends or [0])[-1] == script.whole(len(data))
    for first, end in zip([0, *lines.ends], lines.ends, strict=False):
        assert script.split(data[first:end]).bodies == [lines.bodies[lines.ends.index(end)]]


def test_the_byte_order_mark_decides_between_two_orders():
    assert Script.of("utf-16le", b"\xfe\xff\0a") == Script("utf-16-be", wide=True, mark=2)
    assert Script.of("iso-8859-1", b"\xef\xbb\xbf").mark == 0


def test_records_of_several_lines_begin_where_a_line_fits_and_are_bounded():
    script, start = Script.of("utf-8", b""), re.compile(r"\d")
    lines = script.split(b"rest\n1 a\n b\n2 c\n")
    assert join_records(lines, start, final=False).bodies == [b"rest", b"1 a\n b"]
    assert join_records(lines, start, final=True).ends == [5, 12, 16]
    endless = join_records(script.split(b"no start\n" * RECORD), start, final=False)
    assert all(len(body) <= RECORD for body in endless.bodies)
    assert len(endless.bodies) >= 8


@given(st.text(max_size=20), st.integers(0, 20))
def test_a_body_is_cut_between_characters(text, longest):
    (body,), (end,) = [text.encode()], [1]
    lines = Script.of("utf-8", b"").split(b"x")
    lines.bodies, lines.ends = [body], [end]
    found = cut_bodies(lines, longest)
    assert body.decode().startswith(found.bodies[0].decode())
    assert len(found.bodies[0]) + found.cut.get(0, 0) == len(body)
    assert len(found.bodies[0]) <= longest or not found.cut


@given(
    st.lists(st.text(max_size=300).map(str.encode), min_size=1, max_size=9),
    st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=200), max_size=3),
    st.integers(1, 2**63),
)
def test_the_library_reads_what_is_put_together_by_hand(bodies, labels, at):
    heads = Heads(at, attributes(0x32, labels))
    data = Envelope(labels).close(encode_lines(heads, bodies, {0: 70_000}))
    request = ExportLogsServiceRequest.FromString(data)
    (resource,) = request.resource_logs
    assert {one.key: one.value.string_value for one in resource.resource.attributes} == labels
    records = resource.scope_logs[0].log_records
    assert [record.body.string_value.encode() for record in records] == bodies
    for number, record in enumerate(records):
        assert (record.time_unix_nano, record.observed_time_unix_nano) == (at, at)
        said = [(one.key, one.value.string_value or one.value.int_value) for one in record.attributes]
        assert said == [(key, value or 0) for key, value in labels.items()] + [(CUT, 70_000)] * (not number)
        assert record.ByteSize() <= len(bodies[number]) + heads.over + 32
    # Nothing of it is unknown to the library, or written otherwise than it would.
    assert len(request.SerializeToString()) == len(data)


@pytest.mark.parametrize("left_out", [0, 2**40])
def test_rel_12_no_record_is_above_its_limit(left_out):
    heads = Heads(2**63, attributes(0x32, {"log.file.path": "/" * 4000}))
    assert len(heads.head(heads.longest, left_out)) + heads.longest <= RECORD_LIMIT + 8
