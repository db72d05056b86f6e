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

from popham.errors import WireError
from popham.manager.otlp.pieces import Piece, walk, walk_json
from popham.manager.otlp.signals import Signal

RECORD: Final = 256 * 1024
"""Bytes of one record, encoded."""
AROUND: Final = 64 * 1024
"""Bytes of a resource, and of a scope, encoded: they stand in each frame again."""
RECORDS: Final = 65_536
"""Records of one request: what is read of them holds up the interpreter for a fraction of a second."""


class Reason(StrEnum):
    """Why a record was rejected."""

    LARGE = "too_large"
    MALFORMED = "malformed"


_SENTENCES: Final = {
    Reason.LARGE: f"are larger than {RECORD} bytes, or their resource or scope than {AROUND}",
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


def read(body: bytes, signal: Signal, owner: Callable[[str], bytes], *, is_json: bool) -> Reading:
    """Return what a request has.

    Args:
        body: The request.
        signal: What it is to have.
        owner: Returns whose records are, by the ``service.instance.id`` of their resource.
        is_json: Whether it is in JSON.

    Raises:
        WireError: ``wire.malformed``: it is none. ``wire.too_large``: it has too many records.
    """
    reader = _Reader(signal, owner)
    for number, piece in enumerate(walk_json(body, signal) if is_json else walk(body), 1):
        reader.add(piece)
        if max(number, reader.records) > RECORDS:
            raise WireError("too_large", f"A request has at most {RECORDS} records", "Send smaller batches")
    return reader.reading


class _Reader:
    """Looks at pieces, one after the other; what is around many of them once."""

    def __init__(self, signal: Signal, owner: Callable[[str], bytes]) -> None:
        self._signal = signal
        self._owner = owner
        self._part: tuple[bytes | None, bytes | Reason] = None, Reason.MALFORMED
        self._scope: tuple[bytes | None, Reason | None] = None, Reason.MALFORMED
        self.reading = Reading()
        self.records = 0

    def add(self, piece: Piece) -> None:
        """Keep a piece, or reject it."""
        item = None if piece.data is None else _parse(self._signal.item, piece.data)
        count = 1 if item is None else self._signal.count(item)
        self.records += count
        owner, fault = self._owner_of(piece.part), self._fault_of(piece.scope)
        if item is None or isinstance(owner, Reason) or fault is not None:
            reason = Reason.MALFORMED if item is None else fault or owner
            self.reading.rejected[Reason(reason)] += count
            return
        for data, points in self._divide(piece.data or b"", item, count):
            self.reading.items.append(Item(owner, piece.part or b"", piece.scope or b"", data, points))

    def _divide(self, data: bytes, item: Any, count: int) -> Iterator[tuple[bytes, int]]:
        """Yield an item, or a large metric's points in several; count what is too large."""
        if len(data) <= RECORD:
            if count:
                yield data, count
        elif self._signal.item is not type(item) or not hasattr(item, "WhichOneof") or count <= 1:
            self.reading.rejected[Reason.LARGE] += max(1, count)
        else:
            yield from self._divide_points(item)

    def _divide_points(self, metric: Any) -> Iterator[tuple[bytes, int]]:
        kind = metric.WhichOneof("data")
        points = list(getattr(metric, kind).data_points)
        del getattr(metric, kind).data_points[:]
        room = RECORD - metric.ByteSize()
        taken: list[Any] = []
        size = 0
        for point in points:
            one = point.ByteSize() + 8
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

    def _owner_of(self, part: bytes | None) -> bytes | Reason:
        if part is None or part is not self._part[0]:
            self._part = part, self._find_owner(part)
        return self._part[1]

    def _find_owner(self, part: bytes | None) -> bytes | Reason:
        if part is not None and len(part) > AROUND:
            return Reason.LARGE
        found = None if part is None else _parse(self._signal.part, part)
        if found is None:
            return Reason.MALFORMED
        named = (one.value.string_value for one in found.resource.attributes if one.key == "service.instance.id")
        return self._owner(next(named, ""))

    def _fault_of(self, scope: bytes | None) -> Reason | None:
        if scope is None or scope is not self._scope[0]:
            fault = Reason.LARGE if scope is not None and len(scope) > AROUND else None
            is_sound = scope is not None and (fault or _parse(self._signal.scope, scope) is not None)
            self._scope = scope, fault if is_sound else Reason.MALFORMED
        return self._scope[1]


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
