"""One log file that is followed, under whatever name, for as long as it is open here.

Rules:

1. Reading moves nothing: whoever has made lines durable sets :attr:`Followed.place`. Until then they are read again.
2. Before anything is read, what stands before the place is compared with what was read there.  So a file that was
   truncated and has grown beyond the place again is seen.
3. A line longer than :data:`LONG` is never held: its end is looked for, and then its beginning is read again.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from popham.agent.collect.tail.finding import Key
from popham.agent.collect.tail.lines import Lines, Script, join_records
from popham.agent.collect.tail.place import Place
from popham.agent.collect.tail.source import Source
from popham.posix import open_file

LONG: Final = 260 * 1024
"""Bytes of a line that is read at once; no record takes so many."""
QUIET: Final = 5.0
"""Seconds without growth after which a line without an end is a record."""
QUIET_RECORD: Final = 1.0
"""The same for a record of several lines, whose last line has an end."""
GRACE: Final = 30.0
"""Seconds for which a file is followed that rotation took away: its writer may have it open."""
HOLD: Final = 300.0
"""Seconds for which a file is held that was deleted before it was read: so long its room is not free."""


class Cause(StrEnum):
    """Why a part of a file was not read."""

    TRUNCATED = "truncated"
    REPLACED = "replaced"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Loss:
    """A part of a file that was gone before it was read.

    Attributes:
        source: Name of its source.
        path: Where the file was last.
        size: Bytes that are known to be lost; there may be more, written since the file was last looked at.
        cause: Why.
    """

    source: str
    path: str
    size: int
    cause: Cause


@dataclass(slots=True)
class Piece:
    """Lines that were read, one at least.

    Attributes:
        lines: The lines.
        data: What was read; begins at ``before``.
        before: Where they begin.
        after: Where they end, if it is not in ``data``.
    """

    lines: Lines
    data: bytes
    before: Place
    after: Place | None = None

    def place(self, number: int) -> Place:
        """Return the place after the line of this number."""
        return self.after or self.before.on(self.data, self.lines.ends[number])


class Followed:
    """A file that is open.

    Attributes:
        source: Whose it is.
        path: Its name as it was found last.
        key: Device and inode.
        place: How far its lines are durable.
        size: Bytes that it had when it was looked at last.
        due: Whether there is something to read.
        full: Whether more was there than could be read at once.
        gone: Since when no glob finds it; None while one does.
    """

    def __init__(self, source: Source, path: str, key: Key, descriptor: int, now: float) -> None:
        """Follow an open file from its beginning; use :meth:`open`."""
        self.source, self.path, self.key = source, path, key
        self.place = Place()
        self.size = 0
        self.due = self.full = False
        self.gone: float | None = None
        self._lost: list[Loss] = []
        self._descriptor = descriptor
        self._changed = -1
        self._grown = now
        self._deleted: float | None = None
        self._known = 0
        self._scanned = 0
        # The size at which what is left is no line: half a character, or the end of a line that was taken.
        self._rest = -1
        self._script: Script | None = None
        self._start: re.Pattern[str] | None = None
        self.assign(source)

    @classmethod
    def open(cls, source: Source, path: str, real: str, key: Key, now: float) -> Followed | None:
        """Open the file at ``real``, which ``path`` leads to; None if it is not any more the one that was found.

        Raises:
            OSError: It may not be read, is gone, or a part of ``real`` is a link by now.
        """
        descriptor = open_file(Path(real))
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != key or not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return None
        return cls(source, path, key, descriptor, now)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def assign(self, source: Source) -> None:
        """Read it as ``source`` says, from where it is."""
        self.source = source
        self._script = None
        self._start = re.compile(source.start) if source.start else None

    def skip(self) -> None:
        """Begin at its end."""
        self.place = Place.at(self._descriptor, os.fstat(self._descriptor).st_size)

    def resume(self, offset: int, mark: str) -> bool:
        """Begin where a checkpoint was, if that is still the place; return whether it is."""
        place = Place.at(self._descriptor, offset)
        if os.fstat(self._descriptor).st_size < offset or place.mark != mark:
            return False
        self.place = place
        return True

    def look(self, now: float) -> bool:
        """Return whether there is something to read. Raises OSError."""
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            # Its file system is gone: nobody will ever read it.
            self._deleted = now if self._deleted is None else self._deleted
            raise
        if status.st_nlink:
            self._deleted = None
        elif self._deleted is None:
            self._deleted = now
        if status.st_size != self.size or status.st_mtime_ns != self._changed:
            if status.st_size < self.size:
                self._shrink(status.st_size)
            self.size, self._changed, self._grown, self.due = status.st_size, status.st_mtime_ns, now, True
        self.due = self.due or self.full or self._may_flush(now)
        return self.due

    def take_losses(self) -> list[Loss]:
        """Return what was lost since this was asked last."""
        losses, self._lost = self._lost, []
        return losses

    def is_over(self, now: float) -> bool:
        """Return whether it need not be followed any more; what is lost by that is noted."""
        if self.gone is None:
            return False
        unread = self.size - self.place.offset
        if self._deleted is not None and unread > 0 and now - self._deleted >= HOLD:
            self._lost.append(Loss(self.source.name, self.path, unread, Cause.DELETED))
            return True
        rests = now - max(self.gone, self._grown) >= GRACE
        return rests and (unread <= 0 or self._rest == self.size)

    def read(self, most: int, now: float) -> Piece | None:
        """Return the next lines; None if there are none yet.

        Args:
            most: Bytes to read, :data:`LONG` at least.
            now: Seconds of the monotonic clock.

        Raises:
            OSError: It cannot be read.
        """
        size = os.fstat(self._descriptor).st_size
        quiet = now - self._grown if size == self.size else 0.0
        self.due = self.full = False
        if size < self.size:
            self._shrink(size)
        offset, guard, head = self.place.offset, self.place.guard, self.place.head
        long = self._scanned > offset
        buffer = os.pread(self._descriptor, len(guard) + (0 if long else most), offset - len(guard))
        if buffer[: len(guard)] != guard or os.pread(self._descriptor, len(head), 0) != head:
            self._begin_again(size, self._known, Cause.REPLACED)
            return None
        self._known = size
        if self._script is None or not offset:
            self._script = Script.of(self.source.encoding, head or buffer[:4])
        if long:
            return self._read_long(self._script, most, quiet)
        return self._read_lines(self._script, buffer[len(guard) :], most, quiet)

    def _read_lines(self, script: Script, data: bytes, most: int, quiet: float) -> Piece | None:
        self.full = len(data) >= most
        end = script.find_last_end(data)
        final = not self.full and self._is_final(quiet, ended=end == len(data))
        if final:
            end = script.whole(len(data))
        mark = 0 if self.place.offset else script.mark
        if end <= mark:
            if self.full:
                self._scanned = self.place.offset + script.whole(len(data))
            elif final:
                self._rest = self.size
            return None
        lines = script.split(data[mark:end])
        if mark:
            lines.ends = [end + mark for end in lines.ends]
        if self._start is not None:
            lines = join_records(lines, self._start, final=final)
        elif not lines.bodies[0] and self.place.guard and not self.place.guard.endswith(script.newline):
            # The end of a line that was taken before it had one.
            del lines.bodies[0], lines.ends[0]
        if not lines.bodies:
            self._rest = self.size if final else self._rest
            return None
        return Piece(lines, data, self.place)

    def _read_long(self, script: Script, most: int, quiet: float) -> Piece | None:
        """Look for the end of a line that is longer than what is read at once."""
        most = script.whole(most)
        data = os.pread(self._descriptor, most, self._scanned)
        found = script.find_first_end(data)
        self.full = bool(found) or len(data) == most
        end = self._scanned + (found or script.whole(len(data)))
        if not found:
            self._scanned = end
            if self.full or not self._is_final(quiet, ended=False):
                return None
        offset = self.place.offset
        mark = 0 if offset else script.mark
        kept = os.pread(self._descriptor, LONG, offset + mark)
        left_out = end - offset - mark - len(kept) - (len(script.newline) if found else 0)
        lines = Lines([script.read(kept)], [end - offset], {0: left_out})
        return Piece(lines, b"", self.place, Place.at(self._descriptor, end))

    def _is_final(self, quiet: float, *, ended: bool) -> bool:
        """Return whether what is left is taken as it is, after so many seconds without growth."""
        return quiet >= (QUIET_RECORD if ended and self._start is not None else QUIET)

    def _may_flush(self, now: float) -> bool:
        """Return whether what is left may have to be taken as it is."""
        unread = self.size > self.place.offset and self._rest != self.size
        return unread and self._is_final(now - self._grown, ended=True)

    def _shrink(self, size: int) -> None:
        """Hear that it has fewer bytes than before; whether the place is still one shows when it is read."""
        if size < max(self.place.offset, self._scanned) or not self.place.offset:
            self._begin_again(size, self.size, Cause.TRUNCATED)
        self._known = max(self._known, self.size)

    def _begin_again(self, size: int, known: int, cause: Cause) -> None:
        """Read from the beginning what is another file now, though it is the same; it had ``known`` bytes before."""
        unread = known - self.place.offset
        if unread > 0:
            self._lost.append(Loss(self.source.name, self.path, unread, cause))
        self.place, self._scanned, self._rest, self._known = Place(), 0, -1, 0
        self.size, self.due, self._script = size, True, None
