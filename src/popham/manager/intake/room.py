"""How much the intake may still write, and what it takes when that is little.

Rules:

1. It never takes the disk's last bytes: the database needs them, and whoever clears up (REL-3).
2. It never deletes what was not derived: over its bound it refuses, and agents keep what they have.  What was derived
   goes before anything is refused, however new it is.
3. What is dear is refused last: logs, then metrics, then the summary, then events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from popham.streams.frame import Stream

STEP: Final = 16 * 1024 * 1024
"""Bytes that each stream leaves to those that are dearer."""
MARGINS: Final[Mapping[Stream, int]] = MappingProxyType(
    {Stream.EVENTS: 0, Stream.SUMMARY: STEP, Stream.METRICS: 2 * STEP, Stream.LOGS: 3 * STEP}
)


class Room:
    """What is left, as it was when it was last looked at."""

    def __init__(self, free: Callable[[], int], *, reserve: int, limit: int) -> None:
        """Keep the bounds.

        Args:
            free: Returns the bytes that the disk has left; raises OSError.
            reserve: Bytes of it that are not the intake's.
            limit: Bytes of all segments.
        """
        self._free = free
        self._reserve = reserve
        self._limit = limit
        self.left = limit
        """Bytes that may still be written."""

    def look(self, used: int) -> None:
        """Look anew. ``used`` is the bytes of all segments. Raises OSError."""
        self.left = min(self._free() - self._reserve, self._limit - used)

    def spend(self, size: int) -> None:
        """Note that ``size`` bytes were written since."""
        self.left -= size

    def run_out(self) -> None:
        """Note that the disk took no more; until it is looked at anew, nothing is taken."""
        self.left = 0

    @property
    def is_short(self) -> bool:
        """Return whether so little is left that what was derived has to go: an eighth of the bound."""
        return self.left < self._limit // 8

    def takes(self, stream: Stream) -> bool:
        """Return whether records of a stream are taken."""
        return self.left > MARGINS[stream]
