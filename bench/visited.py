"""Those who are visited: one process that plays the services of many agents, each with its own address and keys.

Every agent has a listener, a service and a certificate as real ones have; what is behind them is lean.  A request
without a signature gets the same report without one, for the reference.  Orders come as JSON lines on standard
input, answers go to standard output.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from popham.clock import SystemClock
from popham.downstream.service import VisitService
from popham.model.status import STATE_TYPE, Outcome, StateRecord
from popham.net.seam import HeldConnection, Limits, Request, Response
from popham.net.tls import service_context
from popham.net.visited import Accepted, VisitListener
from popham.opamp.codec import custom, parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1.popham_pb2 import Report
from popham.opamp.wire import REPORT_FULL_STATE
from popham.testing.load.identity import LoadIdentity, load_identities
from popham.testing.load.messages import Speech
from popham.trust.dsse import ENVELOPE_LIMIT, Envelope
from popham.trust.keys import IdentityKey, PublicKey
from popham.trust.verify import seal_state

STEP = 0.001
"""Of the histogram of intervals, in intervals."""
_PER_NET = 250


def address_of(number: int) -> str:
    """Return the address of an agent on this machine; each has its own, as TLS sessions belong to addresses."""
    return f"127.1.{number // _PER_NET}.{number % _PER_NET + 1}"


class Tally:
    """When who was visited.

    Attributes:
        visits: Visits begun.
        obeyed: Directives that were obeyed.
        plain: Requests without a signature.
        interval: Seconds from one visit to the next that are wanted; 0 to count visits only.
        latest: The longest time between two visits of one agent, in intervals.
    """

    def __init__(self, interval: float) -> None:
        """Begin to count."""
        self.visits = self.obeyed = self.plain = 0
        self.interval = interval
        self.began = time.monotonic()
        self.last: dict[str, float] = {}
        self.steps: Counter[int] = Counter()

    def visited(self, uid: str) -> None:
        """Take note of a visit."""
        self.visits += 1
        if not self.interval:
            return
        now = time.monotonic()
        before = self.last.get(uid)
        if before is not None:
            self.steps[round((now - before) / self.interval / STEP)] += 1
        self.last[uid] = now

    def waiting(self, uids: Mapping[str, object]) -> float:
        """Return for how long the one who waits for longest waits by now, in intervals."""
        if not self.interval:
            return 0.0
        return (time.monotonic() - min(self.last.get(uid, self.began) for uid in uids)) / self.interval


class Lean:
    """What is behind one service; implements :class:`popham.downstream.visited.Visited`."""

    def __init__(self, identity: LoadIdentity, director: PublicKey, crew: Visited) -> None:
        """Be one of a crew."""
        self.uid = identity.uid
        self.identity: IdentityKey = identity.signer()
        self._director = director
        self._crew = crew
        self._speech = Speech(identity)
        self._greeted = False
        self._outcome = Outcome.APPLIED

    def find_director(self, keyid: str) -> Ed25519PublicKey | None:
        """Return the director's key."""
        key = self._director.crypto
        return key if keyid == self._director.keyid and isinstance(key, Ed25519PublicKey) else None

    def find_founder(self, keyid: str, documents: bytes) -> Ed25519PublicKey | None:  # noqa: ARG002  # the seam's form
        """Return None: it is born."""
        return None

    async def visited(self, body: bytes) -> bytes:
        """Report, or obey and report that."""
        if not body:
            self._crew.tally.visited(self.uid)
            return self.report()
        said = parse_upstream(body)
        found = self._speech.obey(said)
        if found:
            self._crew.tally.obeyed += 1
            return found
        return self._speech.hello() if said.flags & REPORT_FULL_STATE else self._speech.heartbeat()

    def report(self) -> bytes:
        """Return what there is to say."""
        if not self._greeted:
            self._greeted = True
            return self._speech.hello()
        if self._outcome is self._crew.outcome:
            return self._speech.heartbeat()
        self._outcome = self._crew.outcome
        return self._speech.heartbeat() + self._changed(self._outcome)

    def _changed(self, outcome: Outcome) -> bytes:
        """Return the part of a report that says how far the newest bundle got."""
        identity = self._speech.identity
        payload = Envelope.parse(self._speech.state(), types=(STATE_TYPE,), limit=ENVELOPE_LIMIT).payload
        identity.revision += 1
        state = replace(StateRecord.from_payload(payload), revision=identity.revision, outcome=outcome)
        identity.state = seal_state(state, self.identity)
        return AgentToServer(custom_message=custom(Report(state=identity.state))).SerializeToString()

    async def serve(self, link: HeldConnection) -> None:
        """Hold no link."""
        await link.close()

    async def content(self, sha256: str, body: bytes) -> None:
        """Lack nothing."""

    async def birth(self, documents: bytes) -> bytes:
        """Be born already."""
        raise LookupError(f"{len(documents)} bytes of trust documents came to an agent that is born")

    def lost(self) -> None:
        """Say everything anew."""
        self._greeted = False


