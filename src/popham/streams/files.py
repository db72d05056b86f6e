"""The files of a spool: segments by number, and the note beside them."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from popham.streams.disk import Disk
from popham.streams.frame import FRAME_LIMIT, Frame, damaged
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

    def __init__(self, disk: Disk, folder: Path, uid: bytes, sizes: Mapping[int, int], oldest: int) -> None:
        """Go on with segments of these sizes."""
        self.oldest = oldest
        self._disk = disk
        self._folder = folder
        self._uid = uid
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
        try:
            self._disk.append(path, [frame.encode() for frame in frames], at)
            self._disk.sync(path)
        except OSError:
            with contextlib.suppress(OSError):
                self._disk.truncate(path, at)  # or a start would find what was never appended
            raise
        found = []
        for frame in frames:
            found.append(Kept(frame.head, number, at, now))
            at += frame.head.total
        self._sizes[number] = at
        return found

    def read(self, kept: Kept) -> Frame:
        """Return a frame. Raises StreamError ``stream.damaged`` if the disk does not give it back as it was."""
        if kept.segment is None:
            return Frame(kept.head, b"")
        path = self._folder / segment_name(kept.segment)
        try:
            data = self._disk.read(path, kept.at, min(kept.head.total, FRAME_LIMIT))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise damaged("the disk does not give it back") from error
        frame = Frame.decode(data)
        if frame.head != kept.head:
            raise damaged("another one stands where it was")
        return frame

    def note(self, note: Note) -> None:
        """Write the note; segments below the one that it names are removed."""
        write_note(self._disk, self._folder, self._uid, note)
        self.remove_below(note.segment)

    def remove_below(self, number: int) -> bool:
        """Remove segments that nobody needs; return whether there were any. Where it fails, the next start does it."""
        needless = [one for one in self._sizes if one < number]
        self._remove(needless)
        self.oldest = max(self.oldest, number)
        return bool(needless)

    def forget(self, number: int) -> None:
        """Remove what a write that failed may have left of a segment and of those after it."""
        self._remove([one for one in self._sizes if one >= number])

    def _remove(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            del self._sizes[number]
            with contextlib.suppress(OSError):
                self._disk.remove(self._folder / segment_name(number))

    def lowest_needed(self, segment: int | None) -> int:
        """Return the number of the oldest segment that has to stay, where ``segment`` is the oldest with a frame."""
        if segment is not None:
            return segment
        newest = max(self._sizes, default=self.oldest)
        return newest + (self._sizes.get(newest, 0) >= REST)
