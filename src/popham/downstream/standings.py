"""How far an upstream is with streams, as an agent hears it."""

from __future__ import annotations

import math
from itertools import pairwise

from google.protobuf.message import DecodeError

from popham.errors import WireError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import OFFSET_LIMIT, START, TAIL, Stream
from popham.streams.standing import BOOTS, CREDIT, RANGES, Boot, Range, Standing

WAIT_MOST = 3600.0
"""Seconds that an upstream may have an agent wait: another may serve it before that."""
_BOOT = 8
"""Bytes of a boot."""


def decode(data: bytes, stream: Stream) -> Standing:
    """Return what an answer, or a question, says of ``stream``.

    Raises:
        WireError: ``wire.standing``: it is none, or of another stream.
    """
    try:
        found = from_wire(wire.Standing.FromString(data))
    except DecodeError as error:
        raise _malformed("it cannot be read") from error
    if found.stream is not stream:
        raise _malformed(f"it is of {found.stream}, and not of {stream}")
    return found


def from_wire(message: wire.Standing) -> Standing:
    """Return what upstream says of one stream, within the bounds that hold for all.

    Raises:
        WireError: ``wire.standing``: it says what no receiver says.
    """
    try:
        stream = Stream(message.stream)
    except ValueError:
        raise _malformed("it is of a stream that is not known here") from None
    ranges = tuple(Range(one.first, one.end, one.last or START) for one in message.ranges)
    boots = tuple(Boot(one.boot, one.first) for one in message.boots)
    if len(ranges) > RANGES or len(boots) > BOOTS or any(len(one.boot) != _BOOT for one in boots):
        raise _malformed("its ranges or boots are out of bounds")
    offsets = (message.next, *(edge for one in ranges for edge in (one.first, one.end)))
    if any(second <= first for first, second in pairwise(offsets)):
        raise _malformed("its ranges are out of order")
    numbers = (message.epoch, message.newest, offsets[-1], *(one.first for one in boots))
    if max(numbers) > OFFSET_LIMIT or message.epoch > message.newest:
        raise _malformed("its offsets or epochs are out of bounds")
    last = message.last or START
    if any(len(one.last) != TAIL for one in ranges):
        raise _malformed("a range has no tail")
    if len(last) != TAIL or (not message.next and last != START):
        raise _malformed("its tail is none")
    wait = message.retry_after_seconds
    if not (math.isfinite(wait) and wait >= 0):
        raise _malformed("its wait is out of bounds")
    return Standing(
        stream=stream,
        epoch=message.epoch,
        newest=message.newest,
        next=message.next,
        last=last,
        ranges=ranges,
        boots=boots,
        credit=min(message.credit, CREDIT),
        retry_after=min(wait, WAIT_MOST),
        refused=message.refused,
        above=min(message.above, message.next) if message.lent else None,
    )


def _malformed(why: str) -> WireError:
    problem = f"what upstream says of how far it is with a stream cannot be used: {why}"
    return WireError("standing", problem, "Upgrade the older end")
