"""A real Manager with relays, proxies that speak by hand, and agents behind them."""

import base64
import uuid
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.upstream.conftest import files, otelcol
from tests.upstream.ordering import Ordering
from tests.upstream.taking import Taking

from popham import __version__
from popham.manager.relays.relays import ManagerRelays
from popham.model.generation import GENERATION
from popham.model.status import StateRecord
from popham.net.seam import Peer
from popham.opamp.codec import custom
from popham.opamp.relay import Exchange
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.opamp.wire import SESSION
from popham.testing.direct import DirectManager
from popham.testing.network import request_for
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock
from popham.trust.identity import PROXY, load_certificate, make_csr
from popham.trust.keys import SigningKey
from popham.trust.verify import seal_state
from popham.upstream.relaying import Scope


@dataclass
class Directory:
    """Who is a proxy, by what a test says."""

    scopes: dict = field(default_factory=dict)
    places: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)

    def __post_init__(self):
        self.changed = lambda: None

    async def settle(self):
        """Return: it is known at once."""

    def is_settled(self):
        """Return that it is."""
        return True

    def uids(self):
        return tuple(self.scopes)

    def has(self, uid):
        return uid in self.scopes

    def scope_of(self, uid):
        return self.scopes.get(uid)

    def name_of(self, uid):
        return self.names.get(uid, "")

    def places_of(self, uid):
        return self.places.get(uid, [])


class Proxy:
    """Speaks for a proxy, by hand; remembers what it was told."""

    def __init__(self, fleet, agent, boot):
        self.fleet, self.agent = fleet, agent
        self.key_pair = SigningKey.create()
        self.boot, self.calls = boot, 0
        self.begin_anew(boot)

    def begin_anew(self, boot):
        self.exchange = Exchange(boot)
        self.agents, self.groups, self.places, self.nonce, self.visitor, self.orders = (
            {},
            {},
            {},
            b"",
            b"",
            b"",
        )

    def peer(self):
        """Return a connection that shows a certificate of a proxy."""
        csr = make_csr(self.agent.key, self.uid)
        pem = self.fleet.manager.keys.ca.issue_agent(csr, self.uid, role=PROXY)
        return Peer(address="192.0.2.9", certificate=load_certificate(pem).public_bytes(Encoding.DER))

    @property
    def uid(self):
        return self.agent.uid

    @property
    def record(self):
        return self.fleet.manager.book.record(self.uid)

    async def relay(self, *said, **parts):
        up = wire.RelayUp(head=self.exchange.head(), agents=said, **parts)
        response = await self.fleet.post(self.peer(), up.SerializeToString())
        assert response.status == 200, response.body
        return self.take(response.body)

    def take(self, data):
        down = wire.RelayDown.FromString(data)
        self.exchange.hear(down.head)
        for told in down.agents:
            self.agents[str(uuid.UUID(bytes=told.key))] = told
        self.groups |= {told.name: told for told in down.groups}
        self.places |= {told.name: told for told in down.places}
        self.nonce = down.nonce or self.nonce
        self.visitor, self.orders = down.visitor or self.visitor, down.orders or self.orders
        return down

    async def call(self, kind, body, key=b"", **parts):
        self.calls += 1
        call = wire.RelayCall(id=self.calls, kind=kind, body=body.SerializeToString(), key=key, **parts)
        down = await self.relay(calls=[call])
        (reply,) = [one for one in down.replies if one.id == self.calls]
        return reply

    @property
    def visitor_key(self):
        return base64.b64encode(self.key_pair.public.der).decode()


@dataclass
class Fleet:
    """A Manager, its relays, and who is in it."""

    manager: DirectManager
    directory: Directory
    ordering: Ordering
    intake: Taking
    relays: ManagerRelays = None
    unreached: list = field(default_factory=list)
    proxies: int = 0

    @property
    def clock(self):
        return self.manager.clock

    def start(self, boot=1):
        manager = self.manager
        self.relays = ManagerRelays(
            manager.book,
            manager.hub,
            self.directory,
            manager.store,
            manager.keys,
            manager.clock,
            boot,
            ordering=self.ordering,
            unreached=lambda uid, error: self.unreached.append((uid, str(error))),
        )
        manager.live.relay(self.relays)
        manager.book.watch_proxies(self.directory.has)

    async def post(self, peer, body):
        return await self.manager.hub.other(request_for("POST", "/v1/relay", peer, body))

    async def proxy(self, name, *groups, **scope):
        agent = await self.manager.add_agent(name)
        self.directory.names[agent.uid] = name
        self.give(agent.uid, *groups, **scope)
        self.proxies += 1
        found = Proxy(self, agent, 1000 + self.proxies)
        await found.relay()
        await found.relay()
        return found

    def give(self, uid, *groups, agents=(), custody=()):
        self.directory.scopes[uid] = Scope(frozenset(groups), frozenset(agents), dict(custody))
        self.directory.changed()
        self.manager.book.proxies_changed()

    def record(self, agent):
        return self.manager.book.record(agent.uid)


def state_of(agent, revision, key=None, **said):
    parts = {
        "group": "lab",
        "promise": 60.0,
        "mode": "pull",
        "dialer": "agent",
        "generation": GENERATION,
        "agent_version": __version__,
    }
    record = StateRecord(uid=agent.uid, revision=revision, **parts | said)
    return seal_state(record, key or agent.key)


def said(agent, state=b"", *, index=0, results=(), bundle=b"", **parts):
    key = uuid.UUID(agent.uid).bytes
    report = wire.Report(generation=GENERATION, state=state, results=results, bundle=bundle)
    message = AgentToServer(instance_uid=key, capabilities=0x3, custom_message=custom(report))
    message.custom_capabilities.capabilities.append(SESSION)
    message.agent_description.identifying_attributes.add(key="host.name").value.string_value = "forged"
    parts.setdefault("address", "192.0.2.50")
    return wire.AgentSaid(key=key, index=index, message=message.SerializeToString(), **parts)


@pytest.fixture(scope="session")
def keys():
    return make_keys(VirtualClock())


@pytest.fixture
async def fleet(keys):
    ordering, intake = Ordering(), Taking()
    manager = DirectManager(keys, ordering, intake)
    await manager.start()
    found = Fleet(manager, Directory(), ordering, intake)
    found.start()
    await manager.publish(files())
    await manager.publish(files(group="other"))
    await manager.publish(otelcol().replace("name: lab", "name: stocks"))
    return found


@pytest.fixture
async def dock(fleet):
    """A proxy to which the group lab was given."""
    return await fleet.proxy("dock", "lab", "stocks")


@pytest.fixture
async def web(fleet):
    """An agent of the group lab, which joined a while ago."""
    agent = await fleet.manager.add_agent("web-1", "lab")
    fleet.clock.elapsed += 100.0
    return agent
