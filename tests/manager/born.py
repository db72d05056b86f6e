"""A Manager that calls one machine, which waits to be born."""

import asyncio
from functools import partial

from tests.births import Waiting, Wire, documents_of

from popham.agent.credentials import Credentials
from popham.agent.end import AgentEnd
from popham.agent.enforcer import Enforcer
from popham.agent.visited import AgentWorld
from popham.manager.visit_targets import VisitTargets
from popham.testing.agent import SimApplier
from popham.testing.direct import ADMIN, DirectManager
from popham.trust.join import JoinString
from popham.trust.tuf import TrustedTuf
from popham.upstream.calling import Calling
from popham.upstream.outputs import Outputs
from popham.upstream.sighting import Seen, Sight
from popham.upstream.visit_dials import find_lacking
from popham.upstream.visits import Signer

FLEET = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: motd}}
spec: {{type: files, files: [{{path: /etc/popham.d/motd, content: "{text}"}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: lab}}
spec:
  parent: fleet
  inheritance: {{policies: {{files: false}}, communication: false}}
  communication: {communication}
  policies: {{files: motd}}
"""
AGENT = """
apiVersion: popham/v1
kind: Agent
metadata: {{name: {name}}}
spec: {{address: {address}, port: {port}{more}}}
"""
ADDRESS = "192.0.2.7"
PUSH, VISITED = "{preset: Push}", "{preset: Pull by visit, heartbeat: 60s}"


class Fleet:
    """A Manager that calls one machine."""

    def __init__(self, keys):
        self.manager = DirectManager(keys)
        self.clock = self.manager.clock
        self.end = None

    async def begin(
        self, *, communication=VISITED, accepts=True, definition="walled", more="", address=ADDRESS, **token
    ):
        """Make a group, a token, a definition, and a machine that waits."""
        manager, keys = self.manager, self.manager.keys
        await manager.start()
        await manager.publish(FLEET.format(text="one", communication=communication))
        made = await manager.service.create_token(ADMIN, group="lab", accepts=accepts, **token)
        self.token = made.token.id
        await manager.live.bring()
        self.join = JoinString.parse(made.secret)
        self.machine = Waiting(self.clock, self.join).start()
        self.wire = Wire(self.machine)
        signer = Signer(keys.director.crypto, keys.director.keyid)
        self.targets = VisitTargets(manager.book, manager.store, self.clock, changed=lambda _keys: None)
        self.calling = Calling(
            manager.hub,
            manager.book,
            signer,
            documents_of(keys),
            self.clock,
            partial(find_lacking, manager.book),
            Outputs(None, manager.hub.counts),
        )
        await self.define(definition, more=more, address=address)
        return self

    async def define(self, name, port=23440, more="", address=ADDRESS):
        """Apply a definition of where the machine is, and look at it from now on."""
        await self.manager.publish(AGENT.format(name=name, port=port, more=more, address=address))
        self.targets.definitions_changed([name])
        await self.targets.refresh()
        self.name = name
        self.look()

    def look(self):
        """Take the target as it is now."""
        target = self.targets.read()[f"agent/{self.name}"]
        self.seen = Seen(target, Sight(self.clock.now()), self.wire)
        return target

    async def visit(self):
        """Visit as the schedule does, and let an agent start where one is born."""
        growing = asyncio.ensure_future(self.grow())
        try:
            if self.seen.target.uid:
                await self.calling.visit(self.seen)
            else:
                await self.calling.find(self.seen, self.targets)
        finally:
            growing.cancel()
            await self.targets.refresh()
            former, now = self.seen.nonce, self.targets.read().get(f"agent/{self.name}")
            if now is not None:
                self.look()
                self.seen.nonce = former

    async def grow(self):
        """Be the agent, once the machine is born."""
        machine = self.machine
        await machine.unborn.born.wait()
        if self.end is not None:
            return
        self.applier = SimApplier()
        kept = machine.state.documents()
        tuf = TrustedTuf.from_bytes(kept.root, kept.targets)
        news = asyncio.Event()
        self.end = AgentEnd(
            machine.state,
            Enforcer(machine.state, self.applier, tuf, self.clock, news.set),
            Credentials(machine.state, self.clock, lambda: 0.5, lambda: None),
            facts={},
            fetch=None,
            version="0",
            news=news,
        )
        self.end.fetch.dials = lambda: False
        machine.unborn.become(AgentWorld(machine.state, tuf, self, self.end))

    async def visited(self, body):
        """Answer one exchange as the agent's driver does."""
        if not body:
            self.end.lost()
        await self.end.receive(body)
        return self.end.report(force=True)

    @property
    def record(self):
        return self.manager.book.record(self.machine.uid)

    async def view(self):
        return await self.manager.service.agent(ADMIN, self.machine.uid)
