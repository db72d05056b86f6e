"""A genuine Proxy Manager that has turned evil: what leaves it for agents is something else, on whatever way."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable
from dataclasses import replace

from google.protobuf.message import DecodeError

from popham.model.names import digest
from popham.net.seam import Refusal, Refused
from popham.net.signing import Frames, Operation
from popham.opamp.codec import custom, decode_frame, encode_frame
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1.popham_pb2 import Directive, Standings
from popham.opamp.wire import BLOB_KEY, BUNDLE_KEY
from popham.upstream.directive import quiet
from popham.upstream.visits import Visit

from .blows import distort

WHAT = (
    *("nothing", "quiet", "bytes", "replay", "of another", "addressed anew", "refuse"),
    *("mixed", "bodies", "edited", "directive", "standings"),
)
"""What becomes of a message; ``nothing`` for what it was."""


class Evil:
    """Tampers with what one proxy says to its agents, while it is ``on``.

    Attributes:
        counts: What was done.
        said: uid → all that was ever said to that agent.
    """

    def __init__(self, seed):
        self.on, self.counts, self.said = False, Counter(), defaultdict(list)
        self._rng = random.Random(seed)

    def tamper(self, data):
        """Return what goes to an agent instead of a ServerToAgent."""
        try:
            uid = ServerToAgent.FromString(data).instance_uid
        except DecodeError:
            return data
        said = self.said[uid]
        if data not in said[-40:]:
            said.append(data)
        if not self.on:
            return data
        what = self._rng.choice(WHAT)
        self.counts[what] += 1
        return getattr(self, f"_{what.replace(' ', '_')}")(uid, data)

    def _nothing(self, _uid, data):
        return data

    def _quiet(self, uid, _data):
        return quiet(uid)

    def _refuse(self, _uid, _data):
        return b""

    def _bytes(self, _uid, data):
        return distort(data, self._rng)

    def _replay(self, uid, _data):
        return self._rng.choice(self.said[uid])

    def _another(self, uid):
        others = [one for key, said in self.said.items() if key != uid for one in said]
        return ServerToAgent.FromString(self._rng.choice(others)) if others else ServerToAgent()

    def _of_another(self, uid, _data):
        return self._another(uid).SerializeToString()

    def _addressed_anew(self, uid, _data):
        found = self._another(uid)
        found.instance_uid = uid
        return found.SerializeToString()

    def _mixed(self, uid, data):
        """Put parts of another message, of this agent or another, into this one."""
        mine = ServerToAgent.FromString(data)
        theirs = (
            self._another(uid)
            if self._rng.random() < 0.5
            else ServerToAgent.FromString(self._replay(uid, b""))
        )
        for name in self._rng.sample(["remote_config", "custom_message", "connection_settings", "flags"], 2):
            mine.ClearField(name)
            if name == "flags":
                mine.flags = theirs.flags
            elif theirs.HasField(name):
                getattr(mine, name).CopyFrom(getattr(theirs, name))
        mine.instance_uid = uid
        return mine.SerializeToString()

    def _offers(self):
        """Yield what was ever offered to anybody."""
        for said in self.said.values():
            for one in said:
                found = ServerToAgent.FromString(one)
                if found.HasField("remote_config"):
                    yield found

    def _bodies(self, uid, data):
        """Offer a bundle with other bodies than it names."""
        return self._offer(uid, data, lambda key, body: distort(body, self._rng) if BLOB_KEY in key else body)

    def _edited(self, uid, data):
        """Offer a bundle in which something else is written, signed by nobody, or by itself."""

        def edit(key, body):
            if key != BUNDLE_KEY:
                return body
            try:
                outer = json.loads(body)
                part = self._rng.choice(("payload", "signatures", "payloadType"))
                return json.dumps(outer | {part: self._rng.choice((outer["payload"], [], "x"))}).encode()
            except (ValueError, KeyError):
                return distort(body, self._rng)

        return self._offer(uid, data, edit)

    def _offer(self, uid, data, change):
        offers = list(self._offers())
        if not offers:
            return data
        found = self._rng.choice(offers)
        found.instance_uid = uid
        config = found.remote_config.config.config_map
        for key in list(config):
            config[key].body = change(key, config[key].body)
        found.remote_config.config_hash = self._rng.randbytes(32)
        return found.SerializeToString()

    def _directive(self, uid, data):
        """Direct something that nobody signed, or another is directed to."""
        found, rng = ServerToAgent.FromString(data), self._rng
        said = Directive(
            generation=rng.choice((0, 5, 99)), nonce=rng.randbytes(16), want_state=rng.random() < 0.5
        )
        theirs = self._another(uid)
        others = Directive()
        try:
            others.ParseFromString(theirs.custom_message.data)
        except DecodeError:
            others.Clear()
        said.assignment = rng.choice((b"", b"{}", others.assignment, digest(b"").encode()))
        said.operations.extend(rng.choice(([], [b"{}"], list(others.operations))))
        found.custom_message.CopyFrom(custom(said))
        return found.SerializeToString()

    def _standings(self, uid, data):
        found, rng = ServerToAgent.FromString(data), self._rng
        said = Standings()
        said.standings.add(
            stream=rng.choice(("logs", "events", "x")), epoch=1, next=rng.choice((0, 2**40, 2**63))
        )
        found.custom_message.CopyFrom(custom(said))
        return found.SerializeToString()

    def body(self, data):
        """Return what is brought instead of a body of content."""
        if not self.on:
            return data
        self.counts["content"] += 1
        return self._rng.choice(
            (data, distort(data, self._rng), b"", data * 2, self._rng.randbytes(len(data)))
        )


class EvilHub:
    """A proxy's hub, for agents that dial it."""

    def __init__(self, hub, evil):
        self._hub, self._evil = hub, evil

    def admit(self, peer, *, held, uid):
        """Admit as the hub does."""
        return self._hub.admit(peer, held=held, uid=uid)

    def round(self, peer, body):
        """Answer a round with something else."""
        return self._answer(self._hub.round(peer, body))

    async def _answer(self, answer):
        found = self._evil.tamper(await answer if isinstance(answer, Awaitable) else answer)
        if not found:
            raise Refused(Refusal(status=503, body="not now", retry_after=1.0))
        return found

    def opened(self, link):
        """Take a link; what comes over it is something else."""
        return EvilEnd(self._hub.opened(EvilLink(link, self._evil)), self._evil)

    async def other(self, request):
        """Answer another path with other bodies."""
        found = await self._hub.other(request)
        return replace(found, body=self._evil.body(found.body)) if "content" in request.path else found


