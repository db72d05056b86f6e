"""Time, passed in.

Timers run on the event loop's own clock, which is monotonic and which tests
replace by a virtual one.  Wall time is for documents and people only; no
decision about liveness depends on it.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What a component needs to know about time."""

    def now(self) -> float:
        """Return wall time, in seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return a time that never goes back, in seconds from an unknown start."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        """Return wall time, in seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return the machine's monotonic time, in seconds."""
        return time.monotonic()
