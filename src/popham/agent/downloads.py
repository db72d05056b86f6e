"""Bodies of policies are fetched a part of the spread later than the bundle that names them came.

Otherwise all that hear of a large policy in the same minute would fetch it in that minute.

What is not put off: the first round of an agent, a push order, and a check-in that somebody asked for;
what came inline with the bundle; the bundle itself and every report. Critical events are no downloads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Downloads:
    """One wait at a time, drawn anew for each bundle that begins one."""

    def __init__(self, draw: Callable[[], float], due: Callable[[], None]) -> None:
        """Begin without one.

        Args:
            draw: Random number in [0, 1), not the phase of rounds: their sum would be the same for all.
            due: Called when the wait is over.
        """
        self._draw = draw
        self._due = due
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> bool:
        """Whether bodies wait."""
        return self._timer is not None

    def begin(self, window: float) -> None:
        """Let bodies wait for up to ``window`` seconds; a wait that has begun goes on."""
        if self._timer is None and window > 0:
            self._timer = asyncio.get_running_loop().call_later(window * self._draw(), self._end)

    def cancel(self) -> None:
        """Let nothing wait any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        self._due()
