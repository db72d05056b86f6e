"""Lines of many files as payloads of one stream."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from popham.agent.collect.tail.followed import Followed, Piece
from popham.agent.collect.tail.lines import cut_bodies
from popham.agent.collect.tail.place import Place
from popham.agent.collect.tail.wire import Envelope, Heads, encode_lines

PAYLOAD: Final = 448 * 1024
"""Bytes of records of one payload: it fits into a frame even where nothing can be compressed."""


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a file is once ``count`` further records are durable."""

    file: Followed
    place: Place
    count: int


@dataclass(slots=True)
class Batch:
    """What one look at the files brought.

    Attributes:
        payloads: In order, each with its number of records.
        advances: How far the files are by that, in order.
        cut: Lines that were not whole.
    """

    payloads: list[tuple[bytes, int]] = field(default_factory=list)
    advances: list[Advance] = field(default_factory=list)
    cut: int = 0


class Packer:
    """Makes a batch."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._batch = Batch()
        self._parts: list[bytes] = []
        self._size = self._count = 0

    def add(self, file: Followed, piece: Piece, heads: Heads) -> None:
        """Add lines of a file; what is one record stays in one payload, and each payload ends where a record does."""
        lines = cut_bodies(piece.lines, heads.longest)
        sums = [0, *accumulate(map(len, lines.bodies))]
        first, count = 0, len(lines.bodies)
        while first < count:
            room = PAYLOAD - self._size + sums[first] + first * heads.over
            places = range(first + 1, count + 1)
            fitting = bisect_right(places, room, key=lambda at: sums[at] + at * heads.over)
            if not fitting:
                self._close()
                continue
            end = first + fitting
            cut = {at - first: left_out for at, left_out in lines.cut.items() if first <= at < end}
            self._take(encode_lines(heads, lines.bodies[first:end], cut), fitting)
            self._size += sums[end] - sums[first] + fitting * heads.over
            self._batch.advances.append(Advance(file, piece.place(end - 1), fitting))
            self._batch.cut += len(cut)
            first = end

    def finish(self) -> Batch:
        """Return the batch."""
        self._close()
        return self._batch

    def _take(self, parts: Sequence[bytes], count: int) -> None:
        self._parts.extend(parts)
        self._count += count

    def _close(self) -> None:
        if self._count:
            self._batch.payloads.append((self._envelope.close(self._parts), self._count))
        self._parts, self._size, self._count = [], 0, 0
