"""A small desk, and a proxy that speaks by hand, for the exchange between them."""

import hashlib
import itertools
import uuid

from popham.errors import GrantError, StateError, TrustError
from popham.net.seam import Refusal, Refused
from popham.opamp.relay import Exchange
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.testing.virtual import VirtualClock
from popham.upstream.record import Record
from popham.upstream.relaying import Scope
from popham.upstream.relays import Relays


def key_of(number):
    return uuid.UUID(int=number).bytes


def digest_of(told):
    return hashlib.sha256(told.SerializeToString()).digest()[:8]


class Desk:
    """Answers from dictionaries."""

    def __init__(self):
        self.scopes = {"p": Scope(frozenset({"lab"}), custody={"events": "hop"})}
        self.texts = {}
        self.versions = {"lab": 1}
        self.places_now = {}
        self.bodies, self.fetched = {}, []
        self.nonce_now = b"n" * 16
        self.taken, self.refused, self.broken, self.said_of = [], set(), False, {}
        self.presences, self.statuses, self.gone, self.named = [], [], [], []
        self.calls, self.wanted = [], set()
        self.gate = None

    def scope(self, proxy):
        return self.scopes.get(proxy.uid)

    def told(self, proxy, key):
        if key not in self.texts:
            return wire.AgentTold(key=key, gone=True)
        heard, wanted = self.said_of.get(key, ()), key in self.wanted
        return wire.AgentTold(key=key, name=self.texts[key], group="lab", heard=heard, want_state=wanted)

    def group_told(self, proxy, name):
        return wire.GroupTold(name=name, version=self.versions[name])

    def places(self, proxy):
        return self.places_now.values()

    def body(self, proxy, sha256):
        return self.bodies.get(sha256)

    async def fetch(self, proxy, sha256):
        self.fetched.append(sha256)
        return len(self.bodies.get(sha256, b""))

    def nonce(self, proxy):
        return self.nonce_now

    def visitor(self, proxy):
        return b""

    async def said(self, proxy, said):
        if self.broken:
            raise StateError("full", "the disk is full")
        if self.gate is not None:
            await self.gate.wait()
        if said.key in self.refused:
            raise GrantError("proxy", "not given")
        self.taken.append((said.key, bytes(said.message)))
        return said.key in self.wanted

    def left(self, proxy, keys):
        self.gone += keys

    def arrived(self, proxy, key, heard):
        self.named.append((key, tuple(heard)))
        self.said_of.pop(key, None)

    def present(self, proxy, boot, presence):
        self.presences.append((boot, presence))

    def stood(self, proxy, status):
        self.statuses.append(status)

    async def append(self, proxy, carried):
        if carried.frames == b"forged":
            raise TrustError("signature", "not signed")
        standing = wire.Standing(stream=carried.stream, epoch=1, next=len(carried.frames))
        return [wire.Stood(key=carried.key, standing=standing)]

    async def call(self, proxy, call):
        self.calls.append(call.id)
        if call.kind == "refused":
            raise Refused(Refusal(status=403, retry_after=7.0, body="no"))
        if call.kind == "forbidden":
            raise GrantError("proxy", "not given", "give it")
        if call.kind == "meet":
            return wire.AgentTold(key=call.key, name="met", group="lab").SerializeToString()
        return b"answer to " + call.body

    def hand_on(self, proxy, call, done):
        return False


class Proxy:
    """Speaks as a proxy does, by hand."""

    boots = itertools.count(1001)

    def __init__(self, bench, cache=None):
        self.bench = bench
        self.exchange = Exchange(next(self.boots))
        self.agents = dict(cache.agents) if cache else {}
        self.groups = dict(cache.groups) if cache else {}
        self.down = None

    def up(self, *, lists=False, **parts):
        up = wire.RelayUp(head=self.exchange.head(), **parts)
        if lists:
            up.agents_known.extend(wire.Known(key=k, digest=digest_of(v)) for k, v in self.agents.items())
            up.groups.extend(wire.Known(key=k.encode(), digest=digest_of(v)) for k, v in self.groups.items())
        return up

    def take(self, data):
        down = self.down = wire.RelayDown.FromString(data)
        self.exchange.hear(down.head)
        for told in down.agents:
            if told.gone:
                self.agents.pop(told.key, None)
            else:
                self.agents[told.key] = told
        for told in down.groups:
            self.groups[told.name] = told
        return down

    async def say(self, **parts):
        return self.take(
            await self.bench.relays.answer(self.bench.proxy, self.up(**parts).SerializeToString())
        )

    async def begin(self, **parts):
        await self.say()
        return await self.say(lists=True, **parts)


class Bench:
    def __init__(self):
        self.desk = Desk()
        self.clock = VirtualClock()
        self.woken = []
        self.linked = True
        self.proxy = Record(uid="p", key=key_of(999), name="dock", group="fleet")
        self.start()

    def start(self, boot=1):
        self.relays = Relays(self.desk, self.clock, boot, wake=self.wake)

    def wake(self, proxy):
        self.woken.append(proxy.uid)
        return self.linked

    def know(self, *numbers):
        for number in numbers:
            self.desk.texts[key_of(number)] = f"a{number}"


def said(*numbers, text=b"x"):
    return [wire.AgentSaid(key=key_of(number), message=text) for number in numbers]
