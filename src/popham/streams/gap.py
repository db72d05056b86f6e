"""Gaps: records that could not be kept, as frames of their own in the offset space; the head says it all."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from popham.streams.frame import Cause, Codec, Frame, Head, Kind, Stream

_NOTHING: Final = sha256(b"").digest()


def make_gap(
    cause: Cause,
    *,
    stream: Stream,
    uid: bytes,
    epoch: int,
    first: int,
    count: int,
    boot: bytes,
    written: int,
    before: bytes,
    tail: bytes,
) -> Frame:
    """Return the frame of a gap, which has no payload.

    ``tail`` is that of the last frame that it replaces; of one that replaces none it is ``before``.  Everything else is
    as in :class:`~popham.streams.frame.Head`.
    """
    head = Head(
        kind=Kind.GAP,
        stream=stream,
        codec=Codec.PLAIN,
        cause=cause,
        uid=uid,
        epoch=epoch,
        first=first,
        count=count,
        boot=boot,
        written=written,
        before=before,
        tail=tail,
        digest=_NOTHING,
        length=0,
        size=0,
    )
    return Frame(head, b"")
