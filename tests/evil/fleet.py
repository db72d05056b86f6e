"""A real Manager whose Proxy Manager ``dock`` is evil, and a judge who knows what agents signed."""

import uuid
from dataclasses import asdict
from pathlib import Path

from google.protobuf.message import DecodeError
from tests.manager.intake.disks import ForgetfulDisk
from tests.manager.intake.framing import Sender
from tests.manager.intake.rig import entries
from tests.manager.relays.conftest import Directory, Fleet, said, state_of
from tests.manager.relays.test_calls import joining
from tests.upstream.conftest import files
from tests.upstream.ordering import NONCES, Ordered, Ordering

from popham.manager.intake.intake import Intake
from popham.manager.intake.limits import Limits
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.store.rows import AgentRow, BundleRow, GroupRow, PolicyRow, ProxyRow
from popham.streams.frame import Stream
from popham.testing.direct import DirectManager
from popham.trust.ca import Authority
from popham.trust.identity import load_certificate, make_csr, read_identity
from popham.trust.keys import IdentityKey
from popham.trust.renewal import sign_renewal

STREAMS = (Stream.EVENTS, Stream.LOGS)
FRAMES = 10
NEVER = frozenset(
    {"last_contact", "address", "state", "state_revision", "promise", "sequence", "capabilities", "kind"}
)
"""Columns of an agent in which a proxy, or the agent's own signed word, may have a part."""


class Late:
    """Stands for something that is made after what needs it."""

    real = None

    def __getattr__(self, name):
        return getattr(self.real, name)


