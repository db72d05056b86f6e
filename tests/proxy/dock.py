"""A proxy without a network, and a desk above it that a test fills: messages go from one to the other by hand."""

import asyncio
import contextlib
import uuid
from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding

from popham.errors import LinkError
from popham.model.generation import GENERATION
from popham.model.operation import Kind, Operation, OperationState, Result
from popham.model.status import StateRecord
from popham.net.seam import Peer, Refused
from popham.opamp.codec import custom, parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentDescription,
    AgentToServer,
    AnyValue,
    CustomCapabilities,
    KeyValue,
)
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.opamp.wire import OWN_AGENT, SESSION
from popham.proxy.book import ProxyBook
from popham.proxy.cache import ProxyCache
from popham.proxy.calls import Calls
from popham.proxy.ordering import ProxyOrdering
from popham.proxy.telemetry import ProxyOtlp
from popham.proxy.uplink import Uplink
from popham.testing.virtual import VirtualClock
from popham.trust.ca import Authority
from popham.trust.identity import load_certificate, make_csr
from popham.trust.keys import IdentityKey
from popham.trust.operation import seal_operation, seal_result
from popham.trust.verify import seal_state
from popham.upstream.hub import Hub
from popham.upstream.record import Record
from popham.upstream.relays import Relays

from .desk import CLOCK, DIRECTOR, TUF, MemoryDesk, body_of

CA = Authority.create("popham", CLOCK)
DOCK = str(uuid.UUID(int=77, version=4))
NONCES = [f"{number:032x}" for number in range(1, 40)]


class Agent:
    """One of our agents: it has a key and a certificate, and says what a test wants."""

    def __init__(self, number, key=None):
        self.uid = str(uuid.UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000 + number))
        self.key, self.identity = uuid.UUID(self.uid).bytes, key or IdentityKey.create()
        pem = CA.issue_agent(make_csr(self.identity, self.uid), self.uid, 86400 * 30.0)
        self.pem = pem
        self.certificate = load_certificate(pem).public_bytes(Encoding.DER)
        self.sequence, self.revision = 0, 1

    def peer(self):
        return Peer(address="10.0.0.7", certificate=self.certificate)

    def told(self, **changes):
        said = {"name": f"web-{self.key[-1]}", "group": "fleet", "kind": "own", "admission": "accepted"}
        said["public_key"] = self.identity.public.der
        return wire.AgentTold(key=self.key, **(said | changes))

    def state(self, **changes):
        said = {
            "group": "fleet",
            "promise": 300.0,
            "mode": "pull",
            "dialer": "agent",
            "generation": GENERATION,
        }
        record = StateRecord(uid=self.uid, revision=self.revision, **said)
        return seal_state(replace(record, **changes), self.identity)

    def result(self, nonce, state="succeeded", revision=1, identity=None):
        found = Result(
            uid=self.uid, operation="op1", nonce=nonce, state=OperationState(state), revision=revision
        )
        return seal_result(found, identity or self.identity)

    def operation(self, nonce):
        return seal_operation(
            Operation(
                uid=self.uid,
                operation="op1",
                kind=Kind.RUN,
                nonce=nonce,
                issued=0,
                expires=9_999_999_999,
                args={"name": "show"},
            ),
            DIRECTOR,
        )

    def message(self, *results, full=False, **changes):
        self.sequence += 1
        message = AgentToServer(
            instance_uid=self.key, sequence_num=self.sequence, capabilities=int(OWN_AGENT)
        )
        report = wire.Report(generation=GENERATION, results=results)
        if full:
            report.state = self.state(**changes)
            message.custom_capabilities.CopyFrom(CustomCapabilities(capabilities=[SESSION]))
            pair = KeyValue(key="host.name", value=AnyValue(string_value=f"host-{self.key[-1]}"))
            message.agent_description.CopyFrom(AgentDescription(identifying_attributes=[pair]))
        message.custom_message.CopyFrom(custom(report))
        return message.SerializeToString()


AGENTS = [Agent(number) for number in range(4)]


class Frames:
    """Frames that are to go up, each once until it is heard of."""

    def __init__(self):
        self.waiting, self.said, self.stands, self.custody = [], 0, [], {}
        self.on_news = lambda: None

    @property
    def waits(self):
        return self.said < len(self.waiting)

    def next_frames(self, limit):
        found = self.waiting[self.said : self.said + 2]
        self.said += len(found)
        return found

    @property
    def held(self):
        return len(self.waiting)

    def knows(self, uid):
        return True

    def discard(self, uid, why):
        self.forget(uid)

    def lost(self):
        self.said = 0

    def forget(self, uid):
        self.waiting = [one for one in self.waiting if one.key != uid]

    def stood(self, stood):
        self.stands.append(stood)
        self.waiting = [one for one in self.waiting if one.key != stood.key]
        self.said = 0

    def depth(self):
        return {"waiting": len(self.waiting)}


