"""Two histories of one stream: which frames of ours upstream has, although it has another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from popham.streams.frame import Head
from popham.streams.standing import BOOTS, Standing


@dataclass(frozen=True, slots=True)
class Known:
    """Which frames of this history upstream has, where it has another one."""

    boots: Mapping[bytes, int]
    below: int
    oldest: int

    def has(self, head: Head) -> bool:
        """Return whether upstream has a frame."""
        return head.end <= self.below and (head.boot in self.boots or head.first < self.oldest)


def known_to(standing: Standing | None) -> Known:
    """Return which frames are known where this is said of our epoch; none if nothing is."""
    if standing is None:
        return Known({}, 0, 0)
    boots = {one.boot: one.first for one in standing.boots}
    # Of those before, it does not say which.
    oldest = standing.boots[0].first if len(standing.boots) >= BOOTS else 0
    return Known(boots, standing.next, oldest)
