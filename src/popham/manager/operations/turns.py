"""One order after the other, each to its end: so what is open is counted right, and what is durable is told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Turns:
    """Lets one piece of work be done at a time, also if whoever asked for it is gone meanwhile."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def take(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns, once it is its turn; raises what it raises."""
        task = asyncio.ensure_future(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        async with self._lock:
            return await work
