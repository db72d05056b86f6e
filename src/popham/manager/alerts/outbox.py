"""What is still to be told, by route: in order, tried again, bounded in number and age.

Rules:

1. A delivery leaves the database once its route said that it is told: at least once, always under the same number.
2. Each route has its own courier: one that is dead holds up no other, and loses its oldest, which is counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from popham.clock import Clock
from popham.errors import ConfigError, LinkError
from popham.manager.alerts.channels import Channel
from popham.manager.alerts.taking import Taken
from popham.store.data_rows import DeliveryRow
from popham.store.seam import Store, Writing

_log = logging.getLogger(__name__)
KEEP: Final = 256
"""Deliveries that wait for one route; each has up to 200 alerts."""
AGE: Final = 86_400.0
"""Seconds after which a delivery is told no more."""
FIRST, LONGEST = 1.0, 300.0
"""Seconds until the second attempt, and at most between two."""


class Courier:
    """Tells one route.

    Attributes:
        waiting: What is still to be told, the oldest first.
        dropped: Deliveries that were never told.
    """

    def __init__(self, name: str, channel: Channel, store: Store, clock: Clock) -> None:
        """Tell over ``channel``."""
        self.waiting: deque[DeliveryRow] = deque()
        self.dropped = 0
        self._name = name
        self._channel = channel
        self._store = store
        self._clock = clock
        self._news = asyncio.Event()
        self._told = float("-inf")

    def add(self, rows: Iterable[DeliveryRow]) -> None:
        """Take what is to be told."""
        self.waiting.extend(rows)
        self._news.set()

    def drop(self, rows: Sequence[DeliveryRow]) -> None:
        """Forget what made room, or is too old."""
        gone = {row.number for row in rows}
        self.waiting = deque(row for row in self.waiting if row.number not in gone)
        self.dropped += len(gone)
        _log.error(
            "route %s does not take alerts: %d deliveries were dropped so far", self._name, self.dropped
        )

    async def run(self) -> None:
        """Tell, until cancelled. Raises StateError."""
        while True:
            if not self.waiting:
                self._news.clear()
                await self._news.wait()
            await self.step()

    async def step(self) -> None:
        """Tell what is first, when it is due."""
        pause = max(
            self.waiting[0].at - self._clock.now(), self._told + self._channel.apart - self._clock.monotonic()
        )
        if pause > 0:
            # A clock that was set back must not make it wait for years.
            await asyncio.sleep(min(pause, LONGEST))
        rows = [row for _, row in zip(range(self._channel.together), self.waiting, strict=False)]
        if not rows:
            return
        self._told = self._clock.monotonic()
        try:
            await self._channel.tell(rows)
        except (LinkError, ConfigError) as error:
            await self._try_later(rows[0], error.problem)
            return
        await self._store.write(lambda tx: _delete(tx, rows))
        told = {row.number for row in rows}
        self.waiting = deque(row for row in self.waiting if row.number not in told)

    async def _try_later(self, first: DeliveryRow, why: str) -> None:
        now = self._clock.now()
        old = [row for row in self.waiting if _written(row) < now - AGE]
        later = min(LONGEST, FIRST * 2 ** min(first.attempts, 20))
        again = replace(first, attempts=first.attempts + 1, at=now + later, error=why)
        if first.attempts == 0:
            _log.warning("route %s: %s", self._name, why)

        def work(tx: Writing) -> None:
            _delete(tx, old)
            if again.number not in {row.number for row in old}:
                tx.put_delivery(again)

        if not any(row.number == first.number for row in self.waiting):
            return
        await self._store.write(work)
        self.waiting = deque(again if row.number == first.number else row for row in self.waiting)
        if old:
            self.drop(old)


class Outbox:
    """The couriers of all routes."""

    def __init__(self, channels: Mapping[str, Channel], store: Store, clock: Clock) -> None:
        """Tell over these channels, by route."""
        self._store = store
        self.couriers = {name: Courier(name, channel, store, clock) for name, channel in channels.items()}

    async def load(self) -> None:
        """Take up what the last process left; routes that are gone are told nothing."""
        rows = await self._store.read(lambda tx: tx.deliveries())
        lost = [row for row in rows if row.route not in self.couriers]
        if lost:
            await self._store.write(lambda tx: _delete(tx, lost))
        self._add([row for row in rows if row.route in self.couriers])

    def full(self) -> dict[str, DeliveryRow]:
        """Return route → its oldest delivery, of those that must drop one to take another."""
        return {
            name: courier.waiting[0]
            for name, courier in self.couriers.items()
            if len(courier.waiting) >= KEEP
        }

    def note(self, taken: Taken) -> None:
        """Take note of what a transaction did that is durable."""
        for row in taken.dropped:
            self.couriers[row.route].drop([row])
        self._add(taken.deliveries)

    def _add(self, rows: Iterable[DeliveryRow]) -> None:
        for row in rows:
            self.couriers[row.route].add([row])


def _delete(tx: Writing, rows: Iterable[DeliveryRow]) -> None:
    for row in rows:
        tx.delete_delivery(row.number, row.route)


def _written(row: DeliveryRow) -> float:
    return float(json.loads(row.body)["at"])
