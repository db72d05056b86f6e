"""Alerts of one Manager: follows events, looks at agents itself, and has routes told.

One task makes all changes of alerts, so that each follows from the one before; couriers only tell what is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from popham.clock import Clock
from popham.errors import StateError
from popham.manager.alerts.channels import make_channel
from popham.manager.alerts.outbox import Outbox
from popham.manager.alerts.own import Own, Sees
from popham.manager.alerts.settings import AlertsSettings
from popham.manager.alerts.silence import Silence
from popham.manager.alerts.taking import BATCH, find_untold, take_events, tell_again
from popham.manager.summary.window import Fleet
from popham.store.data_rows import RECOVERED
from popham.store.seam import Reading, Store, Writing

_log = logging.getLogger(__name__)
KEEP: Final = 7 * 86_400.0
"""Seconds that what has recovered, and silences that ended, are shown."""
LOOK: Final = 3600.0
"""Seconds between two looks for what is kept no more."""
RETRY: Final = 1.0
"""Seconds until another attempt, after the database had no room."""


class Alerts:
    """All that makes alerts, and tells them.

    Attributes:
        outbox: What is still to be told.
        loaded: Set once the alerts in the database are as all events before the start say.
    """

    def __init__(
        self, store: Store, fleet: Fleet, sees: Sees, clock: Clock, settings: AlertsSettings
    ) -> None:
        """Wire it; :meth:`run` does the work.

        Args:
            store: Has events, and takes alerts.
            fleet: All agents.
            sees: What is known of their data.
            clock: Dates everything.
            settings: When something is wrong, and who is told.

        Raises:
            ConfigError: A secret or a certificate of a route cannot be read.
        """
        self._store = store
        self._clock = clock
        self._routes = settings.routes
        channels = {route.name: make_channel(route, clock.now) for route in settings.routes}
        self.outbox = Outbox(channels, store, clock)
        self._own = Own(store, fleet, sees, clock, settings, told=self.news)
        self.loaded = asyncio.Event()
        self._woken = asyncio.Event()
        self._silenced = True
        self._ends: float | None = None

    def news(self, *_events: object) -> None:
        """Take note that there are events."""
        self._woken.set()

    def silences_changed(self) -> None:
        """Take note that a silence began or ended."""
        self._silenced = True
        self._woken.set()

    async def run(self) -> None:
        """Follow, look and tell until cancelled.

        Raises:
            StateError: The database failed; the process must end.
        """
        await self.outbox.load()
        await self.step()
        await self._own.load()
        self.loaded.set()
        work = [self._follow(), self._persist(self._own.run)]
        work += [self._persist(courier.run) for courier in self.outbox.couriers.values()]
        tasks = [asyncio.ensure_future(part) for part in work]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def step(self) -> None:
        """Take all events that are there; after a silence, tell what is still to be told."""
        while await self._take():
            pass
        now = self._clock.now()
        if self._silenced or (self._ends is not None and now >= self._ends):
            self._silenced = False
            self._ends = await self._store.read(partial(_next_end, now=now))
            await self._tell_again()

    async def look(self) -> int:
        """Look at all agents once; return how many changes were found."""
        return await self._own.look()

    async def _take(self) -> bool:
        full = self.outbox.full()
        taken = await self._store.write(lambda tx: take_events(tx, self._routes, full, now=self._clock.now()))
        self.outbox.note(taken)
        return taken.count >= BATCH

    async def _tell_again(self) -> None:
        keys = await self._store.read(partial(find_untold, routes=self._routes))
        for first in range(0, len(keys), BATCH):
            part, full = keys[first : first + BATCH], self.outbox.full()
            work = partial(tell_again, routes=self._routes, full=full, keys=part, now=self._clock.now())
            self.outbox.note(await self._store.write(work))

    async def _follow(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self.step()
                await self._wait()
            except StateError as error:
                if not error.retryable:
                    raise
                _log.warning("alerts are made later: %s", error)
                self._silenced = True
                await asyncio.sleep(RETRY)

    async def _wait(self) -> None:
        pause = LOOK if self._ends is None else max(0.0, min(LOOK, self._ends - self._clock.now()))
        try:
            async with asyncio.timeout(pause):
                await self._woken.wait()
        except TimeoutError:
            await self._store.write(partial(_prune, before=self._clock.now() - KEEP))

    async def _persist(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run a part again if the database had no room."""
        while True:
            try:
                await run()
            except StateError as error:
                if not error.retryable:
                    raise
                _log.warning("alerts go on later: %s", error)
                await asyncio.sleep(RETRY)


def _next_end(tx: Reading, *, now: float) -> float | None:
    return min((one.ends for one in map(Silence.of, tx.silences()) if one.ends > now), default=None)


def _prune(tx: Writing, *, before: float) -> None:
    for row in tx.alerts(open_only=False):
        if row.state == RECOVERED and row.since < before:
            tx.delete_alert(row.uid, row.item, row.resource)
    for silence in tx.silences():
        if silence.ends < before:
            tx.delete_silence(silence.name)
