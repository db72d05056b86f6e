"""What a spool may keep, and what has to go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from popham.streams.backlog import Backlog
from popham.streams.frame import Cause, Kind
from popham.streams.kept import Kept

STEP: Final = 3600.0
"""Seconds that the time between two frames counts, at most, where only their own times say it."""


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


def find_surplus(backlog: Backlog, limits: Limits, now: float) -> Iterator[tuple[int, Cause]]:
    """Yield the places of frames that have to go, the oldest first, and why; ``now`` is monotonic.

    What was appended last is never too much: a frame may have more records than a spool is to keep.
    """
    records, size = backlog.records, backlog.size
    last = len(backlog.kept) - 1
    for at, one in enumerate(backlog.kept):
        if one.head.kind is Kind.GAP:
            continue
        if records > limits.records and at < last:
            yield at, Cause.COUNT
        elif size > limits.bytes and at < last:
            yield at, Cause.BYTES
        elif one.since < now - limits.age:
            yield at, Cause.AGE
        else:
            return
        records -= one.head.count
        size -= one.head.total


def with_ages(kept: Sequence[Kept], now: float) -> list[Kept]:
    """Return frames that processes before this one wrote, with the monotonic times from which their ages count.

    The newest begins now; of the others the differences of their own times say it.  One below zero, or above
    :data:`STEP`, is a clock that jumped or a machine that was off, and makes nothing older than that.
    """
    since, dated, following = now, [], None
    for one in reversed(kept):
        if following is not None:
            since -= min(max((following.head.written - one.head.written) / 1e9, 0.0), STEP)
        dated.append(replace(one, since=since))
        following = one
    return dated[::-1]