class Beside:
    """A service that answers also who signs nothing: the same work without signatures."""

    def __init__(self, world: Lean, crew: Visited) -> None:
        """Serve one agent."""
        self._world = world
        self._crew = crew
        self._service = VisitService(world, clock=SystemClock())

    async def answer(self, request: Request) -> Response:
        """Answer a POST."""
        if "signature" in request.headers:
            return await self._service.answer(request)
        self._crew.tally.plain += 1
        # By this header the listener tells who was believed, as for the others.
        headers = {"Signature": "none"}
        return Response(
            status=200, body=self._world.report(), content_type="application/x-protobuf", headers=headers
        )

    async def upgrade(self, request: Request) -> Response | Accepted:
        """Answer an upgrade."""
        return await self._service.upgrade(request)

    async def aclose(self) -> None:
        """End what it works on."""
        await self._service.aclose()


class Silent(asyncio.Protocol):
    """Takes what comes, and says nothing."""


class Visited:
    """Many agents, some of them dead.

    Attributes:
        tally: What was seen.
        outcome: What all of them report of the bundle they have.
    """

    def __init__(self) -> None:
        """Play nobody yet."""
        self.tally = Tally(0.0)
        self.outcome = Outcome.APPLIED
        self._worlds: dict[str, Lean] = {}
        self._ends: list[VisitListener | Beside] = []
        self._silent: list[asyncio.Server] = []

    async def begin(self, order: Mapping[str, Any]) -> None:
        """Listen: of the agents of a file the last ones are silent, or have nothing that listens."""
        found = load_identities(Path(order["file"]))
        key = load_der_public_key(base64.b64decode(order["director"]))
        director, port = PublicKey.wrap(key), int(order["port"])
        alive = len(found) - int(order["silent"]) - int(order["refusing"])
        for number, identity in enumerate(found[:alive]):
            world = Lean(identity, director, self)
            service = Beside(world, self)
            listener = VisitListener(
                service,
                context=_context(identity, tickets=order["tickets"]) if order["tls"] else None,
                limits=Limits(),
                clock=SystemClock(),
                rng=random.Random(number),  # noqa: S311  # no secret
            )
            await listener.start([address_of(number)], port)
            self._worlds[identity.uid] = world
            self._ends += [listener, service]
        loop = asyncio.get_running_loop()
        for number in range(alive, alive + int(order["silent"])):
            self._silent.append(await loop.create_server(Silent, address_of(number), port))

    def fresh(self, order: Mapping[str, Any]) -> None:
        """Count anew, and report another outcome from now on if one is named."""
        self.tally = Tally(float(order.get("interval", 0.0)))
        self.outcome = Outcome(order.get("outcome", self.outcome))

    def look(self) -> dict[str, Any]:
        """Tell what was seen."""
        tally = self.tally
        return {
            "visits": tally.visits,
            "obeyed": tally.obeyed,
            "plain": tally.plain,
            "steps": tally.steps,
            "waiting": tally.waiting(self._worlds),
        }

    async def close(self) -> None:
        """End everything."""
        for server in self._silent:
            server.close()
        for end in self._ends:
            await (end.stop() if isinstance(end, VisitListener) else end.aclose())


def _context(identity: LoadIdentity, *, tickets: bool) -> ssl.SSLContext:
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        certificate.write_text(identity.certificate, encoding="utf-8")
        key.write_text(identity.key, encoding="utf-8")
        context = service_context(certificate, key)
    if not tickets:
        context.num_tickets = 0
    return context


async def serve() -> None:
    """Obey orders until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    visited = Visited()
    try:
        while line := await reader.readline():
            order = json.loads(line)
            if order["do"] == "begin":
                await visited.begin(order)
            elif order["do"] == "fresh":
                visited.fresh(order)
            print(json.dumps(visited.look()), flush=True)
    finally:
        await visited.close()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
