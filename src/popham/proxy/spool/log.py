"""The log of a proxy: segment files of stamps and frames, of all agents, in the order in which they came.

Rules:

1. A frame counts once it is synced.  What a crash left is synced at the next start, before anybody is told of it.
2. Nothing is ever written behind what another process left, or behind what could not be written: a new segment begins.
   So a torn tail harms nobody, and is stepped over.
3. What rotted is stepped over too; the frames beside it are read.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from popham.errors import StreamError
from popham.proxy.spool.stamp import MARK, STAMP, Stamp
from popham.streams.disk import Disk
from popham.streams.frame import Frame, Head, damaged
from popham.streams.kept import SUFFIX, segment_name
from popham.streams.scan import scan

_log = logging.getLogger(__name__)
SEGMENT: Final = 16 * 1024 * 1024
"""Bytes after which a new segment begins."""
_NAME: Final = re.compile(rf"([0-9a-f]{{16}}){re.escape(SUFFIX)}")
_BLOCK: Final = 64 * 1024
"""Bytes that are read at once where the disk does not give back all of a segment."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame stands: in which segment, from where on, and how many bytes it has."""

    segment: int
    at: int
    size: int


class Log:
    """Segments; every method that uses the disk may raise OSError. One thread writes; others may read.

    Attributes:
        sizes: Number of each segment that is there → its bytes.
    """

    def __init__(
        self,
        folder: Path,
        disk: Disk,
        *,
        segment: int = SEGMENT,
        token: Callable[[], bytes] = lambda: secrets.token_bytes(MARK),
    ) -> None:
        """Keep segments of ``segment`` bytes, about, in ``folder``; ``token`` draws their marks."""
        self.sizes: dict[int, int] = {}
        self._folder = folder
        self._disk = disk
        self._segment = segment
        self._token = token
        self._current = 1
        self._mark = b""
        self._at = 0

    @property
    def size(self) -> int:
        """Return the bytes of all segments."""
        return sum(tuple(self.sizes.values()))

    @property
    def current(self) -> int:
        """Return the number of the segment that is written to."""
        return self._current

    def open(self) -> Iterator[tuple[Place, Head, Stamp]]:
        """Find what is there, and have it durable; yields the frames that are whole."""
        self._disk.make_folder(self._folder)
        names = self._disk.names(self._folder)
        for number in sorted(int(found[1], 16) for name in names if (found := _NAME.fullmatch(name))):
            path = self._path(number)
            self.sizes[number] = self._disk.size(path)
            self._disk.sync(path)
            data = self._read_all(path, self.sizes[number])
            self._current = number + 1
            mark = data[:MARK]
            if len(mark) < MARK or not any(mark):
                continue  # what a power cut leaves of a segment of which nobody was told
            scanned = scan(data, stamp=STAMP, mark=mark)
            for first, end in scanned.damaged:
                _log.warning("%s: %d bytes at %d are no whole frames", path, end - first, first)
            for place in scanned.places:
                if not place.is_whole:
                    continue
                try:
                    stamp = Stamp.decode(data[place.at - STAMP : place.at], memoryview(data)[place.at :])
                except StreamError as error:
                    _log.warning("%s: at %d: %s", path, place.at, error)
                    continue
                yield Place(number, place.at, place.head.total), place.head, stamp

    def write(self, items: Sequence[tuple[Stamp, bytes | memoryview]]) -> list[Place]:
        """Have frames durable; returns where they stand. Raises OSError; then none of them counts."""
        if not self._at:
            self._mark = self._token()
        path, at = self._path(self._current), self._at
        chunks: list[bytes | memoryview] = []
        places = []
        for stamp, frame in items:
            chunks += (stamp.encode(self._mark, frame), frame)
            places.append(Place(self._current, at + STAMP, len(frame)))
            at += STAMP + len(frame)
        try:
            self._disk.append(path, chunks, self._at)
            self._disk.sync(path)
        except OSError:
            with contextlib.suppress(OSError):
                self._disk.truncate(path, self._at)
            self.begin()
            raise
        self._at = self.sizes[self._current] = at
        if at >= self._segment:
            self.begin()
        return places

    def begin(self) -> int:
        """Begin a new segment, if this one has anything; return the number of the one that is written to."""
        if self._at:
            self._current, self._at = self._current + 1, 0
        return self._current

    def read(self, place: Place, head: Head) -> Frame:
        """Return a frame. Raises StreamError ``stream.damaged`` if the disk does not give it back as it was."""
        try:
            data = self._disk.read(self._path(place.segment), place.at - STAMP, STAMP + place.size)
        except OSError as error:
            if error.errno not in {errno.EIO, errno.ENOENT}:
                raise
            raise damaged("the disk does not give it back") from error
        Stamp.decode(data[:STAMP], memoryview(data)[STAMP:])
        frame = Frame.decode(memoryview(data)[STAMP:])
        if frame.head != head:
            raise damaged("another one stands where it was")
        return frame

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove segments of which nothing is needed."""
        for number in numbers:
            self._disk.remove(self._path(number))
            self.sizes.pop(number, None)

    def _read_all(self, path: Path, size: int) -> bytes:
        """Return the bytes of a segment; zeros for what the disk does not give back."""
        try:
            return self._disk.read(path, 0, size)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        parts = []
        for at in range(0, size, _BLOCK):
            most = min(_BLOCK, size - at)
            try:
                parts.append(self._disk.read(path, at, most))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                _log.error("%s: the disk does not give back what is at %d: %s", path, at, error)
                parts.append(bytes(most))
        return b"".join(parts)

    def _path(self, number: int) -> Path:
        return self._folder / segment_name(number)
