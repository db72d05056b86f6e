"""A proxy that visits one machine below it, in virtual time; a Manager above answers what it asks."""

import asyncio
import copy
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

from tests.simulation.test_birth import GROUP, VISITED, Walled

from popham.agent.apply import at_once
from popham.model.names import digest
from popham.net.seam import Limits, Peer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.book import ProxyBook
from popham.proxy.cache import ProxyCache
from popham.proxy.calls import Calls
from popham.proxy.ordering import ProxyOrdering
from popham.proxy.permit import VisitorPermit, keep_key
from popham.proxy.told import known
from popham.proxy.visiting import ProxyVisits
from popham.testing.dials import MemoryDials
from popham.testing.intake import MemoryIntake
from popham.testing.simulation import ADMIN, Simulation
from popham.testing.virtual import VirtualClock, pass_time, run_virtual
from popham.trust.birth import FoundingDocuments
from popham.trust.join import JoinString
from popham.trust.tuf import TrustedTuf
from popham.trust.visitor import Visitor, seal_visitor
from popham.upstream.hub import Hub

DOCK = str(uuid.UUID(int=77, version=4))
"""uid of the proxy."""
NAME = "dock"


class Above:
    """A Manager, as far as a proxy that visits needs it: answers calls at once, by its own book.

    Attributes:
        asked: Kinds of the calls that came, with what was asked.
        silent: Whether nothing is answered.
    """

    def __init__(self, manager, calls):
        self.manager = manager
        self.asked = []
        self.silent = False
        self._calls = calls
        self._tasks = set()
        calls.on_news = self.hear

    def hear(self):
        task = asyncio.ensure_future(self._answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self):
        await asyncio.sleep(0.1)
        if not self.silent:
            for call in self._calls.take(1 << 20):
                self.asked.append((call.kind, call))
                self._calls.reply([wire.RelayReply(id=call.id, body=await self._do(call))])

    async def _do(self, call):
        book, uid = self.manager.book, str(uuid.UUID(bytes=call.key))
        if call.kind == "meet":
            return self.told(uid).SerializeToString()
        if call.kind in {"enroll", "renew"}:
            asked = wire.AdmitCall.FromString(call.body)
            peer = Peer(address=call.address, key=b"shown" if asked.walled else b"")
            if call.kind == "enroll":
                found = await book.enroll(peer, call.key, asked.csr, wire.Enroll.FromString(asked.request))
            else:
                found = await book.renew(peer, call.key, asked.csr, wire.Renew.FromString(asked.request))
            return wire.Admitted(
                admission=str(found.admission),
                certificate=found.certificate,
                ca=found.ca,
                assignment=found.assignment,
                text=found.text,
                agent=self.told(uid),
            ).SerializeToString()
        return b""

    def told(self, uid):
        """Return what is to be known of an agent."""
        record = self.manager.book.record(uid)
        if record is None:
            return wire.AgentTold(key=uuid.UUID(uid).bytes, gone=True)
        orders = record.orders.open.values() if record.orders else ()
        wants = record.orders.want_outputs if record.orders else ()
        return wire.AgentTold(
            key=record.key,
            name=record.name,
            group=record.group,
            kind=str(record.kind),
            admission=str(record.admission),
            public_key=record.public_key,
            former_key=record.former_key,
            assignment=record.assignment,
            assignment_seq=record.assignment_seq,
            certificate_until=record.certificate_until,
            dialer=str(record.dialer or ""),
            orders=[wire.OrderTold(nonce=one.nonce, envelope=one.sealed()) for one in orders],
            want_outputs=list(wants),
        )


