"""Two histories of one stream: where they differ, and which frames of ours upstream has although it has another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from popham.errors import StreamError
from popham.streams.files import SEGMENT, Files
from popham.streams.frame import NOBODY, Cause, Frame, Head, Kind
from popham.streams.kept import Kept, Maker, gap_for
from popham.streams.standing import BOOTS, Standing


@dataclass(frozen=True, slots=True)
class Known:
    """Which frames of this history upstream has.

    Attributes:
        boots: Processes whose frames it has.
        oldest: Offset below which it does not say whose they are, because there were too many.
        parts: What it has, in order.
    """

    boots: frozenset[bytes]
    oldest: int
    parts: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, standing: Standing) -> Known:
        """Return what upstream has where it says this of our epoch.

        What it has at the place of a frame of ours is that frame, if it has any of the same process: a process goes
        on only with what upstream has, or begins a new epoch.
        """
        oldest = standing.boots[0].first if len(standing.boots) >= BOOTS else 0
        parts = ((0, standing.next), *((one.first, one.end) for one in standing.ranges))
        return cls(frozenset(one.boot for one in standing.boots), oldest, parts)

    def fits(self, end: int, tail: bytes, head: Head | None) -> bool:
        """Return whether what upstream has may be of our history, as far as one end shows.

        Args:
            end: Where a frame ends there.
            tail: Its tail.
            head: Of our frame with the record before; None if there is none.
        """
        if head is None:
            return False
        if head.kind is Kind.RECORDS:
            return (head.end, head.tail) == (end, tail)
        # Inside of a gap any frame may have ended that it stands for.
        return self._has_of(head) and (head.end > end or head.tail == tail)

    def lacks(self, kept: Iterable[Kept]) -> Iterator[Kept]:
        """Yield what upstream does not have; of a gap as many records as it neither has nor knows to be lost."""
        for one in kept:
            head = one.head
            has = sum(max(min(head.end, end) - max(head.first, first), 0) for first, end in self.parts)
            if not has or not self._has_of(head):
                yield one
            elif head.kind is Kind.GAP and has < head.count:
                yield replace(one, head=replace(head, count=head.count - has), segment=None)
            elif has < head.count:
                yield one

    def _has_of(self, head: Head) -> bool:
        """Return whether upstream has a frame of the process that wrote this one, or may have."""
        return head.boot in self.boots or head.boot == NOBODY or head.first < self.oldest


def rewrite(files: Files, frames: Sequence[Kept], maker: Maker) -> list[Kept]:
    """Write frames once more, in a row, to segments of their own, and return them; all else of them stays.

    Args:
        files: Where.
        frames: Which; what the disk does not give back becomes a gap, and says that it is missing.
        maker: Makes the first of them.

    Raises:
        OSError: The disk failed.
    """
    written: list[Kept] = []
    waiting: list[Frame] = []
    missing: set[int] = set()
    number, size = files.begin(), 0
    for one in frames:
        try:
            frame = files.read(one)
        except StreamError:
            frame = Frame(gap_for(one.head, Cause.DAMAGED), b"")
            missing.add(maker.first)
        waiting.append(maker.again(frame))
        maker = maker.after(waiting[-1].head)
        size += frame.head.total
        if size >= SEGMENT:
            written += files.write(waiting, 0.0, number=number)
            number, size, waiting = number + 1, 0, []
    if waiting:
        written += files.write(waiting, 0.0, number=number)
    return [
        replace(new, since=old.since, is_missing=new.head.first in missing)
        for old, new in zip(frames, written, strict=True)
    ]
