"""Alerts about services that the Manager asks itself: one for each probe that is down."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Final

from popham.clock import Clock
from popham.manager.alerts.alert import PROBE
from popham.manager.alerts.alerts import Alerts
from popham.manager.alerts.own import own_event
from popham.manager.itself import MANAGER
from popham.manager.summary.events import add_events
from popham.store.data_rows import RECOVERED, AlertRow, EventRow
from popham.store.seam import Reading, Store, Writing

UID: Final = str(MANAGER)


class ProbeAlerts:
    """What is known to be down, compared with what was found now: a change is told once."""

    def __init__(self, store: Store, alerts: Alerts, clock: Clock) -> None:
        """Keep what is needed; :meth:`load` comes first.

        Args:
            store: Takes events.
            alerts: Makes alerts of them.
            clock: Dates them.
        """
        self._store = store
        self._alerts = alerts
        self._clock = clock
        self._down: set[str] = set()

    async def load(self, names: Collection[str]) -> None:
        """Read what is down; what none of ``names`` asks any more has recovered. Raises StateError."""
        await self._alerts.loaded.wait()
        rows: list[AlertRow] = await self._store.read(_open_rows)
        self._down = {row.resource for row in rows}
        for name in sorted(self._down.difference(names)):
            await self.note(name, f"{name}: is not asked any more", down=False)

    async def note(self, name: str, text: str, *, down: bool) -> None:
        """Take note of how a service is.

        Raises:
            StateError: The change could not be written; it is still to be told.
        """
        if down is (name in self._down):
            return
        state = "error" if down else RECOVERED
        event = own_event(UID, PROBE, (state, text), self._clock.now(), resource=name)
        await self._store.write(partial(_write, event=event))
        (self._down.add if down else self._down.remove)(name)
        self._alerts.news()


def _write(tx: Writing, *, event: EventRow) -> None:
    add_events(tx, [event])


def _open_rows(tx: Reading) -> list[AlertRow]:
    return [row for row in tx.alerts(uid=UID) if row.item == PROBE]
