"""What waits in a spool: frames in a row, so that no offset from the first to the last is without one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from popham.streams.frame import START, Cause, Head, Kind
from popham.streams.kept import Kept, gap_for
from popham.streams.standing import Range

GAPS: Final = 64
"""Gaps that are noted apart; of more, neighbours are joined whatever their causes."""


class Backlog:
    """Frames that upstream is not known to have; what every append asks costs the same for one and for 30,000.

    Attributes:
        first: Offset of the first record.
        before: Tail of the frame that ends there.
        kept: The frames.
        records: How many records they have; gaps have none.
        size: Bytes of the frames of records.
        lent: First and end of what a Proxy Manager has that is not known to be at the Manager: it may be on its way,
            so nothing stands for it here, wherever the stream goes on.
    """

    def __init__(self, first: int = 0, before: bytes = START, kept: Iterable[Kept] = ()) -> None:
        """Begin with these."""
        self.first = first
        self.before = before
        self.kept: list[Kept] = []
        self.records = self.size = 0
        self.lent = (0, 0)
        self._noted = 0
        self.extend(kept)

    @property
    def next(self) -> int:
        """Offset after the last record."""
        return self.kept[-1].head.end if self.kept else self.first

    @property
    def last(self) -> bytes:
        """Tail of the frame that ends there."""
        return self.kept[-1].head.tail if self.kept else self.before

    @property
    def oldest(self) -> Head | None:
        """Head of the oldest frame of records; None if there is none."""
        return next((one.head for one in self.kept if one.head.kind is Kind.RECORDS), None)

    @property
    def segment(self) -> int | None:
        """Number of the oldest segment that is needed; None if none is."""
        return next((one.segment for one in self.kept if one.segment is not None), None)

    @property
    def gaps(self) -> tuple[Head, ...]:
        """Heads of the gaps that stand in no segment."""
        return tuple(one.head for one in self.kept if one.segment is None) if self._noted else ()

    def index(self, offset: int) -> int:
        """Return the place of the frame with an offset, or of the first after it."""
        at = bisect_right(self.kept, offset, key=lambda one: one.head.first) - 1
        return at if at >= 0 and self.kept[at].head.end > offset else at + 1

    def ending(self, offset: int) -> Head | None:
        """Return the head of the frame that has the record before an offset; None if there is none."""
        at = self.index(offset - 1)
        return self.kept[at].head if at < len(self.kept) and self.kept[at].head.first < offset else None

    def extend(self, kept: Iterable[Kept]) -> None:
        """Add frames at the end."""
        for one in kept:
            self._count(one, 1)
            self.kept.append(one)

    def drop(self, at: int, cause: Cause) -> int:
        """Have a gap stand for a frame; return how many records that are."""
        one = self.kept[at]
        self._put(at, gap_for(one.head, cause))
        return one.head.count

    def lend(self, next_: int, above: int | None) -> None:
        """Take note of who has what is below an offset: the Manager up to ``above``, or all of it if that is None."""
        first, end = self.lent
        if above is None:
            self.lent = self.lent if next_ < end else (0, 0)
        elif above < next_:
            self.lent = max(first, above), max(end, next_)

    def goes_on(self, offset: int, ranges: Iterable[Range]) -> bool:
        """Return whether all that is missing from an offset up to the first record may still come from a Proxy Manager.

        Whoever answers may know less than the Manager, and a gap would stand for what is on its way, too.  So of what was
        not lent nothing is said to be lost before all that was lent is there.  What upstream has beyond it, in ranges, is
        forgotten here.
        """
        first, end = self.lent
        if offset == self.first:
            return True
        if not (offset < self.first and first < end and first <= self.first <= end):
            return False
        found = next((one for one in ranges if one.first <= self.first <= one.end), None)
        if found is not None and offset < first and found.first <= first:
            return False
        if found is not None and self.first < found.end:
            self.trim(found.end, found.last)
            self.lent = first, found.end
        return True

    def owe(self, gap: Head) -> None:
        """Have a gap stand before all others, where upstream is not as far as it was."""
        self.kept.insert(0, Kept(gap, None, 0))
        self._noted += 1
        self.first, self.before = gap.first, gap.before

    def trim(self, offset: int, tail: bytes) -> None:
        """Forget what is below an offset, where a frame with this tail ends; of a gap the rest stays."""
        end = self.index(offset)
        for one in self.kept[:end]:
            self._count(one, -1)
        self.kept = self.kept[end:]
        self.first, self.before = offset, tail
        if self.kept and self.kept[0].head.first < offset:
            self._put(0, rest_of(self.kept[0].head, offset, tail))

    def join(self, until: int) -> None:
        """Join the gaps at places up to ``until`` with their neighbours.

        Those of one cause and one process are joined; of too many, all that are beside each other.
        """
        joined: list[Kept] = []
        for one in self.kept[: until + 1]:
            last = joined[-1] if joined else None
            if last is None or not _are_noted(last, one):
                joined.append(one)
                continue
            # Both are: the segment where one stands would be kept for it alone.
            joined[-1], gap = self._without_segment(last), self._without_segment(one)
            if _is_alike(last.head, gap.head) or self._noted > GAPS:
                # Of two processes the later: rather is counted as lost what upstream has than the other way round.
                count = last.head.count + gap.head.count
                head = replace(gap.head, first=last.head.first, count=count, before=last.head.before)
                joined[-1] = replace(joined[-1], head=head)
                self._noted -= 1
            else:
                joined.append(gap)
        self.kept[: until + 1] = joined

    def _without_segment(self, gap: Kept) -> Kept:
        """Return a gap that is noted, wherever it stood."""
        self._noted += gap.segment is not None
        return replace(gap, segment=None)

    def _put(self, at: int, gap: Head) -> None:
        """Replace a frame by a gap."""
        one = self.kept[at]
        self._count(one, -1)
        self.kept[at] = replace(one, head=gap, segment=None)
        self._count(self.kept[at], 1)

    def _count(self, one: Kept, sign: int) -> None:
        if one.head.kind is Kind.RECORDS:
            self.records += sign * one.head.count
            self.size += sign * one.head.total
        if one.segment is None:
            self._noted += sign


def rest_of(gap: Head, offset: int, tail: bytes) -> Head:
    """Return the head of what is left of a gap from an offset on, where a frame with this tail ends."""
    return replace(gap, first=offset, count=gap.end - offset, before=tail)


def _is_alike(one: Head, other: Head) -> bool:
    return (one.cause, one.boot) == (other.cause, other.boot)


def _are_noted(one: Kept, other: Kept) -> bool:
    """Return whether both are gaps, and at least one of them stands in no segment."""
    return (one.segment is None and other.head.kind is Kind.GAP) or (
        other.segment is None and one.head.kind is Kind.GAP
    )
