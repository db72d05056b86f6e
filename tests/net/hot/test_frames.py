"""Our frames against those of ``websockets``: the same messages, or both refuse, for the same reason."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from popham.net.hot.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FRAGMENTS,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    check_close,
)

LIMIT = 1000
STRICTER = {
    "a length is not in its shortest form": "RFC 6455 5.2 asks for the shortest form; websockets takes any",
    "a message has too many fragments": "websockets bounds no number of fragments",
}
"""What we refuse and websockets takes, and why."""
LAXER = {"incomplete fragmented message": "a close frame may stand between fragments, as RFC 6455 5.4 says"}
"""What websockets refuses and we take, and why."""
EITHER = {
    (1002, 1009): "a frame that is wrong and too large at once, seen in another order",
    (1009, 1002): "likewise",
    (1002, 1007): "a close frame whose code is wrong and whose reason is not UTF-8",
}
"""Pairs of codes where RFC 6455 fixes neither."""


def read(pieces, limit=LIMIT):
    """Return what our codec finds: messages, close code of a fault or 0, and its sentence."""
    reader, found = FrameReader(limit), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (one := reader.next()) is not None:
                found.append(one)
                if one[0] == CLOSE:
                    return found, 0, ""
    except FrameError as error:
        return found, error.code, str(error)
    return found, 0, ""


def read_reference(pieces, limit=LIMIT):
    """Return the same of websockets; fragments are put together here."""
    protocol = ServerProtocol(state=State.OPEN, max_size=limit)
    found, parts, opcode = [], [], 0
    for piece in pieces:
        protocol.receive_data(piece)
    for event in protocol.events_received():
        if event.opcode in {Opcode.PING, Opcode.PONG, Opcode.CLOSE}:
            found.append((int(event.opcode), bytes(event.data)))
            if event.opcode is Opcode.CLOSE:
                return found, 0, ""
            continue
        opcode = int(event.opcode) or opcode
        parts.append(bytes(event.data))
        if event.fin:
            found.append((opcode, b"".join(parts)))
            parts = []
    code = protocol.close_sent.code if protocol.parser_exc is not None and protocol.close_sent else 0
    return found, code, str(protocol.parser_exc or "")


def cut(data, places):
    """Cut bytes at places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def agree(pieces):
    """Return whether both codecs found the same; raise where they differ without a reason."""
    ours, theirs = read(pieces), read_reference(pieces)
    if ours[1] and not theirs[1]:
        # We refuse from a frame's first two bytes, websockets once its head and body are there.
        theirs = read_reference([*pieces, bytes(LIMIT + 140)])
    if ours[2] in STRICTER:
        assert ours[0] == theirs[0][: len(ours[0])]
        return
    if theirs[2] in LAXER:
        assert ours[0][:-1] == theirs[0]
        assert ours[0][-1][0] == CLOSE
        return
    if (ours[1], theirs[1]) in EITHER:
        return
    assert ours[:2] == theirs[:2], (ours, theirs)


def masked(opcode, payload, *, final=True, mask=b"\x01\x02\x03\x04"):
    size = len(payload)
    head = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65_536:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


MASKS = st.binary(min_size=4, max_size=4)
CONTROLS = st.builds(masked, st.sampled_from([PING, PONG]), st.binary(max_size=125), mask=MASKS)
CODES = st.sampled_from([1000, 1001, 1008, 1012, 3000, 4999, 1005, 1006, 1015, 999, 0, 5000, 1016])


