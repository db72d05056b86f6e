"""An agent with a real state directory, and a judge beside it who knows what was signed for it."""

import asyncio
import base64
import json

from popham.agent.credentials import Credentials
from popham.agent.end import AgentEnd
from popham.agent.enforcer import Enforcer
from popham.agent.operations.runner import Operations
from popham.agent.settings import OperationsSettings
from popham.agent.state import AgentState
from popham.agent.visited import AgentWorld
from popham.downstream.service import VisitService
from popham.errors import LinkError, PophamError
from popham.model.names import DEFAULT_TENANT, digest
from popham.net.seam import Peer, Request
from popham.net.signing import Operation, show_visitor, sign_request
from popham.opamp.codec import parse_agent, parse_custom
from popham.statedir import StateDir
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import open_state

from .attack import Attack, alter, distort, render
from .history import GROUPS, PROXIES, VICTIM, history


class Applier:
    """Takes note of the bodies that come into force."""

    supported = frozenset({"files"})

    def __init__(self):
        self.applied = []

    async def apply(self, policies):
        self.applied = [policy.body for policy in policies]

    async def check(self, policies):
        """Refuse no candidate."""


class Visits:
    """What a visitor reaches who is believed."""

    def __init__(self):
        self.count = 0

    async def visited(self, body):
        self.count += 1
        return b""


