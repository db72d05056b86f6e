"""The segments of one stream on disk: files of stamps and frames, in the order in which they were taken.

Rules:

1. A frame counts once it is synced: nobody reads beyond :attr:`Extent.end`.
2. A torn tail is what no one was told of, and is cut off at a start. What a crash left unsynced is synced then,
   before anybody is told of it.
3. What comes never stands where something stood that was read.
4. What rotted is left where it is, counted, and stepped over; the frames beside it are read.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from popham.manager.intake.cache import Note
from popham.manager.intake.extent import Extent
from popham.manager.intake.position import BEGINNING, Position
from popham.manager.intake.stamp import MARK, STAMP, decode_stamp
from popham.streams.disk import Disk
from popham.streams.frame import FRAME_LIMIT, Frame, Head
from popham.streams.kept import SUFFIX, segment_name
from popham.streams.scan import scan

_log = logging.getLogger(__name__)
SEGMENT: Final = 64 * 1024 * 1024
"""Bytes after which a segment is sealed."""
AGE: Final = 3600.0
"""Seconds after which a segment is sealed."""
SKIP: Final = 16
"""Segments that are left out where fewer are there than the note knows, as after a restore of the database alone: readers
may have read beyond the note, and would take what comes for what they have read already."""
_NAME: Final = re.compile(rf"([0-9a-f]{{16}}){re.escape(SUFFIX)}")
_OVERLAP: Final = FRAME_LIMIT + 2 * STAMP
"""Bytes at the end of what was read in which a frame may begin that does not end there."""

Taken = tuple[Position, float, float | None, Frame]
"""The place after a frame, when it came, the skew then, and the frame."""


class Shelf:
    """One stream.

    Attributes:
        extent: Which segments there are, and how far they are durable.
    """

    def __init__(
        self, folder: Path, disk: Disk, *, token: Callable[[], bytes] = lambda: secrets.token_bytes(MARK)
    ) -> None:
        """Keep segments in ``folder``; ``token`` draws their marks."""
        self.extent = Extent()
        self._folder = folder
        self._disk = disk
        self._token = token
        self._marks: dict[int, bytes] = {}
        self._pending = 0
        self._rotten: set[Position] = set()

    @property
    def damaged(self) -> int:
        """Return how many places were found where something rotted."""
        return len(self._rotten)

    def open(self, note: Note | None) -> Iterator[tuple[Head, float, float | None]]:
        """Find what is there; yields what the note does not know: heads, when each came, and the skew then.

        Raises:
            OSError: The disk failed.
        """
        self._disk.make_folder(self._folder)
        sizes = self._sizes()
        begin = note.position if note else BEGINNING
        self.extent.restore(note.segments if note else (), sizes, begin)
        for number in sorted(number for number in sizes if number >= begin.segment):
            yield from self._recover(number, is_last=number == max(sizes))
        if self.extent.end < begin:
            is_next = not begin.at and begin.segment - 1 in self.extent.segments
            self.extent.begin(begin.segment if is_next else begin.segment + SKIP)
        elif not self.extent.segments:
            self.extent.begin(1)

    @property
    def is_whole(self) -> bool:
        """Return whether nothing was deleted yet."""
        return min(self.extent.segments, default=1) == 1

    @property
    def mark(self) -> bytes:
        """Return what the stamps of the next frames have to begin with. Raises OSError."""
        end = self.extent.end
        return self._mark(end.segment) if end.at else self._marks.setdefault(end.segment, self._token())

    def append(self, chunks: list[bytes | memoryview]) -> None:
        """Write at the end; :meth:`sync` makes it durable. Raises OSError; nothing is written then."""
        end = self.extent.end
        self._disk.append(self._path(end.segment), chunks, end.at)
        self._pending = sum(map(len, chunks))

    def sync(self) -> None:
        """Have what was appended durable. Raises OSError; what is on the disk is not known then."""
        self._disk.sync(self._path(self.extent.end.segment))

    def commit(self, records: int, received: float) -> None:
        """Have what was synced read: so many records, received up to then."""
        if not self._pending:
            return
        end = self.extent.end
        segment = self.extent.segments[end.segment]
        segment.grow(self._pending, records, received)
        self._pending = 0
        if segment.size >= SEGMENT:
            self.extent.begin(end.segment + 1)

    def age(self, now: float) -> None:
        """Seal the newest segment if it is old."""
        end = self.extent.end
        if end.at and now - self.extent.segments[end.segment].since > AGE:
            self.extent.begin(end.segment + 1)

    def thin(self, below: int, before: float) -> None:
        """Delete segments below a number whose newest frame came before then. Raises OSError."""
        for number, segment in tuple(self.extent.segments.items()):
            if number < below and segment.until < before:
                self._disk.remove(self._path(number))
                self.extent.remove(number)
                self._marks.pop(number, None)

    def read(self, after: Position, *, limit: int) -> list[Taken]:
        """Return frames after a place, with the place after each, when it came, and the skew then.

        Args:
            after: The place.
            limit: Bytes of them, about; at least one is returned if there is any.

        Raises:
            OSError: The disk failed.
        """
        found: list[Taken] = []
        at = self.extent.place(after)
        while not found:
            segment = self.extent.segments.get(at.segment)
            size = segment.size if segment else 0
            if at.at >= size:
                if self.extent.place(at) == at:
                    # Nothing but what rotted follows: next time it is not looked at.
                    self.extent.skip(after, at)
                    break
                at = self.extent.place(at)
                continue
            data = self._disk.read(self._path(at.segment), at.at, min(max(limit, 2 * _OVERLAP), size - at.at))
            found, used = self._read(data, at, is_end=at.at + len(data) >= size)
            at = Position(at.segment, at.at + used) if data else Position(at.segment, size)
        return _cut(found, limit)

    def _read(self, data: bytes, at: Position, *, is_end: bool) -> tuple[list[Taken], int]:
        """Return the frames in what was read, and how many bytes of it need not be read again."""
        scanned = scan(data, stamp=STAMP, mark=self._mark(at.segment))
        used = len(data) if is_end else max(scanned.end, len(data) - _OVERLAP)
        for begin, end in scanned.damaged:
            if begin < scanned.end or used > scanned.end:
                self._note_rot(Position(at.segment, at.at + begin), end - begin)
        found = []
        for place in scanned.places:
            if not place.is_whole:
                continue
            received, skew = decode_stamp(data[place.at - STAMP : place.at])
            end = place.at + place.head.total
            frame = Frame.decode(memoryview(data)[place.at : end])
            found.append((Position(at.segment, at.at + end), received, skew, frame))
        return found, used

    def _recover(self, number: int, *, is_last: bool) -> Iterator[tuple[Head, float, float | None]]:
        path = self._path(number)
        known = self.extent.segments.get(number)
        begin = known.size if known else 0
        data = self._disk.read(path, begin, self._disk.size(path) - begin)
        scanned = scan(data, stamp=STAMP, mark=self._mark(number))
        whole = [place for place in scanned.places if place.is_whole]
        segment = known or self.extent.begin(number)
        end = len(data)
        if is_last:
            end = whole[-1].at + whole[-1].head.total if whole else 0
            if end < len(data):
                _log.warning("%s: %d bytes at its end, told to nobody, are cut off", path, len(data) - end)
                self._disk.truncate(path, begin + end)
            self._disk.sync(path)
            if end < len(data):
                # If it was told after all, and rotted, somebody has read it: what comes is not to stand there.
                self.extent.begin(number + 1)
        for place in whole:
            received, skew = decode_stamp(data[place.at - STAMP : place.at])
            size = begin + place.at + place.head.total - segment.size
            segment.grow(size, _records(place.head), received)
            yield place.head, received, skew
        segment.size = begin + end
        for first, to in scanned.damaged:
            if first < end:
                self._note_rot(Position(number, begin + first), to - first)

    def _mark(self, number: int) -> bytes:
        """Return what the stamps of a segment begin with: its own first bytes. Raises OSError."""
        found = self._marks.get(number)
        if found is None:
            found = self._disk.read(self._path(number), 0, MARK)
            # Where a power cut left less, or zeros, nothing of it was told to anybody; nothing is found by this.
            found = found if len(found) == MARK and any(found) else self._token()
            self._marks[number] = found
        return found

    def _note_rot(self, at: Position, size: int) -> None:
        if at not in self._rotten:
            self._rotten.add(at)
            _log.error("%s: %d bytes at %d are not what was written", self._path(at.segment), size, at.at)

    def _sizes(self) -> dict[int, int]:
        """Return number → bytes of the segments that are there."""
        numbers = [
            int(found[1], 16) for name in self._disk.names(self._folder) if (found := _NAME.fullmatch(name))
        ]
        return {number: self._disk.size(self._path(number)) for number in sorted(numbers)}

    def _path(self, number: int) -> Path:
        return self._folder / segment_name(number)


def _records(head: Head) -> int:
    return head.count if head.cause is None else 0


def _cut(found: list[Taken], limit: int) -> list[Taken]:
    """Return the first of these, ``limit`` bytes at most, and at least one."""
    kept, size = 0, 0
    for _, _, _, frame in found:
        size += frame.head.total
        if kept and size > limit:
            break
        kept += 1
    return found[:kept]
