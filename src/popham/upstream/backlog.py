"""Reports that came over held links faster than they can be heard: kept for a moment, then heard in order.

Whoever is told reports back, and hearing one report costs as much as telling four
agents.  So while news goes out reports wait here, and the last agent has it sooner;
and however many come at once, only some are heard in each turn of the loop.

Rules:

1. What one agent said is heard in the order in which it was said.
2. Nothing is lost: a link that closes has what waits of it heard first.
3. Memory is bounded: past :data:`MESSAGES` or :data:`SIZE` the oldest is heard at once.
4. A heartbeat never waits, unless a report of the same link does.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from popham.clock import Clock
from popham.net.seam import Answer
from popham.opamp.codec import read_heartbeat
from popham.upstream.ends import LinkEnd

MESSAGES = 20_000
"""Reports that may wait: one for each link that a process can hold. Each costs some 600 bytes beside its own."""
SIZE = 16 * 1024 * 1024
"""Bytes of reports that may wait; with the above, 28 MB in all."""
HOLD = 1.0
"""Seconds that a report waits for news that still goes out; then some are heard between its slices."""
SLICE = 32
"""Reports that are heard in one turn of the loop, which takes some 2 ms; the others wait for the next."""


class Backlog:
    """What waits to be heard, by link, the oldest first.

    Attributes:
        size: Bytes that wait.
    """

    def __init__(self, clock: Clock, hear: Callable[[LinkEnd, bytes], Answer]) -> None:
        """Hear by ``hear``."""
        self.size = 0
        self._clock = clock
        self._hear = hear
        self._holding = False
        self._count = 0
        self._heard = 0
        self._turn: asyncio.Handle | None = None
        self._waiting: OrderedDict[LinkEnd, _Said] = OrderedDict()
        self._tasks: set[asyncio.Future[bytes]] = set()

    def __len__(self) -> int:
        """Return how many messages wait."""
        return self._count

    def hold(self) -> None:
        """Have reports wait from now on, until :meth:`let_go`."""
        self._holding = True

    def let_go(self) -> None:
        """Have reports heard again, those that wait first."""
        self._holding = False
        self._next_turn()

    def takes(self, end: LinkEnd, data: bytes) -> bool:
        """Return whether this message has to wait: news goes out, others came before it, or too many at once."""
        if not self._waiting and not self._holding:
            self._heard += 1
            if self._heard <= SLICE:
                self._next_turn()
                return False
        return end in self._waiting or read_heartbeat(data, 1) is None

    def keep(self, end: LinkEnd, data: bytes) -> asyncio.Future[bytes]:
        """Have a message wait; the answer comes once it was heard."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        said = self._waiting.get(end)
        if said is None:
            said = self._waiting[end] = _Said(self._clock.monotonic())
        said.messages.append((data, answer))
        self._count += 1
        self.size += len(data)
        if not self._holding:
            self._next_turn()
        while self._count > MESSAGES or self.size > SIZE:
            self.release(1)
        return answer

    def overdue(self) -> bool:
        """Return whether the oldest has waited for :data:`HOLD`."""
        if not self._waiting:
            return False
        oldest = next(iter(self._waiting.values()))
        return self._clock.monotonic() - oldest.since >= HOLD

    def release(self, links: int = SLICE) -> None:
        """Hear what so many links said, the oldest first."""
        for _ in range(min(links, len(self._waiting))):
            self._release(*self._waiting.popitem(last=False))

    def release_link(self, end: LinkEnd) -> None:
        """Hear what a link said that is gone."""
        said = self._waiting.pop(end, None)
        if said is not None:
            self._release(end, said)

    def _next_turn(self) -> None:
        """Have some heard in the next turn of the loop, and know then that it is another."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._hear_some)

    def _hear_some(self) -> None:
        self._turn = None
        self._heard = 0
        if self._waiting and not self._holding:
            self._heard = SLICE
            self.release()
            self._next_turn()

    def _release(self, end: LinkEnd, said: _Said) -> None:
        for data, answer in said.messages:
            self._count -= 1
            self.size -= len(data)
            try:
                found = self._hear(end, data)
            except Exception as error:  # noqa: BLE001  # it is raised where the answer is awaited
                if not answer.done():
                    answer.set_exception(error)
                continue
            if isinstance(found, bytes):
                if not answer.done():
                    answer.set_result(found)
                continue
            durable = asyncio.ensure_future(found)
            # Whoever asked may be gone; what it said is made durable all the same.
            self._tasks.add(durable)
            durable.add_done_callback(partial(self._answered, answer))

    def _answered(self, answer: asyncio.Future[bytes], durable: asyncio.Future[bytes]) -> None:
        self._tasks.discard(durable)
        if durable.cancelled():
            answer.cancel()
            return
        error = durable.exception()
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(durable.result())


class _Said:
    """What one link said, and since when it waits."""

    __slots__ = ("messages", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.messages: list[tuple[bytes, asyncio.Future[bytes]]] = []
