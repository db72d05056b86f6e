"""How long things took: counts in buckets that grow by 9 %, so that processes can add theirs up."""

from __future__ import annotations

import math
from collections.abc import Mapping

_STEPS = 8
"""Buckets for each doubling."""
_LEAST = 1e-6
"""Seconds; whatever is shorter counts as this."""


class Histogram:
    """Counts of spans, in seconds."""

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        """Begin empty, or with what :meth:`encode` gave."""
        self.counts: dict[int, int] = {int(key): count for key, count in (counts or {}).items()}

    def add(self, seconds: float) -> None:
        """Count one span."""
        bucket = int(math.log2(max(seconds, _LEAST) / _LEAST) * _STEPS)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, other: Histogram) -> None:
        """Add the counts of another."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def encode(self) -> dict[str, int]:
        """Return the counts as JSON takes them."""
        return {str(bucket): count for bucket, count in self.counts.items()}

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.counts.values())

    def percentile(self, share: float) -> float:
        """Return seconds that ``share`` (0 to 1) of the spans do not exceed; 0 if there are none."""
        left = share * self.total
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return float(_LEAST * 2 ** ((bucket + 1) / _STEPS))
        return 0.0

    def describe(self) -> dict[str, float]:
        """Return count, and milliseconds of the median, of 99 in 100, and of the longest."""
        spans = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
        return {"count": self.total} | {
            name: round(self.percentile(share) * 1000, 3) for name, share in spans.items()
        }
