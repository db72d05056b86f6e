"""What the intake says of one stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from popham.manager.intake.appends import Append
from popham.manager.intake.position import Position
from popham.manager.intake.views import IntakeView, ReaderView
from popham.manager.intake.writer import Part
from popham.streams.frame import Stream


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits for the disk: records, bytes, and for how many seconds the oldest."""

    records: int = 0
    bytes: int = 0
    oldest: float = 0.0

    @classmethod
    def of(cls, appends: Iterable[Append], now: float) -> Self:
        """Return it of appends, the oldest first; ``now`` is by the monotonic clock."""
        found = tuple(appends)
        if not found:
            return cls()
        records, size = sum(one.records for one in found), sum(one.size for one in found)
        return cls(records, size, max(0.0, now - found[0].since))


def view_part(
    stream: Stream, part: Part, depth: Depth, *, appended: float, refused: Mapping[str, int], now: float
) -> IntakeView:
    """Return how the intake of a stream is.

    Args:
        stream: Which.
        part: What is written of it.
        depth: What waits.
        appended: Records that became durable in a second.
        refused: Reason → appends refused.
        now: Unix seconds.
    """
    total = part.standings.total
    return IntakeView(
        name=stream,
        queued=depth.records,
        queued_bytes=depth.bytes,
        oldest=depth.oldest,
        appended=appended,
        refused=dict(refused),
        stored=total.stored,
        lost={cause: count for cause, count in total.lost.items() if count},
        damaged=part.shelf.damaged,
        segments=len(part.shelf.extent.segments),
        bytes=part.shelf.extent.size,
        readers=tuple(_view_reader(name, at, part, now) for name, at in sorted(part.readers.items())),
    )


def _view_reader(name: str, position: Position, part: Part, now: float) -> ReaderView:
    behind = part.shelf.extent.behind(position)
    seconds = 0.0 if behind.since is None else max(0.0, now - behind.since)
    return ReaderView(name=name, bytes=behind.bytes, records=behind.records, seconds=seconds)