@st.composite
def messages(draw):
    """Make one message of up to four fragments, with control frames between them."""
    parts = draw(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
    stream = b""
    for index, part in enumerate(parts):
        opcode = CONTINUATION if index else BINARY
        stream += masked(opcode, part, final=index == len(parts) - 1, mask=draw(MASKS))
        if draw(st.booleans()):
            stream += draw(CONTROLS)
    return stream


@st.composite
def closes(draw):
    """Make a close frame, right or wrong."""
    payload = draw(st.one_of(st.just(b""), st.binary(max_size=4)))
    if draw(st.booleans()):
        payload = draw(CODES).to_bytes(2, "big") + draw(st.binary(max_size=30))
    return masked(CLOSE, payload)


STREAMS = st.lists(st.one_of(messages(), CONTROLS, closes()), max_size=6).map(b"".join)
PLACES = st.lists(st.integers(0, 5000), max_size=8)


@given(STREAMS, PLACES)
@example(masked(BINARY, b"x" * LIMIT), [])
@example(masked(BINARY, b"x" * (LIMIT + 1)), [1, 2, 3])
@example(masked(BINARY, b"x" * 600, final=False) + masked(CONTINUATION, b"x" * 600), [])
@example(masked(CLOSE, b"\x03\xe8\xff\xff"), [])
@example(masked(CLOSE, b"\x03"), [])
def test_valid_streams_mean_the_same_to_both_codecs_wherever_they_are_cut(stream, places):
    agree(cut(stream, places))


@given(STREAMS, PLACES, st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=3))
@settings(max_examples=300)
def test_changed_streams_mean_the_same_to_both_codecs_or_both_refuse(stream, places, changes):
    damaged = bytearray(stream or b"\x82\x80\0\0\0\0")
    for place, value in changes:
        damaged[place % len(damaged)] = value
    agree(cut(bytes(damaged), places))


@given(st.binary(max_size=60), PLACES)
@settings(max_examples=300)
def test_any_bytes_mean_the_same_to_both_codecs_or_both_refuse(data, places):
    agree(cut(data, places))


@given(STREAMS, PLACES, PLACES)
def test_it_does_not_matter_where_a_stream_is_cut(stream, places, others):
    assert read(cut(stream, places)) == read(cut(stream, others))


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (bytes([0xC2, 0x80, 0, 0, 0, 0]), 1002),
        (bytes([0xA2, 0x80, 0, 0, 0, 0]), 1002),
        (bytes([0x92, 0x80, 0, 0, 0, 0]), 1002),
        (bytes([0x83, 0x80, 0, 0, 0, 0]), 1002),
        (bytes([0x8B, 0x80, 0, 0, 0, 0]), 1002),
        (bytes([0x82, 0x00]), 1002),
        (bytes([0x09, 0x80, 0, 0, 0, 0]), 1002),
        (bytes([0x89, 0xFE, 0, 126]), 1002),
        (masked(CONTINUATION, b"x"), 1002),
        (masked(BINARY, b"", final=False) + masked(BINARY, b""), 1002),
        (masked(BINARY, b"x" * (LIMIT + 1)), 1009),
        (masked(CLOSE, b"\x03"), 1002),
        (masked(CLOSE, (1005).to_bytes(2, "big")), 1002),
        (masked(CLOSE, b"\x03\xe8\xff"), 1007),
        (bytes([0x82, 0xFE, 0, 5]), 1002),
        (bytes([0x82, 0xFF]) + (1 << 63).to_bytes(8, "big"), 1002),
        (masked(BINARY, b"", final=False) + masked(CONTINUATION, b"", final=False) * FRAGMENTS, 1009),
    ],
)
def test_every_fault_has_its_close_code(stream, code):
    assert read([stream])[1] == code


@pytest.mark.parametrize("size", [64 * 1024 * 1024 + 1, 1 << 62])
def test_sec_9_a_length_over_the_limit_is_refused_from_the_head_alone(size):
    reader = FrameReader(64 * 1024 * 1024)
    reader.feed(bytes([0x82, 0xFF]) + size.to_bytes(8, "big"))
    with pytest.raises(FrameError) as caught:
        reader.next()
    assert caught.value.code == 1009


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_rel_13_a_message_in_many_small_pieces_costs_no_more_than_its_bytes(opcode):
    reader, stream = FrameReader(1 << 20), masked(opcode, bytes(1 << 20))
    head, rest = stream[:14], memoryview(stream)[14:]
    reader.feed(head)
    assert reader.next() is None
    for start in range(0, len(rest), 64):
        reader.feed(bytes(rest[start : start + 64]))
        if start + 64 < len(rest):
            assert reader.next() is None
    assert reader.next() == (opcode, bytes(1 << 20))
    assert not reader._buffer


@given(st.binary(max_size=200))
def test_a_close_is_checked_or_refused_with_1002_or_1007(payload):
    try:
        check_close(payload)
    except FrameError as error:
        assert error.code in {1002, 1007}  # noqa: PT017 - which one is the claim
