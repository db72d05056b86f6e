"""What an evil proxy says to the Manager above it: drawn by hypothesis, as parts of one message or as bytes."""

import json
import random
import uuid
from dataclasses import dataclass

from hypothesis import strategies as st
from tests.manager.relays.conftest import said, state_of

from popham.opamp.relay import RELAY_LIMIT
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire

from .fleet import STREAMS

KINDS = (
    "said",
    "forged",
    "result",
    "frames",
    "call",
    "asked",
    "known",
    "lacks",
    "presence",
    "status",
    "left",
)
WHOLE = ("bytes", "fields", "head", "boot", "silence")
"""What is done to a message as a whole."""
PATHS = (
    "../../state/ca.key",
    "/etc/passwd",
    "..",
    "",
    "\0",
    "lab/../other",
    "x" * 5000,
    "\u202e",
    "\n\x1b[2J",
)
NUMBERS = (0, 1, 2**31, 2**32 - 1)
TIMES = (0.0, -1.0, 1e-300, 1e9, 1e308, float("inf"), float("-inf"), float("nan"), 5.0)
STATUSES = (
    b'{"visitor_key": "%s"}',
    b'{"visitor_key": ["\\ud800"], "streams": {"events": "\\ud800"}}',
    b"[" * 100_000,
    b'{"a":' * 990 + b"1" + b"}" * 990,
    b'{"visitor_key": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"streams": {"logs": {"records": 1e400, "bytes": -1, "oldest": "x"}}, "agents": NaN}',
    b"9" * 200_000,
    b"\xff\xfe",
    b"null",
)
FAR = 1000
"""Seconds for which a proxy may wait with what it says."""


@dataclass(frozen=True)
class Blow:
    """One part of a message; what is put where comes from ``seed``."""

    kind: str
    seed: int


def blows(kinds=KINDS):
    """Return a strategy of the parts of one message, what is done to it as a whole, and how long it waits."""
    one = st.builds(Blow, st.sampled_from(kinds), st.integers(0, 2**32))
    whole = st.sampled_from(("", "", "", *WHOLE))
    return st.tuples(
        st.lists(one, min_size=1, max_size=4), whole, st.integers(0, 2**32), st.sampled_from((0, 0, 9, FAR))
    )


