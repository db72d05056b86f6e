"""What a spool may keep, and what has to go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
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
    """Yield the places of frames that have to go, the oldest first, and why; ``now`` is monotonic."""
    records, size = backlog.records, backlog.size
    for at, one in enumerate(backlog.kept):
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


def with_ages(kept: Sequence[Kept], now: float) -> list[Kept]:
    """Return frames that a process before this wrote, with the monotonic times from which their ages count.

    The newest begins now; of the others the differences of their times say it.  One below zero, or above
    :data:`STEP`, is a clock that jumped or a machine that was off: it makes nothing older than that.
    """
    since = [now]
    for later, earlier in pairwise(reversed(kept)):
        step = (later.head.written - earlier.head.written) / 1e9
        since.append(since[-1] - min(max(step, 0.0), STEP))
    return [replace(one, since=when) for one, when in zip(kept, reversed(since), strict=False)]