class Dock:
    """A proxy, and whoever is below it.

    Attributes:
        above: Answers its calls.
        unreached: Codes of why agents could not be visited, as they were told; empty for who can be.
    """

    def __init__(self, simulation, folder):
        self.simulation = simulation
        self.manager, self.clock = simulation.manager, simulation.clock
        self.folder = Path(folder)
        keys = simulation.keys
        self.tuf = TrustedTuf.from_bytes(keys.root, keys.targets)
        self.key = keep_key(self.folder / "visitor.pem")
        self.unreached = []

    async def start(self):
        clock, keys = self.clock, self.simulation.keys
        self.cache = ProxyCache(self.folder / "relay", offload=at_once)
        self.calls = Calls(clock)
        self.above = Above(self.manager, self.calls)
        self.book = ProxyBook(
            self.cache, self.calls, clock, trust_domain=keys.ca.trust_domain, tuf=lambda: self.tuf
        )
        self.ordering, self.intake = ProxyOrdering(self.calls), MemoryIntake()
        self.hub = Hub(
            self.book,
            clock,
            endpoint=lambda: "wss://dock/v1/opamp",
            trust={},
            reported=lambda record: self.visits.reported(record),  # noqa: PLW0108  # made below
            ordering=self.ordering,
            intake=self.intake,
        )
        self.permit = VisitorPermit(self.key, uid=DOCK, tuf=lambda: self.tuf, clock=clock)
        self.visits = ProxyVisits(
            self.book,
            self.hub,
            self.calls.call,
            self.cache,
            self.permit,
            FoundingDocuments(ca=keys.ca.pem, root=keys.root, targets=keys.targets),
            trust_domain=keys.ca.trust_domain,
            clock=clock,
            draw=lambda: 0.5,
            limits=Limits(),
            dial=self.dial,
            unreached=lambda uid: self.unreached.append(self.visits.unvisited(uid).partition(" ")[0]),
        )
        self.book.on_told = self.note
        self.simulation.network.services[NAME] = self.hub
        await self.book.load()
        self.visits.load(self.book.kept)
        work = (self.cache.run(), self.hub.publish(), self.visits.run())
        self._tasks = [asyncio.ensure_future(one) for one in work]
        return self

    def note(self, record, told, _new):
        if self.ordering.note(record, told):
            self.hub.tell(record.uid)
        self.visits.agent_changed(record.uid)

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def dial(self, target):
        host = target.place.host
        return MemoryDials(self.simulation.network, host, NAME, lambda: self.simulation.serves(host))

    # What comes from above.

    def allow(self, *groups, agents=(), seconds=86_400.0):
        """Let it visit agents of these groups."""
        now = int(self.clock.now())
        visitor = Visitor(
            uid=DOCK,
            keyid=self.key.keyid,
            public_key=self.key.crypto.public_key().public_bytes_raw(),
            groups=groups,
            agents=agents,
            issued=now,
            expires=now + int(seconds),
        )
        self.visits.stated(seal_visitor(visitor, self.simulation.keys.director))

    def place(self, name, *, uid="", gone=False):
        """Say where a machine is."""
        key = uuid.UUID(uid).bytes if uid else b""
        self.visits.places_told(
            [wire.PlaceTold(name=name, key=key, url=f"https://{name}:23440", tls="agent", gone=gone)]
        )

    def group(self, name):
        """Say what a group is to have, as the Manager has it now."""
        wanted = self.manager.book.wanted(name)
        told = wire.GroupTold(
            name=name,
            serial=wanted.serial,
            version=wanted.version,
            content_digest=wanted.content_digest,
            envelope=wanted.envelope,
            blobs=list(wanted.blobs),
        )
        for body in wanted.blobs.values():
            assert digest(body) == self.cache.put_body(body)
        self.book.groups.tell(told, known(name.encode(), told.SerializeToString()))
        self.visits.groups_changed([name])
        self.hub.changed([name])

    def agent(self, uid):
        """Say what is to be known of an agent, as the Manager has it now."""
        self.book.tell(self.above.told(uid))


def run_dock(keys, story, *, streams=False, communication=VISITED):
    """Tell a story of a Manager, a proxy, and one machine ``walled`` that waits to be born; nothing is said of it yet."""
    clock = VirtualClock()
    authority = copy.copy(keys.ca)
    authority._clock = clock

    async def told(folder):
        simulation = Simulation(clock, replace(keys, ca=authority))
        simulation.streams_in = Path(folder) / "streams" if streams else None
        await simulation.manager.start()
        simulation.manager.visits.enabled = False
        agent = Walled(simulation, "walled")
        simulation.agents["walled"] = agent
        dock = await Dock(simulation, folder).start()
        try:
            await simulation.manager.publish(GROUP.format(text="0", communication=communication))
            made = await simulation.manager.service.create_token(ADMIN, group="lab", accepts=True)
            await agent.wait(JoinString.parse(made.secret))
            await pass_time(1)
            await story(dock, agent)
            assert agent.dials == 0
        finally:
            await dock.stop()
            await simulation.end()

    with tempfile.TemporaryDirectory() as folder:
        run_virtual(told(folder), clock)
