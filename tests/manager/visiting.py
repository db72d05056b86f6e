"""A Manager's visits on a database in memory: agents that say where their service is, and definitions."""

import uuid
from dataclasses import replace

from popham.manager.agents import assign
from popham.manager.book import ManagerBook
from popham.manager.overrides import Overrides
from popham.manager.visit_targets import VisitTargets
from popham.model.cell import Dialer, Mode
from popham.model.fleet import Admission, AgentKind
from popham.model.status import Outcome, StateRecord
from popham.store.rows import AgentRow
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state

from .conftest import NOW, group

KEY = IdentityKey.create()
HTTPS = "https://*:23440"
VISITS = "{preset: Pull by visit}"


def number(n):
    return str(uuid.UUID(int=n, version=4))


def definition(name, spec):
    return f"apiVersion: popham/v1\nkind: Agent\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


class Fleet:
    """Groups, agents and definitions, and who is to be visited by them."""

    def __init__(self, bench):
        self.bench = bench
        self.book = ManagerBook(bench.store, bench.keys, bench.clock)
        self.changed = []
        self.targets = VisitTargets(self.book, bench.store, bench.clock, changed=self.changed.append)

    async def group(self, name="walled", communication=VISITS, more=""):
        await self.bench.apply(group(name, f"{{inherits: false, communication: {communication}{more}}}"))
        await self.book.refresh([name])
        self.targets.groups_changed([name])

    async def define(self, name, spec):
        await self.bench.apply(definition(name, spec))
        self.targets.definitions_changed([name])

    async def agent(self, n=1, *, at="192.0.2.9", dialer=None, admission="accepted", kind="own", **said):
        """Have an agent known that reported ``said``; nothing of it with ``said=None``."""
        uid = number(n)
        row = AgentRow(
            uid=uid,
            name=f"web{n}",
            group="walled",
            kind=kind,
            admission=admission,
            first_seen=NOW,
            last_contact=NOW,
            public_key=KEY.public.der,
            spki=KEY.keyid,
            address=at,
            promise=said.get("promise", 300.0),
            overrides=Overrides(dialer=dialer).encoded(),
        )
        if said.pop("born", True):
            row = replace(row, certificate_until=NOW + 1000, state=seal_state(state(uid, **said), KEY))
        if admission == Admission.ACCEPTED and kind == AgentKind.OWN:
            row = assign(row, self.bench.keys.director, now=NOW)
        await self.bench.store.write(lambda tx: tx.put_agent(row))
        await self.book.reread([uid])
        self.targets.agent_changed(uid)
        return uid

    def say(self, uid, **said):
        """Have an agent report something else."""
        record = self.book.record(uid)
        revision = record.state.revision + 1 if record.state else 1
        found = state(uid, revision=revision, **said)
        record.note_state(found, seal_state(found, KEY))
        self.targets.reported(record)

    async def read(self):
        """Return who is to be visited, by key."""
        await self.targets.refresh()
        return dict(self.targets.read())

    async def one(self, uid):
        return (await self.read()).get(self.targets.key_of(uid))


def state(uid, *, service=HTTPS, revision=1, location="default", dialer="agent", mode="pull", **said):
    return StateRecord(
        uid=uid,
        revision=revision,
        group="walled",
        promise=said.pop("promise", 300.0),
        mode=str(Mode(mode)),
        dialer=str(Dialer(dialer)),
        service=service,
        outcome=Outcome(said.pop("outcome", "none")),
        location=location,
        **said,
    )
