"""Proxy Managers that only speak: the real wire above, N agents each that nobody simulates below."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence
from typing import Self

from popham.model.generation import GENERATION
from popham.net.route import OCTETS
from popham.opamp.codec import custom
from popham.opamp.relay import AGENTS_MAX, RELAY_PATH, Exchange
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.opamp.wire import OWN_AGENT
from popham.testing.load.fleet import Target
from popham.testing.load.identity import LoadIdentity, make_context
from popham.testing.load.messages import PROMISE, Speech, request

_STATUS = (
    b'{"agents":%d,"cache":{"bytes":0,"damaged":0,"files":{"agents":%d,"bodies":2,"coming":0,"groups":1,'
    b'"notes":1,"places":0},"problem":""},"calls":0,"coming":{},"generation":5,"groups":["fleet"],"linked":%d,'
    b'"listens":"127.0.0.1:4320","refused":{},"streams":{"bytes":0,"oldest":{},"records":0},"visits":{}}'
)


class Wire:
    """One kept connection over mutual TLS, whose bytes are counted as the application sees them."""

    def __init__(self, target: Target, identity: LoadIdentity) -> None:
        """Dial on entry."""
        self._target, self._identity = target, identity
        self._host = f"{target.name}:{target.port}"
        self.sent = self.received = 0

    async def __aenter__(self) -> Self:
        """Dial."""
        context = make_context(self._target.ca, self._identity, resumes=False)
        self._reader, self._writer = await asyncio.open_connection(
            self._target.host, self._target.port, ssl=context, server_hostname=self._target.name
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()

    async def round(self, body: bytes) -> bytes:
        """Make an agent's round."""
        return await self._post(request(body, self._host, ""))

    async def relay(self, body: bytes) -> bytes:
        """Make an exchange."""
        head = (
            f"POST {RELAY_PATH} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: {OCTETS}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return await self._post(head.encode() + body)

    async def _post(self, data: bytes) -> bytes:
        self._writer.write(data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        at = head.lower().find(b"\r\ncontent-length:")
        length = int(head[at + 17 : head.find(b"\r\n", at + 2)]) if at >= 0 else 0
        body = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{head[:40]!r}: {body[:200]!r}")
        self.sent += len(data)
        self.received += len(head) + length
        return body


class ScriptedProxy:
    """The upper half of a Proxy Manager: says its agents once, and from then on when they were heard of."""

    def __init__(self, above: Wire, agents: Sequence[LoadIdentity], boot: int) -> None:
        """Speak for these over a connection."""
        self._above, self._agents = above, agents
        self._exchange = Exchange(boot)
        self._random = random.Random(boot)  # noqa: S311  # no secret
        self._count = 0

    async def _say(self, message: wire.RelayUp) -> wire.RelayDown:
        message.head.CopyFrom(self._exchange.head())
        down = wire.RelayDown.FromString(await self._above.relay(message.SerializeToString()))
        self._exchange.hear(down.head)
        return down

    async def introduce(self) -> None:
        """Say each agent with all that is known of it, and be told all of it."""
        await self._say(wire.RelayUp())
        for first in range(0, len(self._agents), AGENTS_MAX):
            part = self._agents[first : first + AGENTS_MAX]
            said = [_said(identity, number) for number, identity in enumerate(part, first)]
            await self._say(wire.RelayUp(agents=said))
        while (await self._say(wire.RelayUp())).head.more:
            pass

    def prepare(self) -> bytes:
        """Return a message in which nothing is new but when each agent, which polls, was heard of, and a number."""
        self._count += 1
        count = len(self._agents)
        presence = bytes(1 + byte % 96 for byte in self._random.randbytes(count))
        status = _STATUS % (count, count, self._count)
        up = wire.RelayUp(head=self._exchange.head(), presence=presence, status=status)
        return up.SerializeToString()

    async def quiet(self, message: bytes) -> None:
        """Make an exchange of what :meth:`prepare` returned."""
        down = wire.RelayDown.FromString(await self._above.relay(message))
        self._exchange.hear(down.head)
        if down.agents or down.groups:
            raise SystemExit(
                f"an exchange was not quiet: {len(down.agents)} agents, {len(down.groups)} groups"
            )


def _said(identity: LoadIdentity, index: int) -> wire.AgentSaid:
    key = uuid.UUID(identity.uid).bytes
    message = AgentToServer(
        instance_uid=key,
        capabilities=int(OWN_AGENT),
        custom_message=custom(wire.Report(generation=GENERATION, state=identity.state)),
    )
    return wire.AgentSaid(
        key=key, index=index, message=message.SerializeToString(), address="192.0.2.1", promise=PROMISE
    )


async def count_round(target: Target, identity: LoadIdentity) -> tuple[int, int]:
    """Return the bytes of an agent's round with nothing new: what it sends, and the answer."""
    speech = Speech(identity)
    async with Wire(target, identity) as wired:
        await wired.round(speech.hello())
        before = (wired.sent, wired.received)
        await wired.round(speech.heartbeat())
        return wired.sent - before[0], wired.received - before[1]
