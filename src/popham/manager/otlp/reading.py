"""What of a request is kept: record by record; whatever is wrong with one, its neighbours are kept.

Source: guarantees REL-12 and SEC-9; OTLP 1.9, partial success.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from google.protobuf.message import DecodeError

from popham.manager.data.wire_walk import BrokenError
from popham.manager.otlp.pieces import Budget, Piece, walk, walk_json
from popham.manager.otlp.signals import METRIC, RECORD, Signal

AROUND: Final = 64 * 1024
"""Bytes of a resource, and of a scope, encoded: they stand in each frame again."""
_FRAMING: Final = 8
"""Bytes of a tag and a length, at most."""


class Reason(StrEnum):
    """Why a record was rejected."""

    LARGE = "too_large"
    MALFORMED = "malformed"


_SENTENCES: Final = {
    Reason.LARGE: f"are larger than {RECORD} bytes, or their resource or scope than {AROUND}, or metric than {METRIC}",
    Reason.MALFORMED: "are malformed",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A log record, or points of a metric.

    Attributes:
        uid: Whose.
        part, scope: What stands around it, encoded.
        data: Itself, encoded.
        count: How many records it is.
    """

    uid: bytes
    part: bytes
    scope: bytes
    data: bytes
    count: int


@dataclass(slots=True)
class Reading:
    """What a request has: what is kept, and reason → records that are not."""

    items: list[Item] = field(default_factory=list)
    rejected: Counter[Reason] = field(default_factory=Counter)

    @property
    def why(self) -> str:
        """Return why records were rejected, for people; empty if none were."""
        return "; ".join(f"{count} {_SENTENCES[reason]}" for reason, count in sorted(self.rejected.items()))


def read(
    body: bytes, signal: Signal, owner: Callable[[str], bytes], budget: Budget, *, is_json: bool
) -> Reading:
    """Return what a request has.

    Args:
        body: The request.
        signal: What it is to have.
        owner: Returns whose records are, by the ``service.instance.id`` of their resource.
        budget: How many records and more it may have.
        is_json: Whether it is in JSON.

    Raises:
        WireError: ``wire.malformed``: it is none. ``wire.too_large``: it has too many.
    """
    reader = _Reader(signal, owner, budget)
    for piece in walk_json(body, signal, budget) if is_json else walk(body, budget):
        reader.add(piece)
    return reader.reading


class _Reader:
    """Looks at pieces, one after the other; at what is around many of them once."""

    def __init__(self, signal: Signal, owner: Callable[[str], bytes], budget: Budget) -> None:
        self._signal = signal
        self._owner = owner
        self._budget = budget
        self._part = _Around(signal.part, None)
        self._scope = _Around(signal.scope, None)
        self._uid = b""
        self.reading = Reading()

    def add(self, piece: Piece) -> None:
        """Keep a piece, or reject it."""
        if piece.part is not self._part.data:
            self._part = _Around(self._signal.part, piece.part)
            self._uid = self._owner(_name_of(self._part.message))
        if piece.scope is not self._scope.data:
            self._scope = _Around(self._signal.scope, piece.scope)
        if piece.data is not None and len(piece.data) > self._signal.whole:
            self.reading.rejected[Reason.LARGE] += self._walk(piece.data)
            return
        data = piece.data or b""
        item = None if piece.data is None else _parse(self._signal.item, data)
        count = 1 if item is None else self._signal.count(item)
        fault = Reason.MALFORMED if item is None else self._part.fault or self._scope.fault
        if fault is not None:
            self.reading.rejected[fault] += count
            return
        for part, points in self._divide(data, item, count):
            around = piece.part or b"", piece.scope or b""
            self.reading.items.append(Item(self._uid, *around, part, points))

    def _walk(self, data: bytes) -> int:
        """Return how many records an item is that is too large to be parsed; looking takes time too."""
        try:
            found = max(1, self._signal.walk(memoryview(data)))
        except BrokenError:
            return 1
        self._budget.used += found
        return found

    def _divide(self, data: bytes, item: Any, count: int) -> Iterator[tuple[bytes, int]]:
        """Yield an item, or the points of a large metric in several; what is too large is rejected."""
        if len(data) > RECORD and count > 1:
            yield from self._divide_points(item)
        elif len(data) > RECORD:
            self.reading.rejected[Reason.LARGE] += 1
        elif count:
            yield data, count

    def _divide_points(self, metric: Any) -> Iterator[tuple[bytes, int]]:
        kind = metric.WhichOneof("data")
        points = list(getattr(metric, kind).data_points)
        del getattr(metric, kind).data_points[:]
        room = RECORD - metric.ByteSize() - _FRAMING
        taken: list[Any] = []
        size = 0
        for point in points:
            one = point.ByteSize() + _FRAMING
            if one > room:
                self.reading.rejected[Reason.LARGE] += 1
                continue
            if size + one > room:
                yield _with_points(metric, kind, taken)
                taken, size = [], 0
            taken.append(point)
            size += one
        if taken:
            yield _with_points(metric, kind, taken)


class _Around:
    """What stands around records.

    Attributes:
        data: As it came, encoded; None if it could not be read.
        message: Parsed; None if it is malformed, or too large.
        fault: Why the records in it are rejected; None if they are not.
    """

    def __init__(self, kind: Any, data: bytes | None) -> None:
        self.data = data
        is_large = data is not None and len(data) > AROUND
        self.message = None if data is None or is_large else _parse(kind, data)
        self.fault = Reason.LARGE if is_large else Reason.MALFORMED if self.message is None else None


def _name_of(part: Any) -> str:
    """Return the ``service.instance.id`` of a part; empty if it has none."""
    attributes = () if part is None else part.resource.attributes
    return next((one.value.string_value for one in attributes if one.key == "service.instance.id"), "")


def _with_points(metric: Any, kind: str, points: list[Any]) -> tuple[bytes, int]:
    """Return a metric with these points only, encoded, and how many they are."""
    made = type(metric)()
    made.CopyFrom(metric)
    getattr(made, kind).data_points.extend(points)
    return made.SerializeToString(), len(points)


def _parse(kind: Any, data: bytes) -> Any:
    """Return a message, or None if these bytes are none."""
    try:
        return kind.FromString(data)
    except DecodeError:
        return None
