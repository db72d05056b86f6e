"""Agents with real services, and an upstream that visits them over a way that loses what a test wants."""

import asyncio
import random

import pytest

from popham.downstream.service import VisitService
from popham.downstream.standings import decode
from popham.errors import VisitError
from popham.net.seam import Peer, Request
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.testing.dials import MemoryDials
from popham.testing.network import Network
from popham.testing.virtual import VirtualClock, run_virtual
from popham.trust.keys import IdentityKey, SigningKey
from popham.upstream.directive import quiet
from popham.upstream.visits import Nonce, Signer, Visit

YEAR = 365 * 86400.0
UIDS = [f"0191d5a8-0000-7000-8000-00000000000{number}" for number in range(3)]
DIRECTOR, FOREIGN = SigningKey.create(), SigningKey.create()
IDENTITIES = [IdentityKey.create() for _ in UIDS]


class World:
    """An agent that notes what it was asked."""

    def __init__(self, number):
        self.uid, self.identity = UIDS[number], IDENTITIES[number]
        self.bodies, self.contents, self.lost_reports = [], [], 0
        self.outputs, self.streams, self.standings = {}, {}, []
        self.waits = True
        self.relayed = None

    def find_director(self, keyid):
        return DIRECTOR.public.crypto if keyid == DIRECTOR.keyid else None

    def find_visitor(self, keyid, statement, *, relays=False):
        return None

    def find_founder(self, keyid, documents, statement=b""):
        return None

    async def visited(self, body):
        self.bodies.append(body)
        return self.report()

    def report(self):
        key = bytes.fromhex(self.uid.replace("-", ""))
        return AgentToServer(instance_uid=key, sequence_num=len(self.bodies)).SerializeToString()

    async def content(self, sha256, body):
        self.contents.append((sha256, body))

    async def output(self, sha256):
        found = self.outputs.get(sha256)
        if isinstance(found, Exception):
            raise found
        return found

    async def stream(self, stream, standing, limit):
        found, known = self.streams.get(stream, ()), decode(standing, stream)
        if isinstance(found, Exception):
            raise found
        self.standings.append(known)
        answer, left = b"", limit
        for frame in found:
            beyond = frame.head.epoch != known.epoch or frame.head.first >= known.next
            if beyond and frame.head.total > left:
                break
            answer += frame.encode() if beyond else b""
            left = limit - len(answer)
        return answer if answer or self.waits else None

    async def relay(self, body):
        if self.relayed is None:
            raise VisitError("operation", "this agent is no Proxy Manager")
        return self.relayed(body)

    def lost(self):
        self.lost_reports += 1


class Hub:
    """Answers so many reports with something to do, and the others with nothing."""

    def __init__(self, busy=0, *, again=False):
        self.heard, self.busy, self.again = [], busy, again

    def admit(self, peer, *, held, uid):
        return None

    def round(self, peer, body):
        self.heard.append((peer.uid, body))
        answer = quiet(AgentToServer.FromString(body).instance_uid)
        if len(self.heard) <= self.busy:
            return answer * (2 if self.again else 1 + len(self.heard))
        return answer


class Lossy(MemoryDials):
    """A way on which each request has the fate that is drawn for it; notes every request."""

    def __init__(self, lab, number, fates):
        super().__init__(lab.network, f"a{number}", "manager", lambda: lab.services[number])
        self.lab, self.fates, self.seen = lab, fates, []

    async def post(self, asked):
        self.seen.append(asked)
        fate = next(self.fates, "arrives")
        if fate == "request lost":
            await asyncio.sleep(1)
            raise VisitError("slow", "no answer")
        if fate == "restart":
            self.lab.restart()
        if fate == "twice":
            await super().post(asked)
        reply = await super().post(asked)
        if fate == "answer lost":
            raise VisitError("slow", "no answer")
        return reply


class Lab:
    """Agents with real services, and an upstream that visits them."""

    def __init__(self, clock, *, fates=(), key=DIRECTOR, known=lambda _keyid: ""):
        self.clock, self.agent_clock = clock, VirtualClock()
        self.network = Network(1)
        self.network.services["manager"] = None
        self.worlds = [World(number) for number in range(len(UIDS))]
        self.rng = random.Random(2)
        self.restart()
        self.nonces = [Nonce() for _ in UIDS]
        self.hub, self.key, self.known = Hub(), key, known
        fates = iter(fates)
        self.dials = [Lossy(self, number, fates) for number in range(len(UIDS))]

    def restart(self):
        """Have every agent start anew."""
        self.services = [
            VisitService(world, clock=self.clock, nonce=lambda: f"{self.rng.getrandbits(128):032x}")
            for world in self.worlds
        ]

    def visit(self, number=0, dials=None):
        return Visit(
            dials or self.dials[number],
            Signer(self.key.crypto, self.key.keyid),
            self.nonces[number],
            uid=UIDS[number],
            key=IDENTITIES[number].public.der,
            clock=self.clock,
            known=self.known,
        )

    async def run(self, number=0, *, dials=None, lacks=dict, outputs=None):
        peer = Peer(address="a", uid=UIDS[number], key=IDENTITIES[number].public.der)
        await self.visit(number, dials).run(self.hub, peer, lacks, outputs)

    async def replay(self, asked):
        headers = {name.lower(): value for name, value in asked.headers.items()}
        request = Request(
            method="POST",
            path="/v1/visit",
            peer=Peer("x"),
            raw_query=asked.query,
            headers=headers,
            body=asked.body,
        )
        return await self.services[0].answer(request)


def told(story, **what):
    clock = VirtualClock()

    async def tell():
        lab = Lab(clock, **what)
        await story(lab)
        for service in lab.services:
            await service.aclose()

    run_virtual(tell(), clock)


async def refusal(lab, **what):
    with pytest.raises(VisitError) as refused:
        await lab.run(**what)
    return refused.value
