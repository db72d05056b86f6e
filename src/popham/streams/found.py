"""What a start finds of a spool on disk: frames in a row, and what is missing between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from popham.streams.disk import Disk
from popham.streams.frame import START, Cause, Head, Stream
from popham.streams.gap import make_gap
from popham.streams.kept import SUFFIX, Kept, segment_name
from popham.streams.limits import gap_for
from popham.streams.note import Note, read_note
from popham.streams.scan import scan

ASIDE: Final = ".damaged"
"""What the names of damaged parts end with."""
ASIDE_MOST: Final = 8
"""Damaged parts that are kept for people to look at."""
_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a segment that are read; a spool's own have a fraction of it."""


@dataclass(slots=True)
class Found:
    """What there is.

    Attributes:
        epoch: Its history; 0 if there is none.
        first: Offset up to which it is known to be durable upstream.
        before: Tail of the frame that ends there.
        oldest: Number of the oldest segment that counts.
        segments: Number → bytes.
        kept: Frames from ``first`` on, in a row; missing ones too.
        lost: Cause → records that were lost.
        is_changed: Whether something is missing that was not noted, so it has to be.
    """

    epoch: int = 0
    first: int = 0
    before: bytes = START
    oldest: int = 0
    segments: dict[int, int] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    lost: Mapping[Cause, int] = field(default_factory=dict)
    is_changed: bool = False


def find(disk: Disk, folder: Path, stream: Stream, uid: bytes) -> Found:
    """Return what there is of a spool; torn tails are cut, damaged parts set aside. Raises OSError."""
    note = read_note(disk, folder, stream, uid)
    read: list[Kept] = []
    sizes: dict[int, int] = {}
    for number in _numbers(disk, folder):
        if note is not None and number < note.segment:
            disk.remove(folder / segment_name(number))
            continue
        frames, size = _read(disk, folder, number)
        mine = [one for one in frames if (one.head.uid, one.head.stream) == (uid, stream)]
        if note is not None and mine and mine[0].head.epoch != note.epoch:
            # Of a new epoch that was never noted, or a copy of another directory.
            disk.remove(folder / segment_name(number))
            continue
        read += mine
        sizes[number] = size
    epoch = note.epoch if note else max((one.head.epoch for one in read), default=0)
    if not epoch:
        return Found()
    read = [one for one in read if one.head.epoch == epoch]
    oldest = min(sizes, default=note.segment if note else 0)
    found = Found(epoch, oldest=oldest, segments=sizes, lost=dict(note.lost) if note else {})
    _line_up(found, note, read)
    return found


def _numbers(disk: Disk, folder: Path) -> list[int]:
    names = (name.removesuffix(SUFFIX) for name in disk.names(folder) if name.endswith(SUFFIX))
    return sorted(int(name, 16) for name in names if len(name) == 16)


def _read(disk: Disk, folder: Path, number: int) -> tuple[list[Kept], int]:
    """Return the frames of a segment, and its bytes once its tail was cut."""
    path = folder / segment_name(number)
    data = disk.read(path, 0, _LIMIT)
    scanned = scan(data)
    for begin, end in scanned.damaged:
        aside = [name for name in disk.names(folder) if name.endswith(ASIDE)]
        name = f"{segment_name(number)}.{begin:x}{ASIDE}"
        # A tail that is torn was never acknowledged; nobody misses it.
        if begin < scanned.end and name not in aside and len(aside) < ASIDE_MOST:
            disk.replace(folder / name, data[begin:end])
    if scanned.end < len(data):
        disk.truncate(path, scanned.end)
    found = []
    for place in scanned.places:
        if place.is_whole:
            found.append(Kept(place.head, number, place.at))
        else:
            gap = gap_for(place.head, Cause.DAMAGED, place.head.boot)
            found.append(Kept(gap, None, 0, is_missing=True))
    return found, scanned.end


def _line_up(found: Found, note: Note | None, read: list[Kept]) -> None:
    """Put frames and noted gaps in a row from ``first`` on; what is missing between them says so."""
    gaps = [Kept(gap, None, 0) for gap in (note.gaps if note else ())]
    heads = sorted([*gaps, *read], key=lambda one: (one.head.first, one.segment is not None))
    if note is not None:
        found.first, found.before = note.first, note.before
    elif heads:
        found.first, found.before = heads[0].head.first, heads[0].head.before
        found.is_changed = True
    at, tail = found.first, found.before
    for one in heads:
        head = one.head
        if head.first < at:
            continue  # upstream has it, or a gap stands for it
        found.is_changed |= one.is_missing
        if head.first > at:
            found.kept.append(Kept(_missing(head, at, tail), None, 0, is_missing=True))
            found.is_changed = True
        found.kept.append(one)
        at, tail = head.end, head.tail


def _missing(following: Head, first: int, before: bytes) -> Head:
    """Return the head of the gap from ``first`` up to a frame."""
    return make_gap(
        Cause.DAMAGED,
        stream=following.stream,
        uid=following.uid,
        epoch=following.epoch,
        first=first,
        count=following.first - first,
        boot=following.boot,
        written=following.written,
        before=before,
        tail=following.before,
    ).head
