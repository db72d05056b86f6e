"""Virtual time: an event loop that jumps to its next timer instead of waiting.

A simulated day takes as long as its events; a deadlock is an error instead of
a hang.  Threads and sockets do not belong in it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
EPOCH = 1_800_000_000.0
"""Unix seconds at which simulated time begins; any number would do."""


class _Jumping(selectors.SelectSelector):
    """A selector that never waits: it moves the clock instead."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer is set")
        self._clock.elapsed += max(timeout, 0.0)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return super().get_map()


class VirtualClock:
    """Wall time and monotonic time of a simulation.

    Attributes:
        elapsed: Seconds since the simulation began.
        offset: Seconds by which the wall clock is wrong; monotonic time is not.
    """

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.offset = 0.0

    def now(self) -> float:
        """Return simulated wall time, in unix seconds."""
        return EPOCH + self.elapsed + self.offset

    def monotonic(self) -> float:
        """Return simulated seconds since the beginning."""
        return self.elapsed


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a :class:`VirtualClock`."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        super().__init__(_Jumping(clock))

    def time(self) -> float:
        """Return simulated seconds since the beginning."""
        return self.clock.elapsed

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Return what a call returned, which is made at once: simulated time does not wait for threads."""
        del executor
        answer: asyncio.Future[T] = self.create_future()
        try:
            answer.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # it is raised where the answer is awaited
            answer.set_exception(error)
        return answer


async def pass_time(seconds: float) -> None:
    """Let so many seconds of simulated time pass, with all that happens in them; nobody waits for them.

    Raises:
        RuntimeError: Time is not simulated here: use it under :func:`run_virtual`.
    """
    simulated = isinstance(asyncio.get_running_loop(), VirtualLoop)
    if not simulated:
        raise RuntimeError("only simulated time can be passed")
    await asyncio.sleep(seconds)


def run_virtual(coroutine: Coroutine[Any, Any, T], clock: VirtualClock) -> T:
    """Run ``coroutine`` to its end in virtual time and return its result."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(coroutine)
