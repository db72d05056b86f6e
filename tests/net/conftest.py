"""A service that remembers, a certificate authority, and the fillings of the seam under test."""

import asyncio
import random
import ssl
from dataclasses import dataclass, field

import pytest
import trustme
from tests.net.handlers import Handler

from popham.clock import SystemClock
from popham.net import tls
from popham.net.dialer import AiohttpDialer
from popham.net.hot.listener import HotListener
from popham.net.listener import Listener
from popham.net.seam import Limits, Refusal, Response


@dataclass(frozen=True)
class Filling:
    """One way to move bytes; another is one more row."""

    name: str
    listener: type
    dialer: type


FILLINGS = [Filling("aiohttp", Listener, AiohttpDialer), Filling("hot", HotListener, AiohttpDialer)]


@pytest.fixture(params=FILLINGS, ids=lambda filling: filling.name)
def filling(request):
    return request.param


@dataclass
class MemoryService:
    """A service that remembers what it was asked and answers what the test says."""

    refuse: object = lambda peer, held, uid: None
    answer: object = lambda body: b"answer:" + body
    reply: object = lambda data: b"reply:" + data
    serve: object = lambda request: Response(body=b"other")
    admitted: list = field(default_factory=list)
    peers: list = field(default_factory=list)
    rounds: list = field(default_factory=list)
    relays: bool = True
    relaying: object = lambda body: b"relayed:" + body
    relayed: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    handlers: list = field(default_factory=list)

    def admit(self, peer, *, held, uid):
        self.admitted.append((held, uid))
        self.peers.append(peer)
        return self.refuse(peer, held, uid)

    def round(self, peer, body):
        self.rounds.append(body)
        return self.answer(body)

    def may_relay(self, peer):
        return None if self.relays else Refusal(status=403, body="no Proxy Manager")

    def relay(self, peer, body):
        self.relayed.append(body)
        return self.relaying(body)

    def opened(self, link):
        handler = Handler(self, link)
        self.handlers.append(handler)
        return handler

    async def other(self, request):
        self.requests.append(request)
        return self.serve(request)


@pytest.fixture
def service():
    return MemoryService()


@pytest.fixture
async def serve(filling, service):
    """Start a listener on a free port of loopback; all are stopped at the end."""
    started = []

    async def start(*, context=None, hosts=("127.0.0.1",), unadmitted=1000, **limits):
        listener = filling.listener(
            service,
            context=context,
            limits=Limits(**limits),
            clock=SystemClock(),
            rng=random.Random(1),
            unadmitted=unadmitted,
        )
        started.append(listener)
        await listener.start(hosts, 0)
        return listener

    yield start
    for listener in started:
        await listener.stop(retry_window=0.0)


@pytest.fixture
async def dial(filling):
    """Make dialers; all are closed at the end."""
    made = []

    def make(target, *, context=None, headers=None, uid=b"", host="127.0.0.1", **limits):
        scheme = "http" if context is None else "https"
        url = target if isinstance(target, str) else f"{scheme}://{host}:{target.port}/v1/opamp"
        dialer = filling.dialer(
            url, context=context, limits=Limits(**limits), headers=headers, instance_uid=uid
        )
        made.append(dialer)
        return dialer

    yield make
    for dialer in made:
        await dialer.aclose()


async def _until(claim, *, seconds=30.0):
    async with asyncio.timeout(seconds):
        while not claim():  # noqa: ASYNC110 - what is claimed raises no event
            await asyncio.sleep(0.005)


@pytest.fixture
def until():
    """Wait until a claim holds."""
    return _until


class Raw:
    """A socket on which a test writes what no well-behaved end would."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def ask(self, data):
        self.writer.write(data)
        return await self.head()

    async def head(self):
        """Return status and headers of the next answer."""
        async with asyncio.timeout(30):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = text.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split()[1]), headers

    async def answer(self, data=b""):
        """Return status, headers and body of the next answer."""
        status, headers = await self.ask(data)
        return status, headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def upgrade(self, headers=""):
        """Upgrade to a WebSocket."""
        return await self.ask(
            b"GET /v1/opamp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            + headers.encode()
            + b"\r\n"
        )

    def send_frame(self, opcode, data, *, final=True):
        """Write a frame masked with zeros."""
        size = len(data)
        head = bytes([(0x80 if final else 0) | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
        self.writer.write(head + bytes(4) + data)

    async def frame(self):
        """Return opcode and data of the next frame."""
        async with asyncio.timeout(30):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(size)

    async def ended(self):
        """Wait for the end of the connection; return what came before it."""
        async with asyncio.timeout(30):
            return await self.reader.read()


@pytest.fixture
async def raw():
    """Open plain sockets to a listener; all are closed at the end."""
    opened = []

    async def connect(listener, **options):
        one = Raw(*await asyncio.open_connection("127.0.0.1", listener.port, **options))
        opened.append(one)
        return one

    yield connect
    for one in opened:
        one.writer.transport.abort()


@dataclass
class Authority:
    """A certificate authority in memory, and files for what wants files."""

    root: trustme.CA
    folder: object

    @property
    def pem(self):
        return self.root.cert_pem.bytes().decode()

    def files(self, name, *names, **options):
        leaf = self.root.issue_cert(*names, **options)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        ca = self.folder / "ca.pem"
        ca.write_text(self.pem)
        return cert, key, ca


@pytest.fixture
def authority(tmp_path):
    return Authority(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path)


@pytest.fixture
def make_authority(tmp_path_factory):
    return lambda: Authority(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path_factory.mktemp("ca"))


@pytest.fixture
def listener_context(authority):
    return tls.server_context(*authority.files("listener", "localhost", "127.0.0.1"))


@pytest.fixture
def old_tls():
    """A context that knows TLS 1.2 at most."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.fixture
def turns():
    """Let the loop look at its sockets often enough that whatever was on its way has arrived."""

    async def pass_by(count=200):
        for _ in range(count):
            await asyncio.sleep(0)

    return pass_by