class Victim:
    """The agent, and what may have become of it by what was signed.

    Attributes:
        counts: Attacks by place, and what of them was taken because it was signed for this agent after all.
        broken: What was taken that was not: empty, or the property does not hold.
    """

    def __init__(self, folder, counts):
        self.folder, self.counts = folder, counts
        self.history = history()
        self.clock = self.history.clock
        self.applier, self.visits = Applier(), Visits()
        self.served, self.broken = {}, []
        self.taken = {}
        self._seed()
        self._boot()

    def _seed(self):
        said = self.history
        with StateDir.open(self.folder, "agent", create=True) as directory:
            state = AgentState(directory)
            state.create_identity(VICTIM, said.identity)
            state.save_documents(said.keys.root, said.keys.targets)
            state.save_certificate(said.certificate)
            state.save_assignment(said.first.envelope)
        self.assigned, self.floors = said.first, {}

    def _boot(self):
        self.directory = StateDir.open(self.folder, "agent", create=False)
        self.state = AgentState(self.directory)
        news, said = asyncio.Event(), self.history
        tuf = TrustedTuf.from_bytes(said.keys.root, said.keys.targets)
        enforcer = self.enforcer = Enforcer(self.state, self.applier, tuf, self.clock, news.set)
        enforcer.refuse = self._refused
        self.operations = Operations(
            self.state, tuf, self.clock, enforcer, settings=OperationsSettings(), news=news.set
        )
        self.end = AgentEnd(
            self.state,
            enforcer,
            Credentials(self.state, self.clock, lambda: 0.5, lambda: None),
            facts={"host.name": "victim"},
            fetch=self._fetch,
            version="0.8.0",
            news=news,
            operations=self.operations,
        )
        self.world = AgentWorld(self.state, tuf, self.visits, self.end)

    def _refused(self, error):
        self.counts[error.code] += 1
        Enforcer.refuse(self.enforcer, error)

    async def _fetch(self, sha256, limit):
        body = self.served.get(sha256, self.history.blobs.get(sha256))
        if body is None or len(body) > limit:
            raise LinkError("status", "it is not there", status=404)
        return body

    def restart(self):
        """Begin anew from what is on the disk."""
        self.close()
        self._boot()

    def close(self):
        """Let go of the state directory."""
        self.directory.close()

    # What comes.

    async def deliver(self):
        """Bring the next bundle of its group, as an honest proxy does; it is taken."""
        held = self.floors.get(self.assigned.group, 0)
        found = [one for one in self.history.of("bundle", group=self.assigned.group) if one.number > held]
        if found:
            await self._hear(*render(Attack("offer", 0), self.end.uid, found[0], found[0]))
            assert self.state.floor(DEFAULT_TENANT, self.assigned.group).version == found[0].number
            assert self.applier.applied == _bodies(found[0])
        self.judge()

    async def bear(self, attack):
        """Bear one attack, and judge what came of it."""
        one, two = attack.choose(self.history.documents)
        self.counts[attack.place] += 1
        if attack.place == "visitor":
            await self._visited(attack, one, two)
        elif attack.place == "wire":
            answers = self.history.answers
            await self._receive(distort(attack, answers[attack.one % len(answers)]))
        elif attack.place == "content":
            await self._brought(one, two)
        else:
            await self._hear(*render(attack, self.end.uid, one, two))
        self.judge()

    async def _hear(self, said, bodies):
        self.served = bodies
        await self._receive(said.SerializeToString())
        self.served = {}

    async def _receive(self, data):
        try:
            await self.end.receive(data)
        except PophamError as error:
            self.counts[error.code] += 1

    async def _brought(self, one, two):
        for body in (*one.blobs.values(), one.envelope):
            try:
                await self.end.bring(digest(two.envelope), body)
            except PophamError as error:
                self.counts[error.code] += 1

    async def _visited(self, attack, one, two):
        """Visit with the key that the evil proxy has, and a statement."""
        key, before = PROXIES["blue"], self.visits.count
        asked = sign_request(
            key.crypto,
            key.keyid,
            method="POST",
            audience=VICTIM,
            operation=Operation.VISIT,
            nonce="n",
            now=0.0,
        )
        asked = show_visitor(asked, alter(attack, one, two))
        headers = {name.lower(): value for name, value in asked.headers.items()}
        service = VisitService(self.world, clock=self.clock, nonce=lambda: "n")
        for _ in range(2):
            await service.answer(
                Request(method="POST", path="/v1/visit", peer=Peer("192.0.2.1"), headers=headers)
            )
        await service.aclose()
        genuine = [found for found in self.history.of("visitor", keyid=key.keyid) if self._holds(found)]
        allowed = {found.payload for found in genuine if found.group == self.assigned.group}
        if self.visits.count > before and _payload(alter(attack, one, two)) not in allowed:
            self.broken.append(attack)

    def _holds(self, statement):
        return statement.expires > self.enforcer.known_time

    # What came of it.

    def judge(self):
        """Compare what the agent keeps with what was signed for it; what is new and right raises the floors."""
        state, said = self.state, self.history
        self._judge_assignment(state.assignment())
        self._judge_bundle(state.bundle())
        for group, version in self.floors.items():
            held = state.floor(DEFAULT_TENANT, group)
            if held is None or held.version != version:
                self.broken.append(("floor", group, version, held))
        bodies = [_bodies(one) for group in GROUPS for one in said.of("bundle", group=group)]
        if self.applier.applied and self.applier.applied not in bodies:
            self.broken.append(("applied", self.applier.applied))
        ordered = {one.nonce for one in said.of("operation", uid=VICTIM)}
        if not ordered >= self.operations._ledger.entries.keys() | self.operations._refused.keys():
            self.broken.append(("operation", list(self.operations._ledger.entries)))
        kept = state.documents()
        mine = (state.uid, state.certificate(), kept.root, kept.targets)
        if mine != (VICTIM, said.certificate, said.keys.root, said.keys.targets):
            self.broken.append(("identity", state.uid))

    def _judge_assignment(self, envelope):
        payload = _payload(envelope)
        if payload == self.assigned.payload:
            return
        newer = [
            one for one in self.history.of("assignment", uid=VICTIM) if one.number > self.assigned.number
        ]
        found = next((one for one in newer if one.payload == payload), None)
        if found is None:
            self.broken.append(("assignment", payload))
            return
        self.assigned = found
        self.counts["taken"] += 1

    def _judge_bundle(self, envelope):
        if envelope is None or envelope == self.taken.get("bundle"):
            return
        payload = _payload(envelope)
        found = [one for one in self.history.of("bundle") if one.payload == payload]
        held = self.floors.get(found[0].group, 0) if found else 0
        if not found or found[0].number < held or found[0].group != self.assigned.group:
            self.broken.append(("bundle", payload))
            return
        self.taken["bundle"] = envelope
        self.counts["taken"] += found[0].number > held
        self.floors[found[0].group] = found[0].number

    def report(self):
        """Return the state record that it sends now, which its own key signed."""
        said = parse_custom(parse_agent(self.end.report(force=True)).custom_message)
        key = self.history.identity.public.der
        return open_state(said.state, public_der=key, uid=VICTIM) if said is not None else None


def _payload(envelope):
    try:
        outer = json.loads(envelope)
        return outer["payloadType"], base64.b64decode(outer["payload"])
    except (ValueError, KeyError, TypeError):
        return None


def _bodies(bundle):
    return [json.loads(body)["body"] for body in bundle.blobs.values()]
