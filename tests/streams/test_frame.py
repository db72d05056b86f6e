"""Frames: the same bytes everywhere, and nothing else is taken for one."""

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import StreamError
from popham.streams.frame import (
    COUNT_LIMIT,
    HEAD,
    OFFSET_LIMIT,
    PAYLOAD_LIMIT,
    SIGNATURE,
    START,
    UNSIGNED,
    Cause,
    Codec,
    Frame,
    Head,
    Kind,
    Stream,
    decode_all,
)
from popham.streams.kept import Maker
from popham.streams.packing import pack, unpack

MAKER = Maker(
    stream=Stream.LOGS,
    uid=bytes(range(16)),
    epoch=7,
    boot=b"bootboot",
    written=123_456_789,
    first=40,
    before=b"t" * 16,
)


def test_a_frame_is_what_it_was_after_a_way_as_bytes():
    for frame in (MAKER.records(b"x" * 1000, 3), MAKER.records(b"", 1), MAKER.gap(Cause.DISK, 9)):
        signed = frame.sign(lambda head: head[:SIGNATURE])
        assert Frame.decode(signed.encode()) == signed
        assert len(signed.encode()) == signed.head.total
        assert signed.signature == signed.head.encode()[:SIGNATURE]
    assert MAKER.gap(Cause.DISK, 9).head.end == 49
    assert MAKER.gap(Cause.DISK, 9).signature == UNSIGNED


@given(st.data())
def test_rel_16_any_changed_byte_of_head_or_payload_is_found(data):
    encoded = bytearray(MAKER.records(b"what was said", 2).encode())
    places = [*range(HEAD), *range(HEAD + SIGNATURE, len(encoded))]
    at = data.draw(st.sampled_from(places))
    encoded[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StreamError, match="damaged") as caught:
        Frame.decode(bytes(encoded))
    assert caught.value.code == "stream.damaged"


def test_a_frame_that_does_not_end_is_short_wherever_it_is_cut():
    encoded = MAKER.records(b"what was said", 2).encode()
    for length in range(len(encoded)):
        with pytest.raises(StreamError) as caught:
            Frame.decode(encoded[:length])
        assert caught.value.code == "stream.short"


@pytest.mark.parametrize(
    "change",
    [
        {"count": 0},
        {"count": COUNT_LIMIT + 1},
        {"first": OFFSET_LIMIT},
        {"epoch": 0},
        {"length": PAYLOAD_LIMIT + 1},
        {"size": 1 << 30},
        {"tail": START},
        {"cause": Cause.AGE},
        {"kind": Kind.GAP},
        {"kind": Kind.GAP, "cause": Cause.AGE},
    ],
    ids="-".join,
)
def test_a_head_that_no_frame_of_ours_has_is_refused(change):
    head = dataclasses.replace(MAKER.records(b"x", 1).head, **change)
    with pytest.raises(StreamError) as caught:
        Head.decode(head.encode())
    assert caught.value.code == "stream.damaged"


def test_frames_in_a_row_are_read_up_to_a_number():
    data = MAKER.records(b"one", 1).encode() + MAKER.gap(Cause.AGE, 2).encode()
    assert [frame.head.count for frame in decode_all(data, most=2)] == [1, 2]
    with pytest.raises(StreamError) as caught:
        list(decode_all(data, most=1))
    assert caught.value.code == "stream.many"
    with pytest.raises(StreamError):
        list(decode_all(data + b"rest", most=9))


@given(st.binary(max_size=3000))
def test_a_payload_is_what_it_was_after_packing(payload):
    assert unpack(MAKER.records(payload, 1)) == payload


def test_what_repeats_itself_is_kept_small_and_what_does_not_as_it_is():
    codec, packed = pack(b"the same line\n" * 1000)
    assert codec is Codec.ZSTD
    assert len(packed) < 200 or codec is Codec.PLAIN
    assert pack(b"short")[0] is Codec.PLAIN


def test_sec_9_a_payload_that_grows_beyond_what_it_says_is_refused():
    whole = MAKER.records(b"a line that repeats itself, and again\n" * 20, 1)
    for size in (whole.head.size - 1, whole.head.size + 1, 1):
        lying = dataclasses.replace(whole.head, size=size)
        with pytest.raises(StreamError) as caught:
            unpack(Frame(lying, whole.payload))
        assert caught.value.code == "stream.damaged"
    with pytest.raises(StreamError):
        unpack(Frame(whole.head, b"no zstd at all"))


def test_a_payload_too_large_for_a_frame_is_refused():
    with pytest.raises(StreamError) as caught:
        MAKER.records(random.Random(1).randbytes(PAYLOAD_LIMIT + 1), 1)
    assert caught.value.code == "stream.large"
