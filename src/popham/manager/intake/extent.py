"""Which segments one stream has, and how far they are durable: what writer, readers and people ask about."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from popham.errors import StateError
from popham.manager.intake.position import BEGINNING, Position

STEP: Final = 1024 * 1024
"""Bytes between two marks in a segment: so finely is known how many records are before a place."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place in a segment: the records before it, and when what follows was received, unix seconds."""

    at: int
    records: int
    received: float


@dataclass(slots=True)
class Segment:
    """One file.

    Attributes:
        size: Bytes of it that are durable.
        records: Records in it.
        since: When its first frame was received, unix seconds; 0 if there is none.
        until: When its newest was.
    """

    size: int = 0
    records: int = 0
    since: float = 0.0
    until: float = 0.0
    _marks: list[_Mark] = field(default_factory=list)

    def grow(self, size: int, records: int, received: float) -> None:
        """Note what became durable: bytes, records, and when they were received."""
        if not self._marks or self.size - self._marks[-1].at >= STEP:
            self._marks.append(_Mark(self.size, self.records, received))
        self.since = self.since or received
        self.until = max(self.until, received)
        self.size += size
        self.records += records

    def before(self, at: int) -> tuple[int, float]:
        """Return the records before a place, at least, and since when what follows it is here."""
        number = bisect_right(self._marks, at, key=lambda mark: mark.at)
        if not number:
            return 0, self.since
        return self._marks[number - 1].records, self._marks[number - 1].received


@dataclass(frozen=True, slots=True)
class Behind:
    """What follows a place: bytes, records at most, and since when the first of them is here, unix seconds."""

    bytes: int = 0
    records: int = 0
    since: float | None = None


class Extent:
    """The segments of one stream, the oldest first. One thread changes it; others may look."""

    def __init__(self) -> None:
        self.segments: dict[int, Segment] = {}
        self._skipped: dict[Position, Position] = {}

    @property
    def end(self) -> Position:
        """Return the place after the last durable frame."""
        for number in reversed(tuple(self.segments)):
            return Position(number, self.segments[number].size)
        return BEGINNING

    @property
    def size(self) -> int:
        """Return the bytes of all segments."""
        return sum(one.size for one in tuple(self.segments.values()))

    def begin(self, number: int) -> Segment:
        """Add a segment after the others."""
        found = self.segments[number] = Segment()
        return found

    def remove(self, number: int) -> None:
        """Take a segment out."""
        del self.segments[number]

    def place(self, after: Position) -> Position:
        """Return where what follows ``after`` begins: of a segment that is there, and not at its end if more follow."""
        after = self._skipped.get(after, after)
        for number, segment in tuple(self.segments.items()):
            if number > after.segment:
                return Position(number)
            if number == after.segment and after.at < segment.size:
                return after
        return after

    def skip(self, after: Position, to: Position) -> None:
        """Have nothing looked for between two places: there is no whole frame."""
        self._skipped[after] = to

    def follows(self, after: Position) -> bool:
        """Return whether there is anything after a place."""
        found = self.place(after)
        segment = self.segments.get(found.segment)
        return segment is not None and found.at < segment.size

    def behind(self, position: Position) -> Behind:
        """Return what follows ``position``."""
        size = records = 0
        since: float | None = None
        for number, segment in tuple(self.segments.items()):
            at = position.at if number == position.segment else 0
            if number < position.segment or at >= segment.size:
                continue
            before, received = segment.before(at)
            size += segment.size - at
            records += segment.records - before
            since = received if since is None else since
        return Behind(size, records, since)

    def as_json(self) -> list[Any]:
        """Return what cannot be seen without reading the segments."""
        return [[number, one.records, one.since, one.until] for number, one in self.segments.items()]

    def restore(self, found: Iterable[Any], sizes: Mapping[int, int], end: Position) -> None:
        """Take what :meth:`as_json` returned when ``end`` was the end, of the segments that are there with these sizes.

        Raises:
            StateError: ``state.corrupt``: it is none.
        """
        for number in sorted(number for number in sizes if number < end.segment):
            self.begin(number).size = sizes[number]
        if end.segment in sizes:
            self.begin(end.segment).size = min(end.at, sizes[end.segment])
        for entry in found:
            match entry:
                case [int(number), int(records), float() | int() as since, float() | int() as until]:
                    if number in self.segments:
                        one = self.segments[number]
                        one.records, one.since, one.until = records, float(since), float(until)
                case _:
                    problem = "how far the intake was cannot be read"
                    raise StateError("corrupt", problem, "Restore a backup of the database")
