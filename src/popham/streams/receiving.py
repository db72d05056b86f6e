"""What a receiver knows of one epoch of a stream: which frames are new to it, and how far it is.

Rules:

1. What is below ``next`` is here, or known to be lost; what came beyond stands in ranges.
2. A frame is taken whole or not at all; of a gap, the part that is neither here nor known to be lost.
3. What contradicts what is here is refused where it can be seen: a frame that begins or ends inside of another, or
   whose tail does not fit its neighbours.
4. Everything counts once: records that are stored, and those that are lost, by cause.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from popham.errors import StateError, StreamError
from popham.streams.frame import START, Cause, Head, Kind, Stream
from popham.streams.standing import BOOTS, CREDIT, RANGES, Boot, Range, Standing


class Verdict(Enum):
    """What a frame is to a receiver."""

    NEW = auto()
    """Nothing of it is here."""
    PART = auto()
    """A gap of which a part is here, or known to be lost."""
    HAVE = auto()
    """All of it is here, or known to be lost."""


@dataclass(frozen=True, slots=True)
class _Island:
    """Frames in a row beyond ``next``: from ``first`` to ``end``, the tail before them, and their last.

    Where another receiver said that it has them, the tail before them is not known: None.
    """

    first: int
    end: int
    before: bytes | None
    tail: bytes


class Receiving:
    """One epoch of one stream of one agent.

    Attributes:
        stream: Which stream.
        epoch: Which epoch.
        next: Offset of the first record that is neither here nor known to be lost.
        last: Tail of the frame that ends there.
        stored: Records that are here.
        lost: Cause → records that were lost.
    """

    def __init__(self, stream: Stream, epoch: int) -> None:
        """Begin with nothing."""
        self.stream = stream
        self.epoch = epoch
        self.next = 0
        self.last = START
        self.stored = 0
        self.lost: Counter[str] = Counter()
        self._islands: list[_Island] = []
        self._boots: list[Boot] = []

    @classmethod
    def from_standing(cls, standing: Standing) -> Receiving:
        """Begin where another receiver says that it is; what is lost by its count is counted there."""
        found = cls(standing.stream, standing.epoch)
        found.next, found.last = standing.next, standing.last
        found._islands = [_Island(one.first, one.end, None, one.last) for one in standing.ranges]
        found._boots = list(standing.boots)
        return found

    @property
    def absent(self) -> int:
        """Records before the last that is here, that are neither here nor known to be lost: they may be on their way."""
        if not self._islands:
            return 0
        return self._islands[-1].end - self.next - sum(one.end - one.first for one in self._islands)

    def copy(self) -> Receiving:
        """Return one that goes on by itself."""
        found = Receiving(self.stream, self.epoch)
        found.next, found.last, found.stored = self.next, self.last, self.stored
        found.lost, found._islands, found._boots = self.lost.copy(), [*self._islands], [*self._boots]
        return found

    def standing(self, newest: int = 0, *, credit: int = CREDIT, retry_after: float = 0.0) -> Standing:
        """Return what is said of it; ``newest`` is the newest epoch that is known, of this or of another."""
        return Standing(
            stream=self.stream,
            epoch=self.epoch,
            newest=max(newest, self.epoch),
            next=self.next,
            last=self.last,
            ranges=tuple(Range(one.first, one.end, one.tail) for one in self._islands),
            boots=tuple(self._boots),
            credit=credit,
            retry_after=retry_after,
        )

    def offer(self, head: Head) -> Verdict:
        """Return what a frame of this epoch is; :meth:`take` takes it.

        Raises:
            StreamError: ``stream.overlap``: it contradicts what is here. ``stream.scattered``: it would make more
                ranges than are kept.
        """
        self._check_edges(head)
        missing = sum(end - first for first, end in self._missing(head))
        if not missing:
            return Verdict.HAVE
        if head.kind is Kind.RECORDS and missing < head.count:
            raise _overlap(f"records {head.first} to {head.end} begin or end inside of others")
        touches = head.first <= self.next or any(
            head.first <= one.end and one.first <= head.end for one in self._islands
        )
        if not touches and len(self._islands) >= RANGES:
            problem = f"frames would be scattered over more than {RANGES} ranges"
            raise StreamError("scattered", problem, "Send those first that are missing before them")
        return Verdict.NEW if missing == head.count else Verdict.PART

    def take(self, head: Head) -> None:
        """Note a frame that :meth:`offer` called new, or a part of which is: it is durable."""
        missing = sum(end - first for first, end in self._missing(head))
        if head.cause is None:
            self.stored += missing
        elif missing:
            self.lost[str(head.cause)] += missing
        self._join(_Island(head.first, head.end, head.before, head.tail))
        self._note_boot(head)

    def _missing(self, head: Head) -> Iterator[tuple[int, int]]:
        """Yield the parts of a frame that are not here."""
        at = max(head.first, self.next)
        for one in self._islands:
            if one.first >= head.end:
                break
            if at < one.first:
                yield at, one.first
            at = max(at, one.end)
        if at < head.end:
            yield at, head.end

    def _check_edges(self, head: Head) -> None:
        """Refuse a frame that does not fit what it touches; a gap may begin and end anywhere."""
        if head.end == self.next and head.tail != self.last:
            raise _overlap(f"another frame ends at {head.end}")
        if head.first == self.next and head.before != self.last:
            raise _overlap(f"another frame was before {head.first}")
        for one in self._islands:
            fits = (
                (head.first != one.end or head.before == one.tail)
                and (head.end != one.first or one.before in {None, head.tail})
                and (head.first != one.first or one.before in {None, head.before})
                and (head.end != one.end or head.tail == one.tail)
            )
            if not fits:
                raise _overlap(f"records {head.first} to {head.end} do not fit those beside them")

    def _join(self, new: _Island) -> None:
        """Add a range, joined with all that it touches; what is contiguous raises ``next``."""
        if new.end <= self.next:
            return
        apart: list[_Island] = []
        touched = [new]
        for one in self._islands:
            (touched if one.first <= new.end and new.first <= one.end else apart).append(one)
        first = min(touched, key=lambda one: one.first)
        end = max(touched, key=lambda one: one.end)
        joined = _Island(first.first, end.end, first.before, end.tail)
        if joined.first <= self.next:
            self.next, self.last = joined.end, joined.tail
            self._islands = apart
            return
        at = bisect_left([one.first for one in apart], joined.first)
        self._islands = [*apart[:at], joined, *apart[at:]]

    def _note_boot(self, head: Head) -> None:
        """Note whose frame it is; of a process the first offset that is known."""
        known = {one.boot: one.first for one in self._boots}
        known[head.boot] = min(head.first, known.get(head.boot, head.first))
        found = sorted((first, boot) for boot, first in known.items())
        self._boots = [Boot(boot, first) for first, boot in found[-BOOTS:]]

    def as_dict(self) -> dict[str, Any]:
        """Return it as what JSON has."""
        return {
            "stream": str(self.stream),
            "epoch": self.epoch,
            "next": self.next,
            "last": self.last.hex(),
            "stored": self.stored,
            "lost": dict(self.lost),
            "ranges": [
                [one.first, one.end, (one.before or START).hex(), one.tail.hex()] for one in self._islands
            ],
            "boots": [[one.boot.hex(), one.first] for one in self._boots],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Receiving:
        """Return what :meth:`as_dict` returned.

        Raises:
            StateError: ``state.corrupt``: it is none.
        """
        try:
            found = cls(Stream(data["stream"]), int(data["epoch"]))
            found.next, found.last = int(data["next"]), bytes.fromhex(data["last"])
            found.stored = int(data["stored"])
            found.lost = Counter({str(Cause(cause)): int(count) for cause, count in data["lost"].items()})
            found._islands = [
                _Island(int(first), int(end), bytes.fromhex(before), bytes.fromhex(tail))
                for first, end, before, tail in data["ranges"]
            ]
            found._boots = [Boot(bytes.fromhex(boot), int(first)) for boot, first in data["boots"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = "what is kept of how far a stream is cannot be read"
            raise StateError("corrupt", problem, "Delete it; it is made anew from the segments") from error
        return found


_FORK: Final = "Ask how far we are; an agent whose state was copied back begins a new epoch"


def _overlap(why: str) -> StreamError:
    return StreamError("overlap", f"a frame contradicts what is here: {why}", _FORK)
