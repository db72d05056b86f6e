"""Heads of HTTP/1.1: right, odd, and made for smuggling; both fillings take them for the same.

A stream means a list of requests.  Whatever is sent, a filling may refuse or close at any place, so one
list may be the beginning of the other; it may never be another list.
"""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

PROTOBUF = b"Content-Type: application/x-protobuf\r\n"
START = b"POST /v1/opamp HTTP/1.1\r\nHost: x\r\n" + PROTOBUF
UPGRADE = (
    b"GET /v1/opamp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
ONE = START + b"Content-Length: 1\r\n\r\n1"
TWO = START + b"Content-Length: 1\r\n\r\n2"
OTHER = b"GET /v1/other HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
ROUND = [("round", b"1")]
SMUGGLED = ONE.replace(b"\r\n\r\n1", b"\r\n\r\ns")


def with_headers(*lines):
    return START + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


LEGAL = {
    "a length": (ONE, ROUND),
    "one chunk": (CHUNKED + b"1\r\n1\r\n0\r\n\r\n", ROUND),
    "names in capitals": (ONE.replace(b"Content-Length", b"CONTENT-LENGTH"), ROUND),
    "spaces around a value": (ONE.replace(b"Length: 1", b"Length:\t 1 \t"), ROUND),
    "spaces behind chunked": (CHUNKED.replace(b"chunked", b" chunked ") + b"1\r\n1\r\n0\r\n\r\n", ROUND),
    "chunked in capitals": (CHUNKED.replace(b"chunked", b"Chunked") + b"1\r\n1\r\n0\r\n\r\n", ROUND),
    "chunk extensions": (CHUNKED + b'1;a=b;c="d"\r\n1\r\n0;e\r\n\r\n', ROUND),
    "zeros before a chunk's size": (CHUNKED + b"0001\r\n1\r\n000\r\n\r\n", ROUND),
    "a trailer": (CHUNKED + b"1\r\n1\r\n0\r\nX: y\r\n\r\n", ROUND),
    "a trailer that would change the body": (
        CHUNKED + b"1\r\n1\r\n0\r\nContent-Encoding: gzip\r\n\r\n",
        ROUND,
    ),
    "absolute form": (ONE.replace(b" /v1/opamp", b" http://x/v1/opamp"), ROUND),
    "a query": (ONE.replace(b"/v1/opamp", b"/v1/opamp?a=b"), ROUND),
    "an empty line first": (b"\r\n" + ONE, ROUND),
    "an empty host": (ONE.replace(b"Host: x", b"Host:"), ROUND),
    "two spaces": (ONE.replace(b" HTTP", b"  HTTP"), ROUND),
    "HTTP/1.0": (ONE.replace(b"HTTP/1.1\r\nHost: x", b"HTTP/1.0"), ROUND),
    "pipelined rounds": (ONE + TWO, [*ROUND, ("round", b"2")]),
    "an empty line between rounds": (ONE + b"\r\n" + TWO, [*ROUND, ("round", b"2")]),
    "a request inside a body": (
        with_headers(b"Content-Length: %d" % len(TWO)) + TWO,
        [("round", TWO)],
    ),
    "an offer of HTTP/2": (
        ONE.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost") + TWO,
        [*ROUND, ("round", b"2")],
    ),
    "an upgrade": (UPGRADE + b"\r\n", [("link",)]),
    "another path": (OTHER, [("GET", "/v1/other", b"")]),
    "another path with a round in its body": (
        b"POST /v1/other HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(TWO) + TWO,
        [("POST", "/v1/other", b"")],  # of who shows no certificate no body is read
    ),
    "another path first": (OTHER + ONE, [("GET", "/v1/other", b""), *ROUND]),
    "another path behind": (ONE + OTHER, [*ROUND, ("GET", "/v1/other", b"")]),
}
"""By name: bytes, and what they mean."""

ILLEGAL = {
    "length and chunked": with_headers(b"Content-Length: 6", b"Transfer-Encoding: chunked")
    + b"0\r\n\r\n"
    + SMUGGLED,
    "chunked and length": with_headers(b"Transfer-Encoding: chunked", b"Content-Length: 6")
    + b"0\r\n\r\n"
    + SMUGGLED,
    "two lengths": with_headers(b"Content-Length: 0", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED,
    "the same length twice": with_headers(b"Content-Length: 1", b"Content-Length: 1") + b"1",
    "a list of lengths": with_headers(b"Content-Length: 1, 1") + b"1",
    "a negative length": with_headers(b"Content-Length: -1") + SMUGGLED,
    "a signed length": with_headers(b"Content-Length: +1") + b"1",
    "a hexadecimal length": with_headers(b"Content-Length: 0x1") + b"1",
    "a length with an underscore": with_headers(b"Content-Length: 1_0") + b"1234567890",
    "a huge length": with_headers(b"Content-Length: 99999999999999999999999") + SMUGGLED,
    "an empty length": with_headers(b"Content-Length:") + SMUGGLED,
    "a space before a colon": with_headers(b"Transfer-Encoding : chunked") + b"0\r\n\r\n" + SMUGGLED,
    "a folded transfer coding": with_headers(b"Transfer-Encoding:\r\n chunked") + b"0\r\n\r\n" + SMUGGLED,
    "a coding nobody knows": with_headers(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n" + SMUGGLED,
    "identity": with_headers(b"Transfer-Encoding: identity") + SMUGGLED,
    "chunked, then identity": with_headers(b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n" + SMUGGLED,
    "chunked twice": with_headers(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n" + SMUGGLED,
    "two transfer codings": with_headers(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")
    + b"0\r\n\r\n"
    + SMUGGLED,
    "gzip under chunked": with_headers(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "a vertical tab before chunked": with_headers(b"Transfer-Encoding: \x0bchunked")
    + b"0\r\n\r\n"
    + SMUGGLED,
    "chunked in HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n" + SMUGGLED,
    "a folded header": with_headers(b"X: a\r\n b", b"Content-Length: 1") + b"1",
    "bare line feeds": ONE.replace(b"\r\n", b"\n"),
    "a bare line feed": with_headers(b"X: a\nContent-Length: 1") + b"1",
    "a bare line feed at the end": START + b"Content-Length: 1\r\n\n1",
    "a carriage return in a value": with_headers(b"X: a\rb", b"Content-Length: 1") + b"1",
    "NUL in a value": with_headers(b"X: a\0b", b"Content-Length: 1") + b"1",
    "NUL in a name": with_headers(b"X\0: a", b"Content-Length: 1") + b"1",
    "an empty name": with_headers(b": a", b"Content-Length: 1") + b"1",
    "no colon": with_headers(b"nonsense", b"Content-Length: 1") + b"1",
    "no host": ONE.replace(b"Host: x\r\n", b""),
    "two hosts": ONE.replace(b"Host: x", b"Host: x\r\nHost: y"),
    "two content types": ONE.replace(b"Host: x", b"Host: x\r\nContent-Type: text/plain"),
    "two bearers": with_headers(b"Authorization: Bearer a", b"Authorization: Bearer b"),
    "a method in small letters": ONE.replace(b"POST", b"post"),
    "no version": ONE.replace(b" HTTP/1.1", b""),
    "HTTP/0.9": ONE.replace(b"HTTP/1.1", b"HTTP/0.9"),
    "HTTP/1.2": ONE.replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2.0": ONE.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "a tab in the request line": ONE.replace(b" HTTP", b"\tHTTP"),
    "a chunk size that is none": CHUNKED + b"g\r\n" + SMUGGLED,
    "a negative chunk size": CHUNKED + b"-1\r\n" + SMUGGLED,
    "a chunk size with 0x": CHUNKED + b"0x1\r\n1\r\n0\r\n\r\n",
    "a huge chunk size": CHUNKED + b"fffffffffffffffff\r\n" + SMUGGLED,
    "a chunk size and a space": CHUNKED + b"1 \r\n1\r\n0\r\n\r\n",
    "a chunk ended by a line feed": CHUNKED + b"1\n1\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\n12\r\n0\r\n\r\n",
    "a line feed in a chunk extension": CHUNKED + b"1;a\nb\r\n1\r\n0\r\n\r\n",
    "an upgrade with a body": UPGRADE + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "an upgrade with chunks": UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a round by GET": ONE.replace(b"POST", b"GET"),
}
"""By name: bytes that mean nothing; not even their first request may reach the service."""

DIFFERENCES = {
    ("hot", "another path behind"): (
        ROUND,
        "llhttp has eaten it; the connection ends, whoever asked asks again",
    ),
    ("aiohttp", "an offer of HTTP/2"): (ROUND, "what came in the same piece counts as the other protocol's"),
    ("hot", "an offer of HTTP/2"): (
        ROUND,
        "it is handed to aiohttp, which does as above",
    ),
    ("hot", "an offer of HTTP/2 in pieces"): ([], "nothing is left that could be handed to aiohttp"),
    ("aiohttp", "gzip under chunked"): ([("round", b"")], "aiohttp looks at the last coding only"),
    ("aiohttp", "chunked in HTTP/1.0"): ([("round", b"")], "aiohttp takes it, and closes"),
    ("aiohttp", "two bearers"): (
        [("round", b"")],
        "aiohttp allows any header twice that it does not use itself",
    ),
    ("aiohttp", "an upgrade with a body"): ([("link",)], "the body counts as the other protocol's"),
    ("aiohttp", "an upgrade with chunks"): ([("link",)], "likewise"),
}
"""By filling and name: what it may take the bytes for besides, and why that does no harm."""
CASES = [(name, *case) for name, case in LEGAL.items()] + [(name, case, []) for name, case in ILLEGAL.items()]
WAYS = {
    "whole": lambda stream: [stream],
    "byte by byte": lambda stream: [stream[at : at + 1] for at in range(len(stream))],
    "cut behind every line": lambda stream: stream.splitlines(keepends=True),
    "cut behind the head": lambda stream: [stream[: (end := stream.find(b"\r\n\r\n") + 4)], stream[end:]],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["aiohttp", "hot"])
@pytest.mark.parametrize(("case", "stream", "meaning"), CASES, ids=[name for name, _, _ in CASES])
def test_sec_2_a_stream_means_one_list_of_requests(converse, name, way, case, stream, meaning):
    outcome = converse(name, WAYS[way](stream))
    allowed = [
        DIFFERENCES[key][0] for key in [(name, case), (name, f"{case} in pieces")] if key in DIFFERENCES
    ]
    assert outcome.asked in [meaning, *allowed]
    if name == "hot":
        assert outcome.over or outcome.asked in [meaning, *allowed]
        if not meaning:
            assert outcome.over
            assert [status for status in outcome.statuses if status != 100 and not 400 <= status <= 505] == []


PIECES = st.sampled_from([
    ONE, TWO, SMUGGLED, OTHER, CHUNKED, UPGRADE, START, b"\r\n", b"\n", b"\r", b"1", b"0\r\n\r\n", b"1\r\n1\r\n",
    b"Content-Length: 1\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Host: y\r\n", b" ", b"\0", b";", b",",
    b"Content-Encoding: gzip\r\n", b"POST ", b"GET ", b"/v1/opamp", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"/other",
])  # fmt: skip
STREAMS = st.lists(PIECES, max_size=8).map(b"".join)
PLACES = st.lists(st.integers(0, 2000), max_size=6)
CHANGES = st.lists(
    st.tuples(st.integers(0, 2000), st.sampled_from(list(b"\r\n \t:;,0159aPG/\0"))), max_size=2
)


def cut(stream, places):
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def damage(stream, changes):
    damaged = bytearray(stream)
    for place, value in changes:
        if damaged:
            damaged[place % len(damaged)] = value
    return bytes(damaged)


def agree(one, other):
    """Return whether two lists of requests are the same as far as both go."""
    return all(mine == yours for mine, yours in zip(one, other, strict=False))


@settings(max_examples=150, deadline=None)
@given(STREAMS, CHANGES, PLACES, PLACES)
@example(ONE + OTHER + TWO, [], [], [1])
@example(ONE + ONE + ONE, [], [len(ONE), 2 * len(ONE)], [3])
@example(START + b"Content-Length: 84\r\n\r\n\r\n\r\n" + ONE + ONE, [], [100], [])
def test_wherever_a_stream_is_cut_it_means_the_same_to_both_fillings(
    converse, stream, changes, places, others
):
    stream = damage(stream, changes)
    hot, again = converse("hot", cut(stream, places)), converse("hot", cut(stream, others))
    reference = converse("aiohttp", [stream])
    assert agree(hot.asked, again.asked), (hot, again)
    if hot.asked != again.asked:
        shorter = min(hot, again, key=lambda one: len(one.asked))
        assert shorter.over
    assert agree(hot.asked, reference.asked), (hot, reference)
