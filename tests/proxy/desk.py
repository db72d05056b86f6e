"""What a test has above a proxy: a desk that it fills, and documents that the director of its fleet signed."""

import json

from popham.errors import NotFoundError
from popham.model.bundle import BUNDLE_TYPE, Bundle, LocationSet, PolicyRef
from popham.model.communication import CommunicationSettings
from popham.model.names import canonical, digest
from popham.opamp.codec import parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentToServer,
)
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.testing.virtual import VirtualClock
from popham.trust.dsse import seal
from popham.trust.keys import SigningKey
from popham.trust.tuf import TrustedTuf, create_root, create_targets
from popham.upstream.relaying import Scope

CLOCK = VirtualClock()
ROOT, TARGETS, DIRECTOR = SigningKey.create(), SigningKey.create(), SigningKey.create()
TUF = TrustedTuf.from_bytes(
    create_root(ROOT, TARGETS.public, now=CLOCK.now()),
    create_targets(TARGETS, DIRECTOR.public, now=CLOCK.now()),
)


def body_of(text):
    """Return the body of a policy."""
    return canonical({"type": "files", "name": "motd", "body": {"text": text}})


def group_told(*bodies, name="fleet", version=1, signer=DIRECTOR, **told):
    """Return what a group is to have, whose bundle names these bodies."""
    refs = tuple(
        PolicyRef(type=f"t{at}", name="motd", revision=1, sha256=digest(body), length=len(body))
        for at, body in enumerate(bodies)
    )
    held = LocationSet(policies=refs, communication=CommunicationSettings())
    bundle = Bundle(group=name, serial=version, version=version, issued=1, locations={"default": held})
    envelope = seal(BUNDLE_TYPE, bundle.payload(), signer)
    return wire.GroupTold(
        name=name,
        serial=version,
        version=version,
        content_digest=bundle.content_digest,
        envelope=envelope,
        blobs=[ref.sha256 for ref in refs],
        **told,
    )


class MemoryDesk:
    """Answers for a fleet that a test makes up; notes what a proxy says."""

    def __init__(self):
        self.agents, self.groups, self.bodies, self.fetched = {}, {}, {}, []
        self.place, self.given = {}, {"fleet"}
        self.said_of, self.gone, self.calls, self.replies = {}, [], [], {}
        self.results = set()
        self.presence, self.status, self.carried = b"", {}, []
        self.nonce_now, self.visitor_now, self.custody = b"n1", b"", {}

    def add(self, *agents):
        for agent in agents:
            self.agents[agent.key] = agent.told()

    def put_group(self, *bodies, **told):
        found = group_told(*bodies, **told)
        self.groups[found.name] = found
        self.bodies |= {digest(body): body for body in bodies}

    # What relays ask.

    def scope(self, proxy):
        return Scope(groups=frozenset(self.given), custody=self.custody)

    def told(self, proxy, key):
        found = self.agents.get(key)
        if found is None or found.group not in self.given:
            return wire.AgentTold(key=key, gone=True)
        copy = wire.AgentTold()
        copy.CopyFrom(found)
        return copy

    def group_told(self, proxy, name):
        found = self.groups.get(name)
        return wire.GroupTold(name=name, gone=True) if found is None or name not in self.given else found

    def places(self, proxy):
        return list(self.place.values())

    def body(self, proxy, sha256):
        return self.bodies.get(sha256)

    async def fetch(self, proxy, sha256):
        self.fetched.append(sha256)
        return len(self.bodies.get(sha256, b""))

    def nonce(self, proxy):
        return self.nonce_now

    def visitor(self, proxy):
        return self.visitor_now

    async def said(self, proxy, said):
        self.said_of[said.key] = said
        message = AgentToServer.FromString(said.message)
        if message.HasField("custom_message"):
            self.results |= set(parse_custom(message.custom_message).results)
        return said.key not in self.agents

    def left(self, proxy, keys):
        self.gone += keys

    def arrived(self, proxy, key, heard):
        pass

    def present(self, proxy, boot, presence):
        self.presence = presence or self.presence

    def stood(self, proxy, status):
        self.status = json.loads(status)

    async def append(self, proxy, carried):
        self.carried.append(carried)
        return [wire.Stood(key=carried.key, standing=wire.Standing(stream=carried.stream, next=1))]

    def hand_on(self, proxy, call, done):
        return False

    async def call(self, proxy, call):
        if call.kind == "standing":
            # Also asked by whoever tells the proxy of an agent.
            stream = wire.StandingCall.FromString(call.body).stream
            return wire.Standing(stream=stream, epoch=1, newest=1).SerializeToString()
        self.calls.append(call)
        answer = self.replies.get(call.kind)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer(call) if callable(answer) else answer
        if call.kind == "meet":
            return self.told(proxy, call.key).SerializeToString()
        raise NotFoundError("route", f"nobody answers {call.kind}")