class Evil:
    """Makes messages of ``dock`` to its Manager."""

    def __init__(self, rig):
        self.rig, self.calls, self.sent = rig, 0, []

    def render(self, parts, whole, seed):
        """Return the bytes of one message."""
        rng, up = random.Random(seed), wire.RelayUp()
        for part in parts:
            getattr(self, f"_{part.kind}")(up, random.Random(part.seed))
        up.head.CopyFrom(self.rig.dock.exchange.head(more=rng.random() < 0.2))
        if whole == "boot":
            up.head.boot = rng.getrandbits(64)
        elif whole == "head":
            for name in rng.sample(("boot", "other", "number", "heard", "generation"), 2):
                setattr(up.head, name, rng.choice((0, 1, 2**31, 5)))
        elif whole == "silence":
            up.head.heard = 2**40  # it never says that it has heard
        data = up.SerializeToString()[:RELAY_LIMIT]
        if whole == "fields" and self.sent:
            # Messages that stand one behind the other are one message.
            data += rng.choice(self.sent)
        if whole == "bytes":
            data = distort(data, rng)
        self.sent = [*self.sent[-20:], data]
        return data

    def _anybody(self, rng):
        rig = self.rig
        keys = [uuid.UUID(agent.uid).bytes for agent in (*rig.agents, rig.dock.agent, rig.pier.agent)]
        return rng.choice([*keys, *keys, rng.randbytes(16), b"", b"short", b"l" * 100])

    def _said(self, up, rng):
        """Say what an agent signed: of another, older, with another nonce, from elsewhere."""
        rig = self.rig
        agent = rng.choice([*rig.agents, *rig.mine, rig.dock.agent, rig.pier.agent])
        whose = agent.uid if rng.random() < 0.7 else rng.choice(rig.agents).uid
        state = rng.choice([b"", *rig.genuine.get(whose, ())])
        found = said(agent, distort(state, rng) if rng.random() < 0.3 else state)
        self._say(up, found, rng)

    def _forged(self, up, rng):
        """Say what no agent signed."""
        rig = self.rig
        agent = rng.choice([*rig.agents, rig.pier.agent, rig.dock.agent])
        key = rng.choice([rig.evil, rig.dock.agent.key, *(one.key for one in rig.agents if one is not agent)])
        state = state_of(agent, rng.choice((1, 99, 2**62)), key, nonce=rng.choice(list(rig.given)))
        if rng.random() < 0.3:
            outer, mine = json.loads(state), json.loads(next(iter(rig.genuine[rig.mine[0].uid])))
            state = json.dumps(
                outer | {rng.choice(("signatures", "payload", "payloadType")): mine["signatures"]}
            ).encode()
        self._say(up, said(agent, state, bundle=rng.choice((b"", b"x" * 100))), rng)

    def _result(self, up, rng):
        """Say how operations ended, as agents signed it or not."""
        rig = self.rig
        agent = rng.choice(rig.agents)
        results = [one for some in rig.results.values() for one in some]
        found = [
            distort(rng.choice(results), rng) if rng.random() < 0.4 else rng.choice(results) for _ in range(2)
        ]
        self._say(up, said(agent, rng.choice([b"", *rig.genuine[agent.uid]]), results=found), rng)

    def _say(self, up, found, rng):
        """Put a saying into a message, with anything beside it that only the proxy says."""
        found.index, found.age = rng.choice(NUMBERS), rng.choice(TIMES)
        found.promise, found.held = rng.choice(TIMES), rng.random() < 0.5
        found.via.extend(
            rng.choice((b"", b"x", self._anybody(rng), rng.randbytes(16)))
            for _ in range(rng.choice((0, 2, 40)))
        )
        found.address = rng.choice((*PATHS, "192.0.2.1"))
        found.offered.extend(rng.choice(PATHS) for _ in range(3))
        found.unvisited = rng.choice(("", "visit.refused " + "y" * 100_000, "visit.off x", "\x1b[2J"))
        if rng.random() < 0.2:
            found.key = self._anybody(rng)
        if rng.random() < 0.2:
            message = AgentToServer.FromString(found.message)
            message.custom_message.type = rng.choice(
                ("report", "enroll", "renew", "wake", "nothing", "append")
            )
            message.custom_message.data = distort(message.custom_message.data, rng)
            message.remote_config_status.status = 1
            message.agent_disconnect.SetInParent()
            found.message = message.SerializeToString()
        if rng.random() < 0.1:
            found.message = distort(found.message, rng)
        up.agents.append(found)

    def _frames(self, up, rng):
        """Carry frames that were altered, left out, repeated, exchanged or somebody else's."""
        rig = self.rig
        agent, stream = rng.choice(rig.agents), rng.choice(STREAMS)
        frames = [one.encode() for one in rig.frames[agent.uid, stream]]
        at = rng.randrange(len(frames))
        frames = alter_frames(frames[at : at + rng.randint(1, 6)], rng)
        others = [one.encode() for some in rig.frames.values() for one in some]
        if rng.random() < 0.2:
            frames.insert(rng.randint(0, len(frames)), rng.choice(others))
        key = uuid.UUID(agent.uid).bytes if rng.random() < 0.8 else self._anybody(rng)
        name = stream if rng.random() < 0.8 else rng.choice(("metrics", "summary", *PATHS))
        carried = wire.Carried(key=key, stream=name, frames=b"".join(frames))
        carried.now, carried.waiting = rng.choice(TIMES), rng.choice((0, 2**63, 2**64 - 1))
        up.streams.append(carried)

    def _call(self, up, rng):
        """Ask what was asked once: again, of another, or with other words."""
        kind, key, body = rng.choice(self.rig.calls)
        for _ in range(rng.choice((1, 1, 1, 300))):
            self.calls += 1
            call = up.calls.add(id=self.calls, kind=kind, key=key, body=body, address=rng.choice(PATHS))
        if rng.random() < 0.3:
            call.key = self._anybody(rng)
        if rng.random() < 0.3:
            call.body = distort(body, rng)
        if rng.random() < 0.2:
            call.kind = rng.choice([one[0] for one in self.rig.calls] + ["dance", "", *PATHS])
        if rng.random() < 0.1:
            call.id = rng.choice((0, 1, 2**64 - 1))

    def _asked(self, up, rng):
        """Ask for the admission, or a new certificate, of another agent, or one with other words."""
        rig = self.rig
        bodies = [one for one in rig.calls if one[0] in {"enroll", "renew"}]
        kind, key, body = rng.choice(bodies)
        mine, theirs = wire.AdmitCall.FromString(body), wire.AdmitCall.FromString(rng.choice(bodies)[2])
        setattr(
            mine, *rng.choice((("csr", theirs.csr), ("request", theirs.request), ("walled", not mine.walled)))
        )
        key = key if rng.random() < 0.5 else rng.choice(bodies)[1]
        self.calls += 1
        up.calls.add(
            id=self.calls, kind=kind, key=key, body=mine.SerializeToString(), address=rng.choice(PATHS)
        )

    def _known(self, up, rng):
        """Say that groups and agents are known."""
        for _ in range(rng.choice((1, 3, 600))):
            up.groups.add(
                key=rng.choice((b"lab", b"other", b"fleet", rng.randbytes(6), b"../x", b"\xff")),
                digest=b"x" * 8,
            )
            up.agents_known.add(key=self._anybody(rng), digest=rng.randbytes(8))

    def _lacks(self, up, rng):
        """Ask for bodies, of others too, and by names that are none."""
        book = self.rig.manager.book
        names = [*book.wanted("lab").blobs, *book.wanted("other").blobs, *PATHS]
        for _ in range(rng.choice((1, 3, 2000))):
            up.lacks.add(sha256=rng.choice(names), offset=rng.choice((0, 1, 10**6, 2**64 - 1)))

    def _presence(self, up, rng):
        up.presence = rng.choice((b"", rng.randbytes(40), bytes(200_000), b"\xff" * 30))

    def _status(self, up, rng):
        up.status = rng.choice(STATUSES)

    def _left(self, up, rng):
        up.left.extend(self._anybody(rng) for _ in range(rng.choice((1, 4, 500))))


def distort(data, rng):
    """Return bytes that are not the ones that they were; there may be none of them."""
    at = rng.randrange(len(data) + 1)
    how = rng.choice(("flip", "cut", "add", "repeat"))
    if how == "flip" and at < len(data):
        return data[:at] + bytes([data[at] ^ rng.randint(1, 255)]) + data[at + 1 :]
    if how == "cut":
        return data[:at]
    return data[:at] + (data[:at] if how == "repeat" else rng.randbytes(rng.randint(1, 40))) + data[at:]


def alter_frames(frames, rng):
    """Return frames of which one was altered, left out, repeated, or exchanged with the next; or all as they are."""
    frames, at = list(frames), rng.randrange(len(frames))
    how = rng.choice(("", "alter", "drop", "repeat", "swap", "cut"))
    if how == "alter":
        frames[at] = distort(frames[at], rng)
    elif how == "drop":
        del frames[at]
    elif how == "repeat":
        frames.insert(at, frames[at])
    elif how == "swap":
        frames[at], frames[at - 1] = frames[at - 1], frames[at]
    elif how == "cut":
        frames[-1] = frames[-1][: rng.randrange(len(frames[-1]))]
    return frames
