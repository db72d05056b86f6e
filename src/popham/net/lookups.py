"""Calls that may block for long, made beside the event loop and given up after a while.

Rules:

1. Each call runs in a daemon thread of its own: one that hangs in a resolver or on a dead
   file server keeps nobody from stopping.
2. What hangs is not asked again before it came back, and not more than so many at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")
THREADS_MAX: Final = 32
"""Calls under way at once; further ones are not made."""


class Lookups:
    """Makes blocking calls in threads, each within a bound."""

    def __init__(self) -> None:
        # Name of a call → its answer, and the time of the loop at which nobody waits for it any more.
        self._under_way: dict[str, tuple[asyncio.Future[Any], float]] = {}

    async def ask(self, key: str, call: Callable[[], T], *, seconds: float) -> T | None:
        """Return what ``call`` returned; None if it took longer, raised OSError, or cannot be made now.

        Args:
            key: Names the call; a second one of that name is not made while the first is under way, and
                gets its answer.
            call: Runs in a thread.
            seconds: How long to wait.
        """
        if key not in self._under_way:
            if len(self._under_way) >= THREADS_MAX:
                return None
            try:
                self._begin(key, call, asyncio.get_running_loop(), seconds)
            except RuntimeError:  # the system lets this process have no more threads
                return None
        answer, until = self._under_way[key]
        try:
            async with asyncio.timeout_at(until):
                found: T | None = await asyncio.shield(answer)
                return found
        except TimeoutError:
            return None

    def _begin(
        self, key: str, call: Callable[[], T], loop: asyncio.AbstractEventLoop, seconds: float
    ) -> None:
        answer: asyncio.Future[T | None] = loop.create_future()

        def settle(value: T | None) -> None:
            del self._under_way[key]
            answer.set_result(value)

        def run() -> None:
            try:
                value: T | None = call()
            except OSError:
                value = None
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, value)

        threading.Thread(target=run, name=f"lookup {key[:40]}", daemon=True).start()
        self._under_way[key] = answer, loop.time() + seconds
