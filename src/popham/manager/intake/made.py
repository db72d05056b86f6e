"""Frames that the Manager makes itself, of records that came as plain OTLP: nobody signed them.

Rules:

1. They are at least once: whoever sends them may send them again, and nothing says that they were here.
2. They have offsets of the Manager's own, one row for all of a stream, which stands in no agent's way.
3. An agent cannot make one: its frames are refused if they say that they are of here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from popham.streams.frame import START, UNSIGNED, Frame, Head, Kind, Stream, tail_of
from popham.streams.packing import pack
from popham.streams.receiving import Receiving
from popham.upstream.checking import MADE

MAKER: Final = bytes(16)
"""Under what it is known how far they are."""
_NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Portion:
    """Records of one agent that fit into one frame.

    Attributes:
        uid: Whose; 16 bytes.
        payload: An OTLP request with these records only.
        count: How many records; above 0.
    """

    uid: bytes
    payload: bytes
    count: int


def make_frame(stream: Stream, portion: Portion, received: float) -> tuple[Head, memoryview]:
    """Return a frame that has no place yet, and its head. Raises StreamError ``stream.large``."""
    codec, packed = pack(portion.payload)
    digest = sha256(packed).digest()
    head = Head(
        kind=Kind.RECORDS,
        stream=stream,
        codec=codec,
        uid=portion.uid,
        epoch=1,
        first=0,
        count=portion.count,
        boot=MADE,
        written=round(received * _NANO),
        before=START,
        tail=tail_of(digest),
        digest=digest,
        length=len(packed),
        size=len(portion.payload),
    )
    return head, memoryview(Frame(head, packed, UNSIGNED).encode())


def place(head: Head, receiving: Receiving) -> Head:
    """Return a head at the place behind all that is there."""
    return replace(head, epoch=receiving.epoch, first=receiving.next, before=receiving.last)


def is_made(head: Head) -> bool:
    """Return whether a frame says that the Manager made it."""
    return head.boot == MADE


def history_of(head: Head) -> bytes:
    """Return under what it is known how far frames like this one are: the agent's uid, or :data:`MAKER`."""
    return MAKER if is_made(head) else head.uid
