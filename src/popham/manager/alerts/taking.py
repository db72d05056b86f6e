"""From events to alerts, and from alerts to what is to be told, in one transaction: exactly once.

One delivery of a route has all alerts of a transaction that it is to know of: a storm is told in few.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from popham.manager.alerts.alert import Alert, read_event
from popham.manager.alerts.silence import Silence, Who, is_meant
from popham.manager.itself import name_of
from popham.manager.moves import labels_of
from popham.manager.objects import lineage_of, read_tree
from popham.manager.summary.events import NUMBERED
from popham.store.data_rows import AlertRow, DeliveryRow
from popham.store.seam import Reading, Writing

POSITION: Final = "alerts.number"
"""Key of the number of the last event that was taken."""
BATCH: Final = 200
"""Events, or alerts, of one transaction; and so the most that one delivery has."""

ALERTS_MAX: Final = 5000
"""Alerts that are kept of one agent; its thresholds have fewer states."""


class Route(Protocol):
    """Whom alerts are told; :class:`popham.manager.alerts.settings.LogRoute` is one."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def group(self) -> str:
        """Of which group; empty for all."""
        ...

    @property
    def selector(self) -> str:
        """Of agents with which labels; empty for all."""
        ...

    @property
    def at_least(self) -> str:
        """``warning`` or ``error``."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """What a transaction did.

    Attributes:
        count: Events, or alerts, that it took.
        deliveries: What is to be told.
        dropped: What is not told any more, to make room.
    """

    count: int
    deliveries: Sequence[DeliveryRow] = ()
    dropped: Sequence[DeliveryRow] = ()


class Teller:
    """Tells routes what they do not know yet, inside one transaction."""

    def __init__(
        self, tx: Writing, routes: Sequence[Route], full: Mapping[str, DeliveryRow], now: float
    ) -> None:
        """Tell inside ``tx``.

        Args:
            tx: The transaction.
            routes: All of them.
            full: Route → its oldest delivery, of those that must drop one to take another.
            now: Unix seconds.
        """
        self._tx = tx
        self._routes = routes
        self._full = full
        self._now = now
        self._silences = [one for one in map(Silence.of, tx.silences()) if one.holds(now)]
        self._people = People(tx)

    def tell(self, alerts: Iterable[Alert], count: int) -> Taken:
        """Store alerts, and what is to be told of them."""
        said: dict[str, list[dict[str, Any]]] = {}
        kept = list(alerts)
        self._people.load({alert.uid for alert in kept})
        for alert in kept:
            self._tx.put_alert(self._tell_one(alert, said).row())
        deliveries, dropped = [], []
        for route, items in said.items():
            deliveries.append(self._deliver(route, items))
            if route in self._full:
                dropped.append(self._full[route])
                self._tx.delete_delivery(self._full[route].number, route)
        return Taken(count, deliveries, dropped)

    def _tell_one(self, alert: Alert, said: dict[str, list[dict[str, Any]]]) -> Alert:
        who = self._people[alert.uid]
        if any(silence.covers(who, alert.item, alert.resource) for silence in self._silences):
            return alert
        for route in self._routes:
            level = alert.level_for(route.at_least)
            if not alert.knows(route.name, level) and is_meant(who, route.group, route.selector):
                said.setdefault(route.name, []).append(_show(alert, who, level))
                alert = alert.telling(route.name, level)
        return alert

    def _deliver(self, route: str, items: list[dict[str, Any]]) -> DeliveryRow:
        number = max(int(self._tx.meta(NUMBERED) or 0), self._tx.last_event()) + 1
        self._tx.set_meta(NUMBERED, str(number))
        body = {"at": self._now, "alerts": items}
        row = DeliveryRow(
            number=number,
            route=route,
            at=self._now,
            attempts=0,
            body=json.dumps(body, separators=(",", ":"), ensure_ascii=False),
        )
        self._tx.put_delivery(row)
        return row


class People:
    """Agents by uid, with the groups they are in, as one snapshot has them."""

    def __init__(self, tx: Reading) -> None:
        """Read from ``tx``."""
        self._tx = tx
        self._tree = read_tree(tx)
        self._known: dict[str, Who] = {}

    def load(self, uids: Iterable[str]) -> None:
        """Read several at once."""
        for uid, row in self._tx.agents_of(sorted(uids)).items():
            groups = lineage_of(self._tree, row.group)
            self._known[uid] = Who(name=row.name, groups=groups, labels=labels_of(row))

    def __getitem__(self, uid: str) -> Who:
        """Return one that was loaded; one that is gone has no group, nor has the Manager."""
        return self._known.get(uid) or Who(name=name_of(uid) or uid, labels={})


def take_events(
    tx: Writing, routes: Sequence[Route], full: Mapping[str, DeliveryRow], *, now: float
) -> Taken:
    """Take the next events, and store the position after them; arguments as of :class:`Teller`."""
    events = tx.events(after=int(tx.meta(POSITION) or 0), limit=BATCH)
    if not events:
        return Taken(0)
    known: dict[str, dict[tuple[str, str, str], Alert]] = {}
    changed: dict[tuple[str, str, str], Alert] = {}
    for event in events:
        said = read_event(event)
        if said is None:
            continue
        if event.uid not in known:
            known[event.uid] = {one.key: one for one in map(Alert.of, _all_of(tx, event.uid))}
        key = (event.uid, said.item, said.resource)
        if key not in known[event.uid] and len(known[event.uid]) >= ALERTS_MAX:
            continue
        before = known[event.uid].get(key) or Alert(uid=key[0], item=key[1], resource=key[2])
        after = before.follow(said, event)
        if after is not before:
            known[event.uid][key] = changed[key] = after
    tx.set_meta(POSITION, str(events[-1].number))
    return Teller(tx, routes, full, now).tell(changed.values(), len(events))


def tell_again(
    tx: Writing,
    routes: Sequence[Route],
    full: Mapping[str, DeliveryRow],
    keys: Sequence[tuple[str, str, str]],
    *,
    now: float,
) -> Taken:
    """Tell what routes do not know of some alerts, as after a silence; other arguments as of :class:`Teller`."""
    wanted = set(keys)
    rows = [row for uid in sorted({key[0] for key in keys}) for row in _all_of(tx, uid)]
    alerts = [alert for alert in map(Alert.of, rows) if alert.key in wanted]
    return Teller(tx, routes, full, now).tell(alerts, len(alerts))


def find_untold(tx: Reading, routes: Sequence[Route]) -> list[tuple[str, str, str]]:
    """Return the alerts of which a route may have to be told something."""
    found = []
    for row in tx.alerts(open_only=False):
        alert = Alert.of(row)
        if not all(alert.knows(route.name, alert.level_for(route.at_least)) for route in routes):
            found.append(alert.key)
    return found


def _all_of(tx: Reading, uid: str) -> list[AlertRow]:
    return tx.alerts(uid=uid, open_only=False)


def _show(alert: Alert, who: Who, level: str) -> dict[str, Any]:
    """Return an alert as routes tell it."""
    shown = {
        "uid": alert.uid,
        "agent": who.name,
        "group": who.groups[0] if who.groups else "",
        "item": alert.item,
        "resource": alert.resource,
        "state": level,
        "since": alert.since,
        "text": alert.text,
        "note": alert.note,
        "value": alert.value,
        "bound": alert.bound,
        "event": alert.number,
    }
    return {key: value for key, value in shown.items() if value != ""}