class EvilLink:
    """A held link over which a hub says something."""

    def __init__(self, link, evil):
        self._link, self._evil = link, evil
        self.peer = link.peer

    def send(self, data):
        """Send something else, or nothing."""
        found = self._evil.tamper(decode_frame(data))
        return self._link.send(encode_frame(found)) if found else True

    def close(self, code, reason):
        """Close it."""
        self._link.close(code, reason)


class EvilEnd:
    """What a hub answers over a held link."""

    def __init__(self, end, evil):
        self._end, self._evil = end, evil

    def message(self, data):
        """Answer with something else."""
        answer = self._end.message(data)
        return self._later(answer) if isinstance(answer, Awaitable) else self._instead(answer)

    async def _later(self, answer):
        return self._instead(await answer)

    def _instead(self, answer):
        found = self._evil.tamper(decode_frame(answer)) if answer else answer
        return encode_frame(found) if found else None

    def closed(self, code):
        """Take note that it is over."""
        self._end.closed(code)


def tamper_visits(monkeypatch, evil):
    """Have visits of an evil proxy say something else, signed by the key that it visits with."""
    ask, seal = Visit._ask, Frames.seal

    async def asked(self, operation, body, *, query=""):
        if operation is Operation.VISIT and body:
            body = evil.tamper(body) or quiet(b"x" * 16)
        elif operation is Operation.CONTENT:
            body = evil.body(body)
        return await ask(self, operation, body, query=query)

    def sealed(self, message):
        if not self._up:
            message = encode_frame(evil.tamper(decode_frame(message)) or b"x")
        return seal(self, message)

    monkeypatch.setattr(Visit, "_ask", asked)
    monkeypatch.setattr(Frames, "seal", sealed)
