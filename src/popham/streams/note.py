"""The small file beside a spool's segments: what cannot be read from them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from popham.streams.disk import Disk
from popham.streams.frame import START, Cause, Head, Stream
from popham.streams.gap import make_gap

NAME: Final = "note.json"
_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of it; a gap has some 150."""


class _Gap(msgspec.Struct, array_like=True, frozen=True):
    first: int
    count: int
    cause: str
    before: str
    tail: str
    boot: str
    written: int


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    uid: str
    epoch: int
    first: int
    before: str
    next: int
    last: str
    segment: int
    gaps: list[_Gap] = []
    lost: dict[str, int] = {}
    lent: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is noted of a spool.

    Attributes:
        epoch: Its history.
        first: Offset up to which it is known to be durable upstream.
        before: Tail of the frame that ends there.
        next: Offset after the last record that was durable as this was noted.
        last: Tail of the frame that ends there.
        segment: Number of the oldest segment that counts; older ones are to be removed.
        gaps: Heads of the gaps that stand in no segment.
        lost: Cause → records that were lost, those of gaps below ``next`` among them.
        lent: First and end of what a Proxy Manager was given.
    """

    epoch: int
    first: int = 0
    before: bytes = START
    next: int = 0
    last: bytes = START
    segment: int = 0
    gaps: tuple[Head, ...] = ()
    lost: Mapping[Cause, int] = field(default_factory=dict)
    lent: tuple[int, int] = (0, 0)


def read_note(disk: Disk, folder: Path, stream: Stream, uid: bytes) -> Note | None:
    """Return what is noted; None if there is nothing, or nothing of this agent that is whole. Raises OSError."""
    if NAME not in disk.names(folder):
        return None
    crc, _, data = disk.read(folder / NAME, 0, _LIMIT).partition(b" ")
    if crc != _crc(data):
        return None
    try:
        body = msgspec.json.decode(data, type=_Body)
        gaps = tuple(
            make_gap(
                Cause(gap.cause),
                stream=stream,
                uid=uid,
                epoch=body.epoch,
                first=gap.first,
                count=gap.count,
                boot=bytes.fromhex(gap.boot),
                written=gap.written,
                before=bytes.fromhex(gap.before),
                tail=bytes.fromhex(gap.tail),
            ).head
            for gap in body.gaps
        )
        lost = {Cause(cause): count for cause, count in body.lost.items()}
        before, last = bytes.fromhex(body.before), bytes.fromhex(body.last)
    except (msgspec.DecodeError, ValueError):
        return None
    if body.uid != uid.hex():
        return None
    return Note(
        epoch=body.epoch,
        first=body.first,
        before=before,
        next=body.next,
        last=last,
        segment=body.segment,
        gaps=gaps,
        lost=lost,
        lent=body.lent,
    )


def write_note(disk: Disk, folder: Path, uid: bytes, note: Note) -> None:
    """Note something, durably. Raises OSError."""
    body = _Body(
        uid=uid.hex(),
        epoch=note.epoch,
        first=note.first,
        before=note.before.hex(),
        next=note.next,
        last=note.last.hex(),
        segment=note.segment,
        gaps=[
            _Gap(
                gap.first,
                gap.count,
                str(gap.cause),
                gap.before.hex(),
                gap.tail.hex(),
                gap.boot.hex(),
                gap.written,
            )
            for gap in note.gaps
        ],
        lost={str(cause): count for cause, count in note.lost.items()},
        lent=note.lent,
    )
    data = msgspec.json.encode(body)
    disk.replace(folder / NAME, b"%s %s" % (_crc(data), data))


def _crc(data: bytes) -> bytes:
    return b"%08x" % zlib.crc32(data)
