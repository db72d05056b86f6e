"""The files of a spool: segments by number, and the note beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from popham.errors import StreamError
from popham.streams.disk import Disk
from popham.streams.frame import FRAME_LIMIT, Frame
from popham.streams.kept import Kept, segment_name
from popham.streams.note import Note, write_note

SEGMENT: Final = 1024 * 1024
"""Bytes from which a segment is followed by a new one."""
REST: Final = 256 * 1024
"""Bytes from which a segment is removed although it is the newest, once nothing in it is needed."""


class Files:
    """Segments of one spool. Every method may raise OSError.

    Attributes:
        oldest: Number of the oldest segment that counts.
    """

    def __init__(self, disk: Disk, folder: Path, sizes: Mapping[int, int], oldest: int) -> None:
        """Go on with segments of these sizes."""
        self.oldest = oldest
        self._disk = disk
        self._folder = folder
        self._sizes = dict(sizes)

    def begin(self) -> int:
        """Return the number of a segment after all that there are."""
        return max(self._sizes, default=self.oldest - 1) + 1

    def write(self, frames: Sequence[Frame], now: float, *, number: int | None = None) -> list[Kept]:
        """Append frames to a segment, the newest if none is named; they are durable.

        Args:
            frames: At least one.
            now: Monotonic seconds.
            number: Of the segment.
        """
        if number is None:
            number = max(self._sizes, default=self.oldest)
            number += self._sizes.get(number, 0) >= SEGMENT
        path, at = self._folder / segment_name(number), self._sizes.get(number, 0)
        self._disk.append(path, [frame.encode() for frame in frames], at)
        self._disk.sync(path)
        found = []
        for frame in frames:
            found.append(Kept(frame.head, number, at, now))
            at += frame.head.total
        self._sizes[number] = at
        return found

    def read(self, kept: Kept) -> Frame:
        """Return a frame. Raises StreamError ``stream.damaged`` if the disk does not give it back."""
        if kept.segment is None:
            return Frame(kept.head, b"")
        path = self._folder / segment_name(kept.segment)
        frame = Frame.decode(self._disk.read(path, kept.at, min(kept.head.total, FRAME_LIMIT)))
        if frame.head != kept.head:
            raise StreamError("damaged", "another frame stands where one was")
        return frame

    def note(self, note: Note) -> None:
        """Write the note; segments below the one that it names are removed."""
        write_note(self._disk, self._folder, note)
        self.oldest = note.segment
        for number in [number for number in self._sizes if number < note.segment]:
            self.remove(number)

    def remove(self, number: int) -> None:
        """Remove a segment; where that fails the next start does it."""
        del self._sizes[number]
        with contextlib.suppress(OSError):
            self._disk.remove(self._folder / segment_name(number))

    def forget(self, number: int) -> None:
        """Remove what a write that failed may have left of a segment and of those after it."""
        for one in [one for one in self._sizes if one >= number]:
            self.remove(one)

    def lowest_needed(self, kept: Sequence[Kept]) -> int:
        """Return the number of the oldest segment that has to stay, where these frames are all that is needed."""
        newest = max(self._sizes, default=self.oldest)
        stays = [one.segment for one in kept if one.segment is not None]
        if stays:
            return min(stays)
        return newest + (self._sizes.get(newest, 0) >= REST)
