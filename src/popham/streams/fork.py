"""Two histories of one stream: where they differ, and which frames of ours upstream has although it has another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from popham.errors import StreamError
from popham.streams.files import SEGMENT, Files
from popham.streams.frame import Cause, Frame, Head, Kind
from popham.streams.kept import Kept, Maker
from popham.streams.limits import gap_for
from popham.streams.standing import BOOTS, Range, Standing

Look = Callable[[int], Head | None]
"""Returns the head of our frame that has the record before an offset; None if there is none."""


@dataclass(frozen=True, slots=True)
class Known:
    """Which frames of this history upstream has.

    Attributes:
        boots: Processes whose frames it has.
        below: Offset up to which it has them.
        oldest: Offset below which it does not say whose they are, because there were too many.
        ranges: What it has of them beyond.
    """

    boots: Mapping[bytes, int]
    below: int
    oldest: int
    ranges: tuple[Range, ...]

    def has(self, head: Head) -> bool:
        """Return whether upstream has a frame."""
        if head.end <= self.below and (head.boot in self.boots or head.first < self.oldest):
            return True
        return any(one.first <= head.first and head.end <= one.end for one in self.ranges)


def known_to(standing: Standing | None, look: Look) -> Known:
    """Return which frames are known where this is said of our epoch; none if nothing is."""
    if standing is None:
        return Known({}, 0, 0, ())
    boots = {one.boot: one.first for one in standing.boots}
    oldest = standing.boots[0].first if len(standing.boots) >= BOOTS else 0
    ours = tuple(one for one in standing.ranges if fits(one.end, one.last, look))
    return Known(boots, standing.next, oldest, ours)


def fits(end: int, tail: bytes, look: Look) -> bool:
    """Return whether a frame that ends at an offset, with this tail, may be of our history.

    Inside of a gap nobody can say; the chain holds across it.
    """
    head = look(end)
    if head is None:
        return False
    return head.kind is Kind.GAP if head.end > end else head.tail == tail


def rewrite(files: Files, frames: Iterable[Kept], maker: Maker, now: float) -> list[Kept]:
    """Write frames once more, in a row, to segments of their own, and return them; each keeps its boot and its time.

    Args:
        files: Where.
        frames: Which; what the disk does not give back becomes a gap, and says that it is missing.
        maker: Makes the first of them.
        now: Monotonic seconds.

    Raises:
        OSError: The disk failed.
    """
    written: list[Kept] = []
    waiting: list[Frame] = []
    missing: set[int] = set()
    number = files.begin()
    for one in frames:
        try:
            frame = files.read(one)
        except StreamError:
            frame = Frame(gap_for(one.head, Cause.DAMAGED, one.head.boot), b"")
            missing.add(maker.first)
        made = replace(maker, boot=frame.head.boot, written=frame.head.written).again(frame)
        maker = replace(maker, first=made.head.end, before=made.head.tail)
        waiting.append(made)
        if sum(frame.head.total for frame in waiting) >= SEGMENT:
            written += files.write(waiting, now, number=number)
            number, waiting = number + 1, []
    if waiting:
        written += files.write(waiting, now, number=number)
    return [replace(one, is_missing=one.head.first in missing) for one in written]
