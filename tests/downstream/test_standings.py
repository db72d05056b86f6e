"""How far upstream is: what travels is what is said, and what no receiver says is not taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.downstream.standings import WAIT_MOST, decode, from_wire
from popham.errors import WireError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import OFFSET_LIMIT, START, Stream
from popham.streams.standing import BOOTS, CREDIT, RANGES, Boot, Range, Standing
from popham.upstream.standings import encode, to_wire

OFFSETS = st.integers(0, OFFSET_LIMIT)


@st.composite
def made(draw):
    edges = sorted(draw(st.sets(OFFSETS, min_size=1, max_size=9)))
    then, beyond = edges[0], edges[1:]
    boots = st.builds(Boot, st.binary(min_size=8, max_size=8), OFFSETS)
    newest = draw(OFFSETS)
    return Standing(
        stream=draw(st.sampled_from(Stream)),
        epoch=draw(st.integers(0, newest)),
        newest=newest,
        next=then,
        last=draw(st.binary(min_size=16, max_size=16)) if then else START,
        ranges=tuple(Range(*pair) for pair in zip(beyond[::2], beyond[1::2], strict=False)),
        boots=tuple(draw(st.lists(boots, max_size=BOOTS))),
        credit=draw(st.integers(0, CREDIT)),
        retry_after=draw(st.floats(0, WAIT_MOST)),
    )


@given(made())
def test_what_travels_is_what_was_said(standing):
    assert from_wire(to_wire(standing)) == standing
    assert decode(encode(standing), standing.stream) == standing


def usual(**what):
    found = to_wire(Standing(stream=Stream.LOGS, epoch=1, newest=2, next=10, last=b"x" * 16))
    found.MergeFrom(wire.Standing(**what))
    return found


@pytest.mark.parametrize(
    "what",
    [
        {"stream": "colours"},
        {"epoch": 3},
        {"newest": OFFSET_LIMIT + 1},
        {"next": OFFSET_LIMIT + 1},
        {"last": b"short"},
        {"ranges": [{"first": 10, "end": 20}]},
        {"ranges": [{"first": 20, "end": 20}]},
        {"ranges": [{"first": 30, "end": 40}, {"first": 20, "end": 25}]},
        {"ranges": [{"first": 20, "end": OFFSET_LIMIT + 1}]},
        {"ranges": [{"first": 20 + 2 * n, "end": 21 + 2 * n} for n in range(RANGES + 1)]},
        {"boots": [{"boot": b"12345678"}] * (BOOTS + 1)},
        {"boots": [{"boot": b"1"}]},
        {"boots": [{"boot": b"12345678", "first": OFFSET_LIMIT + 1}]},
        {"retry_after_seconds": -1.0},
        {"retry_after_seconds": float("nan")},
        {"retry_after_seconds": float("inf")},
    ],
)
def test_sec_what_no_receiver_says_is_not_taken(what):
    with pytest.raises(WireError, match=r"wire\.standing"):
        from_wire(usual(**what))


def test_sec_more_credit_than_there_is_counts_as_all_of_it():
    assert from_wire(usual(credit=1 << 40)).credit == CREDIT


@pytest.mark.parametrize("data", [b"\xff" * 9, b"", encode(Standing(stream=Stream.EVENTS))])
def test_sec_an_answer_that_is_none_or_of_another_stream_is_not_taken(data):
    with pytest.raises(WireError, match=r"wire\.standing"):
        decode(data, Stream.LOGS)


def test_at_the_start_there_is_no_tail():
    with pytest.raises(WireError, match=r"wire\.standing"):
        from_wire(wire.Standing(stream="logs", last=b"x" * 16))
    assert from_wire(wire.Standing(stream="logs")).last == START


def test_an_upstream_has_nobody_wait_for_ever():
    found = decode(encode(Standing(stream=Stream.LOGS, retry_after=1e300)), Stream.LOGS)
    assert found.retry_after == WAIT_MOST
