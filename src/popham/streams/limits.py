"""What a spool may keep, and what has to go: gaps in the place of what was dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from popham.streams.frame import Cause, Head, Kind
from popham.streams.gap import make_gap
from popham.streams.kept import Kept

GAPS: Final = 64
"""Gaps that are noted apart; of more, neighbours are joined whatever their causes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a spool may keep.

    Attributes:
        records: Records. Source: Systemwalker SQC keeps 30,000.
        bytes: Of their frames.
        age: Seconds that the agent ran since they were appended. Source: guarantees REL-7, 72 h.
    """

    records: int = 30_000
    bytes: int = 256 * 1024 * 1024
    age: float = 72 * 3600.0


def find_surplus(kept: Sequence[Kept], limits: Limits, now: float) -> Iterator[tuple[int, Cause]]:
    """Yield the places of frames that have to go, the oldest first, and why; ``now`` is monotonic."""
    records = sum(one.head.count for one in kept if one.head.kind is Kind.RECORDS)
    size = sum(one.head.total for one in kept if one.head.kind is Kind.RECORDS)
    for at, one in enumerate(kept):
        if one.head.kind is Kind.GAP:
            continue
        if records > limits.records:
            yield at, Cause.COUNT
        elif size > limits.bytes:
            yield at, Cause.BYTES
        elif one.since < now - limits.age:
            yield at, Cause.AGE
        else:
            return
        records -= one.head.count
        size -= one.head.total


def join_gaps(kept: Sequence[Kept]) -> list[Kept]:
    """Return frames with one gap for neighbours of one cause; of too many, whatever their causes."""
    number = sum(one.segment is None for one in kept)
    joined: list[Kept] = []
    for one in kept:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.segment is None
            and one.segment is None
            and (last.head.cause is one.head.cause or number > GAPS)
        ):
            head = replace(last.head, count=last.head.count + one.head.count, tail=one.head.tail)
            joined[-1] = replace(last, head=head)
        else:
            joined.append(one)
    return joined


def gap_for(head: Head, cause: Cause, boot: bytes) -> Head:
    """Return the head of a gap that stands for a frame."""
    return make_gap(
        cause,
        stream=head.stream,
        uid=head.uid,
        epoch=head.epoch,
        first=head.first,
        count=head.count,
        boot=boot,
        written=head.written,
        before=head.before,
        tail=head.tail,
    ).head