class EvilFleet:
    """Three proxies and their agents; ``dock`` was given the group ``lab``, ``pier`` the group ``other``.

    Attributes:
        genuine: uid → the envelopes of states that the agent signed, by revision.
        frames: (uid, stream) → frames that it signed, in order, of two epochs.
        calls: What agents really asked through this proxy: (kind, key, body).
        given: Nonce → when the Manager gave it to ``dock``.
        broken: What came of it that nobody signed; empty, or the property does not hold.
    """

    def __init__(self):
        self.genuine, self.results, self.frames, self.calls = {}, {}, {}, []
        self.given, self.broken = {}, []

    async def begin(self, keys):
        """Start the Manager, and have everybody join."""
        intake = Late()
        self.ordering, manager = Ordering(), None
        manager = self.manager = DirectManager(keys, self.ordering, intake)
        await manager.start()
        self.intake = intake.real = Intake(
            Path("/data/intake"),
            manager.store,
            manager.clock,
            limits=Limits(reserve=0),
            draw=lambda: 0.5,
            disk=ForgetfulDisk(),
        )
        await self.intake.load()
        self.fleet = Fleet(manager, Directory(), self.ordering, self.intake)
        self.fleet.start()
        await manager.publish(files())
        await manager.publish(files("secret of others\n", group="other"))
        self.dock = await self.fleet.proxy("dock", "lab")
        self.pier = await self.fleet.proxy("pier", "other")
        self.mine = [await manager.add_agent(f"web-{number}", "lab") for number in (1, 2)]
        self.others = [await manager.add_agent("db-1", "other")]
        self.agents = [*self.mine, *self.others]
        self.peer = self.dock.peer()
        self.fleet.clock.elapsed += 100.0
        self._heard(self.dock.nonce)
        for agent in self.agents:
            self._sign(agent)
        for agent in self.mine:
            record = self.fleet.record(agent)
            self.ordering.order(manager, record, NONCES[self.mine.index(agent)])
            self.results[agent.uid] = [
                Ordered(manager, agent).result(NONCES[self.mine.index(agent)], revision=number)
                for number in (1, 2)
            ]
        await self._ask()
        self.known = self._rows()
        return self

    async def end(self):
        """Stop what has a thread."""
        await self.intake.close()

    def _heard(self, nonce):
        self.given.setdefault(nonce.hex(), self.fleet.clock.now())

    def _sign(self, agent):
        """Have an agent sign states with all kinds of nonces, and frames of two streams."""
        nonces = ("", self.dock.nonce.hex(), self.pier.nonce.hex(), self.dock.nonce.hex(), "00" * 16)
        group = self.fleet.record(agent).group
        self.genuine[agent.uid] = {}
        for revision in range(1, 11):
            self.sign(agent, revision, nonces[revision % len(nonces)], group)
        for stream in STREAMS:
            found = []
            for epoch in (1, 2):
                sender = Sender(uid=uuid.UUID(agent.uid).bytes, stream=stream, key=agent.key, epoch=epoch)
                found += sender.frames(FRAMES, payload=b"%s %s" % (agent.name.encode(), stream.encode()))
            self.frames[agent.uid, stream] = found

    def sign(self, agent, revision, nonce, group):
        """Have an agent sign a state of itself."""
        envelope = state_of(agent, revision, nonce=nonce, group=group)
        self.genuine[agent.uid][envelope] = (revision, nonce)
        return envelope

    async def _ask(self):
        """Have everybody ask what is asked through a proxy; keep it, to be said again in all kinds of ways."""
        for group in ("lab", "other"):
            uid, key, call = await joining(self.fleet, group)
            self.calls.append(("enroll", uuid.UUID(uid).bytes, call.SerializeToString()))
            self.genuine.setdefault(uid, {})
            setattr(self, f"new_{group}", (uid, key))
        for agent in self.agents:
            uid = uuid.UUID(agent.uid).bytes
            csr = make_csr(agent.key, agent.uid)
            renew = wire.Renew(
                generation=5, certificate=agent.state.certificate(), signature=sign_renewal(agent.key, csr)
            )
            body = wire.AdmitCall(csr=csr, request=renew.SerializeToString()).SerializeToString()
            self.calls.append(("renew", uid, body))
            met = wire.MeetCall(certificate=agent.peer().certificate).SerializeToString()
            self.calls.append(("meet", uid, met))
            self.calls.append(
                ("claim", uid, self.manager.book.wanted(self.fleet.record(agent).group).envelope)
            )
            for name in Stream:
                asked = wire.StandingCall(stream=name, epoch=1).SerializeToString()
                self.calls.append(("standing", uid, asked))
        self.calls.append(("found", uid, wire.FoundCall(name="db").SerializeToString()))
        self.calls.append(
            ("otlp", b"", wire.OtlpCall(stream="logs", body=b"x", token="t").SerializeToString())
        )
        self.calls.append(("output", uid, wire.OutputCall(sha256="0" * 64, body=b"x").SerializeToString()))
        self.evil = IdentityKey.create()
        stranger = Authority.create("popham", self.fleet.clock)
        for agent in (*self.mine, self.dock.agent, self.pier.agent):
            pem = stranger.issue_agent(make_csr(self.evil, agent.uid), agent.uid)
            met = wire.MeetCall(certificate=pem).SerializeToString()
            self.calls.append(("meet", uuid.UUID(agent.uid).bytes, met))
            # The proxy asks for a certificate of an agent, by its own key and by one that nobody knows.
            for key in (self.evil, self.dock.agent.key):
                csr = make_csr(key, agent.uid)
                mine = self.dock.agent.state.certificate()
                renew = wire.Renew(generation=5, certificate=mine, signature=sign_renewal(key, csr))
                body = wire.AdmitCall(csr=csr, request=renew.SerializeToString()).SerializeToString()
                self.calls.append(("renew", uuid.UUID(agent.uid).bytes, body))
        return self

    # What the evil one does.

    async def post(self, body):
        """Send one message as ``dock``; returns the answer, which is one whatever was sent."""
        response = await self.fleet.post(self.peer, body)
        assert response.status in {200, 400, 403, 413}, (response.status, response.body)
        return response

    def hear(self, body, counts):
        """Take what was answered: nonces serve the evil one too, and results are named when they are durable."""
        down = wire.RelayDown.FromString(body)
        self.dock.take(body)
        if down.nonce:
            self._heard(down.nonce)
        counts["told"] += len(down.agents)
        counts.update(reply.code or "answered" for reply in down.replies)

    # What came of it.

    def look(self):
        """Return what is known of everybody, to be compared later."""
        found = {}
        for agent in (*self.agents, self.pier.agent, self.dock.agent):
            record = self.fleet.record(agent)
            found[agent.uid] = (record.envelope, self._fixed(record), record.via, record.relay)
        return found

    def _fixed(self, record):
        return (
            *(
                record.name,
                record.group,
                record.admission,
                record.public_key,
                record.assignment,
                record.described,
            ),
            *(record.candidate, record.dialer, record.remote, record.certificate_until),
        )

    def judge(self, before):
        """Compare what is known with what was; only what agents signed may be other."""
        given = {agent.uid for agent in self.mine}
        for agent in (*self.agents, self.pier.agent, self.dock.agent):
            record, (envelope, fixed, via, relay) = self.fleet.record(agent), before[agent.uid]
            renewed = agent.uid in given and self._fixed(record)[:-1] == fixed[:-1]
            if self._fixed(record) != fixed and not renewed:
                self.broken.append((agent.name, "record", self._fixed(record), fixed))
            if agent.uid not in given and (record.via, record.relay) != (via, relay):
                self.broken.append((agent.name, "place", record.via))
            if record.envelope != envelope and not self._may_hold(agent, record.envelope, envelope):
                self.broken.append((agent.name, "state", record.envelope))

    def _may_hold(self, agent, now, former):
        signed = self.genuine.get(agent.uid, {})
        if now not in signed or agent not in self.mine:
            return False
        revision, nonce = signed[now]
        fresh = self.fleet.clock.now() - self.given.get(nonce, -1e9) <= 3 * (60.0 + self.dock.record.promise)
        return fresh and revision > signed.get(former, (0, ""))[0]

    def _rows(self):
        """Return what is durable of everybody and everything, but what agents say."""
        tables = self.manager.store._tables
        agents = {
            row.uid: {name: value for name, value in asdict(row).items() if name not in NEVER}
            for row in tables[AgentRow].values()
        }
        rest = {kind: dict(tables.get(kind, {})) for kind in (GroupRow, PolicyRow, BundleRow, ProxyRow)}
        return agents, rest

    def judge_rows(self):
        """Compare what is durable with what was at the beginning; who joined did so with a key of its own."""
        agents, rest = self._rows()
        uid, key = self.new_lab
        joined = agents.pop(uid, None)
        if joined is not None and (joined["public_key"], joined["group"]) != (key.public.der, "lab"):
            self.broken.append(("joined", joined))
        for name in ("certificate_until", "certificate_serial"):
            # Who asked to renew has done so with its own key: that is judged where certificates are given.
            for row in (*agents.values(), *self.known[0].values()):
                row.pop(name, None)
        if agents != self.known[0]:
            self.broken.append(("rows", agents, self.known[0]))
        if rest != self.known[1]:
            self.broken.append(("definitions", rest))

    def judge_answer(self, body):
        """Look at what was answered: certificates are for whoever has the key, and nothing of others is told."""
        down = wire.RelayDown.FromString(body)
        owned = {uuid.UUID(agent.uid).bytes: agent.key for agent in self.mine}
        owned[uuid.UUID(self.new_lab[0]).bytes] = self.new_lab[1]
        for told in down.agents:
            if not told.gone and told.key not in owned:
                self.broken.append(("told", told.name))
        for told in down.groups:
            if not told.gone and told.name != "lab":
                self.broken.append(("told", told.name))
        book = self.manager.book
        others = book.wanted("other").blobs.keys() - book.wanted("lab").blobs.keys()
        if any(body.sha256 in others and not body.absent for body in down.bodies):
            self.broken.append(("body", "of others"))
        for reply in down.replies:
            self._judge_reply(reply, owned)

    def _judge_reply(self, reply, owned):
        admitted = wire.Admitted()
        try:
            admitted.ParseFromString(reply.body)
        except DecodeError:
            return
        if not admitted.certificate.startswith(b"-----BEGIN"):
            return
        found = load_certificate(admitted.certificate)
        identity = read_identity(found)
        key = owned.get(uuid.UUID(identity.uid).bytes)
        if identity.role != "agent" or key is None or found.public_key() != key.crypto.public_key():
            self.broken.append(("certificate", identity))

    async def judge_streams(self):
        """Look at what was kept of streams: frames as they were signed, each once, and the standing says what lacks."""
        for stream in STREAMS:
            kept = {}
            for entry in entries(self.intake, stream):
                head = entry.frame.head
                where = (head.uid, head.epoch, head.first)
                if where in kept:
                    self.broken.append(("twice", where))
                kept[where] = entry.frame.encode()
            signed = {
                (frame.head.uid, frame.head.epoch, frame.head.first): frame.encode()
                for agent in self.mine
                for frame in self.frames[agent.uid, stream]
            }
            if not kept.items() <= signed.items():
                self.broken.append(("frames", stream))
            await self._judge_standings(stream, kept)

    async def _judge_standings(self, stream, kept):
        for agent in self.mine:
            for epoch in (1, 2):
                standing = await self.intake.standing(self.fleet.record(agent), stream, epoch)
                had = set(range(standing.next))
                had |= {at for one in standing.ranges for at in range(one.first, one.end)}
                uid = uuid.UUID(agent.uid).bytes
                if had != {first for key, number, first in kept if (key, number) == (uid, epoch)}:
                    self.broken.append(("standing", agent.name, stream, standing))

    async def others_are_served(self):
        """Look that the Manager serves others, and this proxy too once it says what is so."""
        db, clock = self.others[0], self.fleet.clock
        clock.elapsed += 400.0
        self.pier.begin_anew(self.pier.boot + 1000)
        await self.pier.relay()
        state = state_of(db, 10_000, nonce=self.pier.nonce.hex(), group="other")
        await self.pier.relay(said(db, state))
        assert self.fleet.record(db).envelope == state
        await self.mine[1].round()
        assert not self.fleet.record(self.mine[1]).via
        self.dock.begin_anew(7)
        await self.dock.relay()
        await self.dock.relay()
        state = state_of(self.mine[0], 10_000, nonce=self.dock.nonce.hex())
        await self.dock.relay(said(self.mine[0], state))
        assert self.fleet.record(self.mine[0]).envelope == state
        assert self.fleet.record(self.mine[0]).via == (self.dock.uid,)
