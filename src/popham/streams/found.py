"""What a start finds of a spool on disk: frames in a row, and what is missing between them."""

from __future__ import annotations

import contextlib
import errno
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from popham.streams.disk import Disk
from popham.streams.frame import NOBODY, START, Cause, Stream
from popham.streams.kept import SUFFIX, Kept, Maker, gap_for, segment_name
from popham.streams.note import Note, read_note
from popham.streams.scan import scan

ASIDE: Final = ".damaged"
"""What the names of damaged parts end with."""
ASIDE_MOST: Final = 8
"""Damaged parts that are kept for people to look at."""
_PIECE: Final = 4096
"""Bytes that are read at once where not all can be read."""
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
        lent: First and end of what a Proxy Manager was given.
        is_changed: Whether something is missing that was not noted, so it has to be.
    """

    epoch: int = 0
    first: int = 0
    before: bytes = START
    oldest: int = 0
    segments: dict[int, int] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    lost: Counter[Cause] = field(default_factory=Counter)
    lent: tuple[int, int] = (0, 0)
    is_changed: bool = False


def find(disk: Disk, folder: Path, stream: Stream, uid: bytes) -> Found:
    """Return what there is of a spool; torn tails are cut, damaged parts set aside. Raises OSError.

    What is another agent's, or of another history than the one that was noted, is removed.
    """
    note = read_note(disk, folder, stream, uid)
    read: list[Kept] = []
    sizes: dict[int, int] = {}
    numbers = _numbers(disk, folder)
    for number in numbers:
        if note is not None and number < note.segment:
            disk.remove(folder / segment_name(number))
            continue
        frames, size = _read(disk, folder, number, is_newest=number == numbers[-1])
        ours = [one for one in frames if (one.head.uid, one.head.stream) == (uid, stream)]
        if note is not None:
            ours = [one for one in ours if one.head.epoch == note.epoch]
        if frames and not ours:
            disk.remove(folder / segment_name(number))
            continue
        read += ours
        sizes[number] = size
    epoch = note.epoch if note else max((one.head.epoch for one in read), default=0)
    if not epoch:
        return Found()
    oldest = min(sizes, default=note.segment if note else 0)
    found = Found(epoch, oldest=oldest, segments=sizes, lost=Counter(note.lost) if note else Counter())
    found.lent = note.lent if note else (0, 0)
    maker = Maker(stream=stream, uid=uid, epoch=epoch, boot=NOBODY, written=0, first=0, before=START)
    _line_up(found, note, [one for one in read if one.head.epoch == epoch], maker)
    return found


def _numbers(disk: Disk, folder: Path) -> list[int]:
    names = (name.removesuffix(SUFFIX) for name in disk.names(folder) if name.endswith(SUFFIX))
    return sorted(int(name, 16) for name in names if len(name) == 16)


def _read(disk: Disk, folder: Path, number: int, *, is_newest: bool) -> tuple[list[Kept], int]:
    """Return the frames of a segment, and its bytes once its tail was cut."""
    path = folder / segment_name(number)
    data = _content(disk, path)
    scanned = scan(data)
    for begin, end in scanned.damaged:
        # A torn tail of the newest was never said to be durable; nobody misses it.
        if begin < scanned.end or not is_newest:
            _set_aside(disk, folder, f"{segment_name(number)}.{begin:x}{ASIDE}", data[begin:end])
    if scanned.end < len(data):
        disk.truncate(path, scanned.end)
    elif is_newest:
        # What a kill left unsynced has to be durable before upstream hears of it.
        disk.sync(path)
    found = []
    for place in scanned.places:
        if place.is_whole:
            found.append(Kept(place.head, number, place.at))
        else:
            found.append(Kept(gap_for(place.head, Cause.DAMAGED), None, 0, is_missing=True))
    return found, scanned.end


def _content(disk: Disk, path: Path) -> bytes:
    """Return the bytes of a segment; zeros where the disk does not give them back."""
    try:
        return disk.read(path, 0, _LIMIT)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    pieces = []
    for at in range(0, min(disk.size(path), _LIMIT), _PIECE):
        try:
            pieces.append(disk.read(path, at, _PIECE))
        except OSError:
            pieces.append(bytes(_PIECE))
    return b"".join(pieces)[: disk.size(path)]


def _set_aside(disk: Disk, folder: Path, name: str, data: bytes) -> None:
    """Keep a damaged part, for people to look at; where there is no room for it, nobody will."""
    aside = [one for one in disk.names(folder) if one.endswith(ASIDE)]
    if name not in aside and len(aside) < ASIDE_MOST:
        with contextlib.suppress(OSError):
            disk.replace(folder / name, data)


def _line_up(found: Found, note: Note | None, read: Sequence[Kept], maker: Maker) -> None:
    """Put frames and noted gaps in a row from ``first`` on; what is missing between them says so."""
    gaps = [Kept(gap, None, 0) for gap in (note.gaps if note else ())]
    heads = sorted([*gaps, *read], key=lambda one: (one.head.first, one.segment is not None, one.is_missing))
    if note is not None:
        found.first, found.before = note.first, note.before
    elif heads:
        found.first, found.before = heads[0].head.first, heads[0].head.before
        found.is_changed = True
    counted = note.next if note else 0
    maker = replace(maker, first=found.first, before=found.before)
    boots: dict[bytes, bytes] = {}
    for one in heads:
        head = one.head
        if head.first < maker.first:
            continue  # upstream has it, or a gap stands for it
        _miss(found, maker, head.first, head.before)
        if one.is_missing or (one.segment is not None and head.cause and head.first >= counted):
            found.lost[head.cause or Cause.DAMAGED] += head.count
        found.is_changed |= one.is_missing
        # Thousands are kept in memory: what they have in common they share.
        shared = maker.before if head.before == maker.before else head.before
        boot = boots.setdefault(head.boot, head.boot)
        head = replace(head, uid=maker.uid, epoch=maker.epoch, boot=boot, before=shared)
        found.kept.append(replace(one, head=head))
        maker = replace(maker, written=head.written, first=head.end, before=head.tail)
    if note is not None:
        _miss(found, maker, note.next, note.last)


def _miss(found: Found, maker: Maker, end: int, tail: bytes) -> None:
    """Have a gap stand for what is missing up to an offset."""
    if end > maker.first:
        gap = maker.gap(Cause.DAMAGED, end - maker.first, tail=tail)
        found.kept.append(Kept(gap.head, None, 0, is_missing=True))
        found.lost[Cause.DAMAGED] += gap.head.count
        found.is_changed = True
