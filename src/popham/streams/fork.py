"""Two histories of one stream: where they differ, and which frames of ours upstream has although it has another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from popham.errors import StreamError
from popham.streams.backlog import rest_of
from popham.streams.files import SEGMENT, Files
from popham.streams.frame import Cause, Frame, Head, Kind
from popham.streams.kept import Kept, Maker, gap_for
from popham.streams.standing import BOOTS, Range, Standing

Look = Callable[[int], Head | None]
"""Returns the head of our frame that has the record before an offset; None if there is none."""


@dataclass(frozen=True, slots=True)
class Known:
    """Which frames of this history upstream has.

    Attributes:
        boots: Processes whose frames it has.
        below: Offset up to which it has them.
        last: Tail of the frame that ends there.
        oldest: Offset below which it does not say whose they are, because there were too many.
        ranges: What it has of them beyond.
    """

    boots: frozenset[bytes]
    below: int
    last: bytes
    oldest: int
    ranges: tuple[Range, ...]

    def lacks(self, kept: Iterable[Kept]) -> Iterator[Kept]:
        """Yield what upstream does not have; of a gap the rest."""
        for one in kept:
            head = one.head
            if any(part.first <= head.first and head.end <= part.end for part in self.ranges):
                continue
            if head.boot not in self.boots and head.first >= self.oldest:
                yield one
            elif head.kind is Kind.GAP and head.first < self.below < head.end:
                yield replace(one, head=rest_of(head, self.below, self.last), segment=None)
            elif head.end > self.below:
                yield one


def known_to(standing: Standing, look: Look) -> Known:
    """Return which frames are known where this is said of our epoch."""
    oldest = standing.boots[0].first if len(standing.boots) >= BOOTS else 0
    # Where a gap is at its end, its frames were dropped here before any that are left.
    ours = tuple(one for one in standing.ranges if _is_ours(one, look(one.end)))
    boots = frozenset(one.boot for one in standing.boots)
    return Known(boots, standing.next, standing.last, oldest, ours)


def _is_ours(one: Range, head: Head | None) -> bool:
    return head is not None and (head.end, head.tail) == (one.end, one.last)


def fits(end: int, tail: bytes, look: Look) -> bool:
    """Return whether a frame that ends at an offset, with this tail, may be of our history.

    Inside of a gap nobody can say; the chain holds across it.
    """
    head = look(end)
    if head is None:
        return False
    return head.kind is Kind.GAP if head.end > end else head.tail == tail


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
