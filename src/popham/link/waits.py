"""A wait that something may end, and something else may cut short."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable


async def wait_for_first(seconds: float | None, *events: asyncio.Event) -> None:
    """Return when the first of ``events`` is set, or the time is up; None for no end."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


class Waits:
    """The waits of one kind, one after another."""

    def __init__(self, *, once: bool = False) -> None:
        """Begin; ``once`` means that only one wait is cut short until :meth:`renew`."""
        self._once = once
        self._cut = False
        self._timeout: asyncio.Timeout | None = None

    async def wait(self, event: asyncio.Event, seconds: float, *, fixed: bool = False) -> None:
        """Wait for ``event``, ``seconds`` at most; a ``fixed`` wait cannot be cut short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds) as timeout:
                self._timeout = None if fixed else timeout
                try:
                    await event.wait()
                finally:
                    self._timeout = None

    def shorten(self, left: Callable[[float], float]) -> float:
        """Make the wait that is under way as short as ``left`` says of the seconds that are left.

        Returns:
            The time of the loop at which it ends; infinity if it was not shortened.
        """
        timeout, when = self._timeout, self._timeout.when() if self._timeout else None
        if timeout is None or when is None or timeout.expired() or (self._once and self._cut):
            return math.inf
        now = asyncio.get_running_loop().time()
        sooner = now + left(when - now)
        if sooner >= when:
            return math.inf
        self._cut = True
        timeout.reschedule(sooner)
        return sooner

    def renew(self) -> None:
        """Let a wait be cut short again."""
        self._cut = False
