"""Alerts on a database in memory: agents that say something, routes that remember."""

import json
from types import SimpleNamespace

from tests.manager.conftest import NOW, group
from tests.manager.rolling import add, agent, uid_of

from popham.manager.alerts.alerts import Alerts
from popham.manager.alerts.settings import AlertsSettings, LogRoute
from popham.manager.kept import record_of
from popham.manager.summary.events import add_events
from popham.store.data_rows import EventRow

ALL, ERRORS = LogRoute(name="all"), LogRoute(name="errors", at_least="error")


def event(number, state, *, item="disk", resource="/var", threshold="full", name="popham.threshold", **said):
    """Return what an agent says of a threshold."""
    labels = {"item": item, "resource": resource, "threshold": threshold, "state": state} | said
    body = {
        "text": f"{item} is {state}",
        "attributes": {f"popham.{k}": v for k, v in labels.items()},
        "time": NOW,
    }
    return EventRow(
        number=0, uid=uid_of(number), at=NOW, received=NOW, name=name, severity=17, body=json.dumps(body)
    )


class World:
    """All agents of a bench, what they say, and the alerts of it; ``Fleet`` and ``Sees`` at once."""

    def __init__(self, bench, *routes, **settings):
        self.bench, self.clock, self.store = bench, bench.clock, bench.store
        self.downtimes = ()
        self.held, self.skews, self.waits, self.late = {}, {}, {}, set()
        self.settings = AlertsSettings(routes=routes, **settings)
        self.restart()

    def restart(self):
        self.alerts = Alerts(self.store, self, self, self.clock, self.settings)
        self.bench.service.on_silences_changed = self.alerts.silences_changed

    async def begin(self, count=2):
        await self.bench.apply(group("paris"), group("lyon"))
        await add(self.bench, *(agent(number, "paris" if number % 2 else "lyon") for number in range(count)))
        for row in await self.store.read(lambda tx: tx.agents()):
            self.held[row.uid] = record_of(row)
        return self

    def records(self):
        return self.held.values()

    def record(self, uid):
        return self.held.get(uid)

    def wanted(self, _group):
        return None

    def skew(self, uid):
        return self.skews.get(uid)

    def waiting(self, uid):
        return self.waits.get(uid, 0)

    def is_late(self, record, _here, _now):
        return record.uid in self.late

    async def say(self, *events):
        """Have events learned, and taken."""
        await self.store.write(lambda tx: add_events(tx, events))
        await self.alerts.step()

    async def open(self):
        rows = await self.store.read(lambda tx: tx.alerts())
        return {(row.uid[-1], row.item, row.resource): row.state for row in rows}

    async def told(self, route="all"):
        """Return (agent, item, state) of what is to be told over a route, and forget it."""
        rows = [row for row in await self.store.read(lambda tx: tx.deliveries()) if row.route == route]

        def work(tx):
            for row in rows:
                tx.delete_delivery(row.number, row.route)

        await self.store.write(work)
        return [
            [(one["agent"], one["item"], one["state"]) for one in json.loads(row.body)["alerts"]]
            for row in rows
        ]


class Receiver:
    """A channel that remembers, and fails as often as it is told to."""

    def __init__(self, *, together=1, apart=0.0):
        self.together, self.apart = together, apart
        self.got, self.fails, self.error = [], 0, None
        self.clock = SimpleNamespace()

    async def tell(self, rows):
        if self.fails:
            self.fails -= 1
            raise self.error
        self.got.append([row.number for row in rows])
