"""What a Manager finds itself about its agents: who is silent, has not what it should have, lags, or has a wrong clock.

Rules:

1. What is compared is levels, at moments: however often something changes in between, it is told once.
2. Looking at all agents takes the same time whatever is wrong with them, in slices, so that links are served; what is
   found is written a batch at a time.
3. Time in which this Manager did not serve counts against nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, Protocol

from popham.clock import Clock
from popham.manager.alerts.alert import OWN, WATCHED
from popham.manager.alerts.settings import AlertsSettings
from popham.manager.judgement import judge_record
from popham.manager.summary.events import add_events
from popham.manager.summary.window import Fleet
from popham.model.duration import show_duration
from popham.model.fleet import Admission
from popham.model.status import Presence, SyncState, presence
from popham.store.data_rows import RECOVERED, EventRow
from popham.store.seam import Reading, Store, Writing
from popham.upstream.record import Record

EVERY: Final = 10.0
"""Seconds between two looks."""
SLICE: Final = 0.003
"""Seconds of looking between two rests."""
REST: Final = 0.015
"""Seconds of rest: a look takes a sixth of the loop at most."""
BATCH: Final = 200
"""Changes that are written at once."""
LATE: Final = 60.0
"""Seconds for which a summary must be late."""
_LOOK: Final = 64
"""Agents between two looks at the clock."""
_SEVERITY: Final = {RECOVERED: 9, "warning": 13, "error": 17}
"""State → OTLP's number."""
Found = tuple[str, str]
"""State, and one sentence."""
_Change = tuple[str, str, Found]


class Sees(Protocol):
    """What is known of agents' data; :class:`popham.manager.summary.window.Window` is one."""

    def skew(self, uid: str) -> float | None:
        """Return the seconds that an agent's clock is ahead of ours; None if that is not known."""
        ...

    def waiting(self, uid: str) -> int:
        """Return the records that wait at an agent, as it said last."""
        ...

    def is_late(self, record: Record, here: Presence, now: float) -> bool:
        """Return whether its summary is older than it should be."""
        ...


class Own:
    """Looks at all agents again and again."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        sees: Sees,
        clock: Clock,
        settings: AlertsSettings,
        *,
        told: Callable[[], None],
    ) -> None:
        """Keep what is needed; :meth:`run` does the work.

        Args:
            store: Takes events.
            fleet: All agents.
            sees: What is known of their data.
            clock: Says how long somebody is silent.
            settings: From when on something is wrong.
            told: Told that there are events. Must not wait.
        """
        self._store = store
        self._fleet = fleet
        self._sees = sees
        self._clock = clock
        self._settings = settings
        self._told = told
        self._known: dict[tuple[str, str], str] = {}
        self._late: dict[str, float] = {}

    async def load(self) -> None:
        """Read what is known to be wrong; all events must have been taken."""
        self._known = await self._store.read(_open_items)

    async def run(self) -> None:
        """Look, until cancelled. Raises StateError."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> int:
        """Look at everybody once; return how many changes were found."""
        changes: list[_Change] = []
        count, began, seen = 0, self._clock.monotonic(), set()
        for number, record in enumerate(list(self._fleet.records())):
            if number % _LOOK == 0 and self._clock.monotonic() - began > SLICE:
                await asyncio.sleep(REST)
                began = self._clock.monotonic()
            seen.add(record.uid)
            changes += self._changes(record.uid, dict(self._judge(record)))
            if len(changes) >= BATCH:
                count += await self._tell(changes)
                changes = []
        for uid in self._late.keys() - seen:
            del self._late[uid]
        for uid in {uid for uid, _ in self._known} - seen:
            changes += self._changes(uid, {})
        while changes:
            count += await self._tell(changes[:BATCH])
            changes = changes[BATCH:]
        return count

    def _changes(self, uid: str, found: Mapping[str, Found]) -> Iterator[_Change]:
        for item in WATCHED:
            state, text = found.get(item, (RECOVERED, f"{item}: recovered"))
            if self._known.get((uid, item), RECOVERED) != state:
                yield uid, item, (state, text)

    def _judge(self, record: Record) -> Iterator[tuple[str, Found]]:
        """Yield what is wrong with an agent."""
        if record.admission is not Admission.ACCEPTED:
            return
        now = self._clock.now()
        here = presence(record.last_contact, record.promise, now, self._fleet.downtimes)
        if here in {Presence.OVERDUE, Presence.MISSING}:
            silent = show_duration(float(int(now - (record.last_contact or now))))
            state = "warning" if here is Presence.OVERDUE else "error"
            yield "presence", (state, f"{here}: not heard of for {silent}{self._blame(record, now)}")
        sync = judge_record(record, self._fleet.wanted(record.group))
        if sync in {SyncState.FAILED, SyncState.DRIFTED}:
            yield "sync", ("error" if sync is SyncState.FAILED else "warning", f"its policies are {sync}")
        waiting = self._sees.waiting(record.uid)
        if waiting > self._settings.waiting:
            yield "lagging", ("warning", f"{waiting} records wait at the agent")
        elif self._stays_late(record, here, now):
            yield "lagging", ("warning", "its summary is older than it should be")
        skew = self._sees.skew(record.uid)
        if skew is not None and abs(skew) > self._settings.skew:
            way = "ahead" if skew > 0 else "behind"
            yield "clock-skew", ("warning", f"its clock is {abs(skew):.0f} s {way}")

    def _blame(self, record: Record, now: float) -> str:
        """Return that the proxy is away by which an agent is heard of; empty if it is not, or there is none."""
        if record.relay is None:
            return ""
        proxy = record.relay.roll.proxy
        there = presence(proxy.last_contact, proxy.promise, now, self._fleet.downtimes)
        return "" if there is Presence.ON_TIME else f"; it is behind the proxy {proxy.name}, which is {there}"

    def _stays_late(self, record: Record, here: Presence, now: float) -> bool:
        """Return whether a summary is late for a while: the first after a pause has to come yet."""
        if here is not Presence.ON_TIME or not self._sees.is_late(record, here, now):
            self._late.pop(record.uid, None)
            return False
        at = self._clock.monotonic()
        return at - self._late.setdefault(record.uid, at) >= LATE

    async def _tell(self, changes: list[_Change]) -> int:
        rows = [own_event(*change, self._clock.now()) for change in changes]
        await self._store.write(partial(_write, rows=rows))
        for uid, item, (state, _) in changes:
            self._known[uid, item] = state
            if state == RECOVERED:
                del self._known[uid, item]
        self._told()
        return len(changes)


def _write(tx: Writing, *, rows: list[EventRow]) -> None:
    add_events(tx, rows)


def own_event(uid: str, item: str, found: Found, now: float, *, resource: str = "") -> EventRow:
    """Return what the Manager found, as an event without a number yet."""
    state, text = found
    labels = {"popham.item": item, "popham.state": state}
    body = {
        "own": True,
        "text": text,
        "attributes": labels | ({"popham.resource": resource} if resource else {}),
        "time": now,
    }
    return EventRow(
        number=0,
        uid=uid,
        at=now,
        received=now,
        name=OWN,
        severity=_SEVERITY[state],
        body=json.dumps(body, separators=(",", ":"), sort_keys=True),
    )


def _open_items(tx: Reading) -> dict[tuple[str, str], str]:
    return {(row.uid, row.item): row.state for row in tx.alerts() if row.item in WATCHED}
