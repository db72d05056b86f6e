"""Bytes of a file as lines and records: pure.

Rules:

1. What cannot be read as the encoding says becomes U+FFFD; NUL bytes stay.
2. A line ends with a line feed; a carriage return before it belongs to the end.
3. A record of several lines begins where a line fits, and ends where the next begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType
from typing import Final

from popham.model.types.collect_pattern import TEXT_MAX

RECORD: Final = 128 * 1024
"""Bytes of a record of several lines: where it would have more, the next begins."""
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_WIDE: Final = MappingProxyType({"utf-16le": "utf-16-le", "utf-16be": "utf-16-be"})


@dataclass(slots=True)
class Lines:
    """Lines, or records of several, in order.

    Attributes:
        bodies: UTF-8.
        ends: Where each ends, in bytes of the file from where the first begins.
        cut: How many bytes were left out of a body, by its place.
    """

    bodies: list[bytes]
    ends: list[int]
    cut: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Script:
    """How the bytes of one file are read.

    Attributes:
        codec: Python's name of the encoding.
        wide: Whether each character takes two bytes or four.
        mark: Bytes of the byte order mark that the file begins with.
    """

    codec: str
    wide: bool
    mark: int

    @classmethod
    def of(cls, encoding: str, beginning: bytes) -> Script:
        """Return how a file is read that begins so; of two orders of bytes its own mark decides."""
        codec = _WIDE.get(encoding, encoding)
        wide = encoding in _WIDE
        for mark, meant in _BOMS:
            if beginning.startswith(mark) and (meant == codec or (wide and meant in _WIDE.values())):
                return cls(meant, wide, len(mark))
        return cls(codec, wide, 0)

    @property
    def newline(self) -> bytes:
        """The bytes that end a line."""
        return "\n".encode(self.codec)

    def whole(self, length: int) -> int:
        """Return how many of ``length`` bytes are whole units."""
        return length & ~1 if self.wide else length

    def find_last_end(self, data: bytes) -> int:
        """Return where the last line ends that does so in ``data``; 0 if none does."""
        at = data.rfind(self.newline)
        while self.wide and at > 0 and at % 2:
            at = data.rfind(self.newline, 0, at + 1)
        return at + len(self.newline) if at >= 0 else 0

    def find_first_end(self, data: bytes) -> int:
        """Return where the first line ends that does so in ``data``; 0 if none does."""
        at = data.find(self.newline)
        while self.wide and at > 0 and at % 2:
            at = data.find(self.newline, at + 1)
        return at + len(self.newline) if at >= 0 else 0

    def split(self, data: bytes) -> Lines:
        """Return the lines of ``data``; what stands after the last end is a line as well."""
        if self.wide:
            return self._split_wide(data)
        bodies = data.split(b"\n")
        ends = list(accumulate(map((1).__add__, map(len, bodies))))
        if bodies[-1]:
            ends[-1] -= 1
        else:
            del bodies[-1], ends[-1]
        if b"\r" in data:
            bodies = [body.removesuffix(b"\r") for body in bodies]
        if not data.isascii() and not (self.codec == "utf-8" and _is_utf_8(data)):
            bodies = [body if body.isascii() else self.read(body) for body in bodies]
        return Lines(bodies, ends)

    def read(self, body: bytes) -> bytes:
        """Return some characters of the file as UTF-8."""
        return body.decode(self.codec, "replace").encode()

    def _split_wide(self, data: bytes) -> Lines:
        # What is broken becomes U+FFFD unit by unit, so a text has the length that it had in the file.
        texts = data[: self.whole(len(data))].decode(self.codec, "replace").split("\n")
        ends = list(accumulate(len(text.encode(self.codec)) + 2 for text in texts))
        if texts[-1]:
            ends[-1] -= 2
        else:
            del texts[-1], ends[-1]
        return Lines([text.removesuffix("\r").encode() for text in texts], ends)


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def join_records(lines: Lines, start: re.Pattern[str], *, final: bool) -> Lines:
    """Return lines as records of several; the last one only if it is ``final``, else it may go on."""
    begins, size = [], 0
    for place, body in enumerate(lines.bodies):
        fits = start.match(body[: 4 * TEXT_MAX].decode("utf-8", "replace")[:TEXT_MAX])
        if place and (fits or size + len(body) > RECORD):
            begins.append(place)
            size = 0
        size += len(body) + 1
    if final and lines.bodies:
        begins.append(len(lines.bodies))
    spans = list(zip([0, *begins], begins, strict=False))
    bodies = [b"\n".join(lines.bodies[first:end]) for first, end in spans]
    return Lines(bodies, [lines.ends[end - 1] for _, end in spans])


def cut_bodies(lines: Lines, longest: int) -> Lines:
    """Return lines of which none is longer than ``longest`` bytes."""
    if not lines.bodies or max(map(len, lines.bodies)) <= longest:
        return lines
    bodies, cut = lines.bodies.copy(), dict(lines.cut)
    for place, body in enumerate(lines.bodies):
        if len(body) > longest:
            # A character that would be divided is left out whole.
            bodies[place] = kept = body[:longest].decode("utf-8", "ignore").encode()
            cut[place] = cut.get(place, 0) + len(body) - len(kept)
    return Lines(bodies, lines.ends, cut)