class Dock:
    """A proxy, its desk, and a way between them that loses what a test wants."""

    def __init__(self, folder, desk=None, clock=None):
        self.folder, self.desk, self.clock = folder, desk or MemoryDesk(), clock or VirtualClock()
        self.record = Record(uid=DOCK, key=uuid.UUID(DOCK).bytes, name="dock", group="fleet")
        self.boots, self.wakes, self.asked = 100, 0, []
        self.tuf, self.trust_domain = TUF, "popham"
        self.turn = asyncio.Lock()
        self.boot_manager()

    def carry(self):
        """Return what carries frames."""
        return Frames()

    def intake(self):
        """Return what takes frames of agents; None for nothing."""
        return

    def boot_manager(self):
        self.boots += 1
        self.relays = Relays(self.desk, self.clock, self.boots, wake=self._wake)

    def _wake(self, record):
        self.wakes += 1
        return True

    async def boot(self):
        """Begin a process of the proxy, by what its files have."""
        self.boots += 1
        self.cache = ProxyCache(self.folder)
        self.calls = Calls(self.clock)
        self.book = ProxyBook(
            self.cache, self.calls, self.clock, trust_domain=self.trust_domain, tuf=lambda: self.tuf
        )
        self.ordering = ProxyOrdering(self.calls)
        self.carrying = self.carry()
        self.uplink = Uplink(self.book, self.ordering, self.carrying, self.clock, self.boots)
        self.otlp = ProxyOtlp(self.calls, self.book.bearers.token_of)
        self.places, self.statements = [], []
        self.uplink.on_places = lambda places, _all: self.places.extend(places)
        self.uplink.on_visitor = self.statements.append
        self.uplink.on_check_in = self.asked.append
        await self.book.load()
        self.uplink.load()
        self.hub = Hub(
            self.book,
            self.clock,
            endpoint=lambda: "https://dock:4320/v1/opamp",
            trust={},
            ordering=self.ordering,
            intake=self.intake(),
            otlp=self.otlp,
            nonce=lambda: self.uplink.nonce,
        )
        self.uplink.hub = self.hub
        return self

    async def write(self):
        """Have everything written that was told."""
        running = asyncio.ensure_future(self.cache.run())
        await self.cache.settle()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    async def exchange(self, fate="arrives"):
        """Exchange once as a proxy that dials; return whether there is more."""
        async with self.turn:
            return await self._exchange(fate)

    async def _exchange(self, fate):
        up = self.uplink.up()
        if fate == "up lost":
            self.uplink.lost()
            return True
        if fate == "twice":
            await self.relays.answer(self.record, up)
        down = await self.relays.answer(self.record, up)
        if fate == "down lost":
            self.uplink.lost()
            return True
        return await self.uplink.hear(down)

    async def visit(self, fate="arrives"):
        """Exchange as a proxy that is visited, until the Manager has no more to say."""
        down = self.relays.begin(self.record)
        for _ in range(100):
            if fate == "up lost":
                return
            await self.uplink.hear(down)
            up = self.uplink.up()
            if fate == "down lost":
                return
            down = await self.relays.heard(self.record, up)
            if down is None:
                return
        raise AssertionError("it has no end")

    async def settle(self):
        """Exchange until neither end has more to say."""
        for _ in range(100):
            if not await self.exchange():
                return
        raise AssertionError("it has no end")

    async def relaying(self):
        """Exchange whenever there is something to say, until cancelled."""
        while True:
            await self.uplink.news.wait()
            self.uplink.news.clear()
            await self.settle()

    @contextlib.asynccontextmanager
    async def connected(self):
        """Have an exchange at once for whatever there is to say."""
        task = asyncio.ensure_future(self.relaying())
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def say(self, agent, *results, peer=None, **rest):
        """Have an agent make a round; return the answer."""
        peer = peer or agent.peer()
        refusal = self.hub.admit(peer, held=False, uid=agent.key)
        if refusal is not None:
            raise Refused(refusal)
        answer = self.hub.round(peer, agent.message(*results, **rest))
        return parse_upstream(answer if isinstance(answer, bytes) else await answer)


async def dock_at(folder, *agents, **rest):
    """Return a proxy that knows a group and these agents."""
    dock = Dock(folder, **rest)
    dock.desk.put_group(body_of("first"))
    dock.desk.add(*agents)
    await dock.boot()
    return dock


def away():
    return LinkError("timeout", "nobody answers")
