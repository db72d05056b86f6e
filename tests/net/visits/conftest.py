"""Both ends of a visit: keys, an agent's service that remembers, dialers, and servers that say anything."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.net.handlers import Handler

from popham.clock import SystemClock
from popham.net import signing
from popham.net.seam import Limits, Response
from popham.net.visited import Accepted, VisitListener
from popham.net.visiting import Place, VisitDialer


@dataclass
class Party:
    """The two keys of a visit, and what they sign."""

    director: object = field(default_factory=Ed25519PrivateKey.generate)
    identity: object = field(default_factory=lambda: generate_private_key(SECP256R1()))
    audience: str = "0190b4a4-7a3e-7c6e-8d5f-000000000001"

    def ask(self, operation="visit", *, body=b"", query="", nonce="n1"):
        return signing.sign_request(
            self.director,
            "director",
            method="GET" if operation == "hold" else "POST",
            query=query,
            body=body,
            audience=self.audience,
            operation=signing.Operation(operation),
            nonce=nonce,
            now=1.8e9,
        )

    def believe(self, keyid):
        return {"director": self.director.public_key(), "identity": self.identity.public_key()}.get(keyid)

    def read(self, request):
        return signing.read_asked(request.method, request.raw_query, request.headers, request.body)

    def sign(self, request, *, status=200, body=b"", nonce="n2"):
        return signing.sign_answer(
            self.identity, "identity", self.read(request), status=status, body=body, nonce=nonce, now=1.8e9
        )

    def open(self, asked, reply):
        return signing.open_answer(
            asked, status=reply.status, headers=reply.headers, body=reply.body, find=self.believe
        )


@pytest.fixture(scope="session")
def party():
    return Party()


@dataclass
class VisitMemory:
    """An agent's service that remembers what it was asked, and signs what the test says."""

    party: Party
    status: int = 200
    body: bytes = b"report"
    reply: object = lambda data: b"reply:" + data
    requests: list = field(default_factory=list)
    handlers: list = field(default_factory=list)

    async def answer(self, request):
        self.requests.append(request)
        headers = self.party.sign(request, status=self.status, body=self.body)
        return Response(
            status=self.status, body=self.body, content_type="application/x-protobuf", headers=headers
        )

    async def upgrade(self, request):
        if self.status != 200:
            return await self.answer(request)
        self.requests.append(request)
        return Accepted(headers=self.party.sign(request, status=101), opened=self.open)

    def open(self, link):
        handler = Handler(self, link)
        self.handlers.append(handler)
        return handler


@pytest.fixture
def visited(party):
    return VisitMemory(party)


@pytest.fixture
async def serve_visits(visited):
    """Start an agent's service on a free port of loopback; all are stopped at the end."""
    started = []

    async def start(*, context=None, hosts=("127.0.0.1",), port=0, path=None, peers=None, **limits):
        listener = VisitListener(
            visited,
            context=context,
            limits=Limits(**limits),
            clock=SystemClock(),
            rng=random.Random(1),
            peers=peers,
        )
        started.append(listener)
        if path is None:
            await listener.start(hosts, port)
        else:
            await listener.start_unix(path)
        return listener

    yield start
    for listener in started:
        await listener.stop()


@pytest.fixture
async def visit():
    """Make dialers of agents' services; all are closed at the end."""
    made = []

    def make(
        target, *, context=None, prefix="", host="127.0.0.1", tls="agent", verify=None, names=None, **way
    ):
        limits = Limits(**{name: way.pop(name) for name in ("message", "body_time") if name in way})
        port = target if isinstance(target, int) else target.port
        scheme, tls = ("http", "off") if context is None else ("https", tls)
        place = Place(f"{scheme}://{host}:{port}{prefix}", tls=tls, **way)
        verify = verify or (lambda _: None)
        dialer = VisitDialer(place, context=context, limits=limits, verify=verify, names=names)
        made.append(dialer)
        return dialer

    yield make
    for dialer in made:
        await dialer.aclose()


@pytest.fixture
async def canned():
    """Start a server whose every connection a test writes itself; all end with the test."""
    servers, tasks, writers = [], set(), []

    async def start(talk, *, context=None):
        async def run(reader, writer):
            tasks.add(asyncio.current_task())
            writers.append(writer)
            try:
                if isinstance(talk, bytes):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(talk)
                    await writer.drain()
                    await reader.read()
                else:
                    await talk(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(run, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return server.sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()
    for writer in writers:
        writer.transport.abort()
    if tasks:
        await asyncio.wait(tasks, timeout=30)
