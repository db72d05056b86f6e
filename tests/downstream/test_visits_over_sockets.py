"""A visitor's dialer and an agent's service over real sockets: exchanges, content, and a held link."""

import asyncio
import random
import subprocess
import sys

import pytest

from popham.clock import SystemClock
from popham.downstream import cgi
from popham.downstream.service import VisitService
from popham.errors import VisitError
from popham.model.names import digest
from popham.net.seam import Limits
from popham.net.signing import Frames, Operation, open_answer, show_visitor, sign_request
from popham.net.visited import VisitListener
from popham.net.visiting import Place, VisitDialer
from popham.trust.keys import SigningKey
from popham.trust.visitor import VISITOR_LIMIT

from .visitors import UID, World

PATIENCE = 30.0


class Manager:
    """Visits over a dialer, and believes what is signed."""

    def __init__(self, world, director, port):
        self.world, self.director, self.nonce, self.statement = world, director, "", b""
        place = Place(f"http://127.0.0.1:{port}/SQC", "off")
        self.dialer = VisitDialer(place, context=None, limits=Limits())

    def sign(self, operation, body=b"", query=""):
        self.used = self.nonce
        asked = sign_request(
            self.director.crypto,
            self.director.keyid,
            method="GET" if operation is Operation.HOLD else "POST",
            query=query,
            body=body,
            audience=UID,
            operation=operation,
            nonce=self.nonce,
            now=0.0,
        )
        return show_visitor(asked, self.statement)

    def believe(self, asked, reply):
        key = self.world.identity.public.crypto
        found = open_answer(
            asked, status=reply.status, headers=reply.headers, body=reply.body, find=lambda _: key
        )
        self.nonce = found.nonce
        return reply

    async def ask(self, operation=Operation.VISIT, body=b"", query=""):
        for _ in range(2):
            asked = self.sign(operation, body, query)
            reply = self.believe(asked, await self.dialer.post(asked))
            if reply.status != 428:
                break
        return reply

    async def hold(self):
        for _ in range(2):
            asked = self.sign(Operation.HOLD)
            link, reply = await self.dialer.hold(asked)
            self.believe(asked, reply)
            if link is not None:
                theirs = self.world.identity.public.crypto
                return link, Frames(self.director.crypto, theirs, nonce=self.used, up=False)
        raise AssertionError(reply)


@pytest.fixture
async def meeting(tmp_path):
    """A service on a port and a Unix socket, the world behind it, and a Manager."""
    director = SigningKey.create()
    world = World(director)
    service = VisitService(world, clock=SystemClock())
    listener = VisitListener(
        service, context=None, limits=Limits(), clock=SystemClock(), rng=random.Random(1)
    )
    await listener.start(["127.0.0.1"], 0)
    await listener.start_unix(tmp_path / "visit.sock")
    manager = Manager(world, director, listener.port)
    yield manager, world, service, tmp_path / "visit.sock"
    await manager.dialer.aclose()
    await service.close_links()
    await listener.stop()
    await service.aclose()


async def test_f_l2_a_visit_and_content_over_a_port(meeting):
    manager, world, _service, _path = meeting
    assert (await manager.ask()).body == b"report 1"
    body = b"x" * 300_000
    assert (await manager.ask(Operation.CONTENT, body, f"sha256={digest(body)}")).status == 204
    assert world.contents == [(digest(body), body)]
    assert (await manager.ask(body=b"directive")).body == b"report 2"
    wrong = await manager.ask(Operation.CONTENT, body, f"sha256={digest(b'')}")
    assert (wrong.status, b"trust.blob" in wrong.body) == (403, True)


async def test_f_p2_a_link_that_the_manager_holds(meeting):
    manager, world, service, _path = meeting
    link, frames = await manager.hold()
    async with asyncio.timeout(PATIENCE):
        for text in (b"one", b"two"):
            await link.send(frames.seal(text))
            assert frames.open(await anext(aiter(link))) == b"heard " + text
    assert service.held
    # While it is held, content comes as a request beside it.
    assert (await manager.ask(Operation.CONTENT, b"b", f"sha256={digest(b'b')}")).status == 204
    await link.close()
    assert world.contents


async def test_a_stranger_is_refused_over_the_wire(meeting):
    manager, _world, service, _path = meeting
    manager.director = SigningKey.create()
    with pytest.raises(VisitError) as caught:
        await manager.ask()
    assert caught.value.code == "visit.stranger"
    assert service.refused.code == "visit.stranger"


def become_proxy(manager, world):
    """Have the visitor be a Proxy Manager with the largest statement that there may be."""
    manager.director, manager.statement = SigningKey.create(), b"s" * VISITOR_LIMIT
    world.visitors[manager.director.keyid, manager.statement] = manager.director.public.crypto


async def test_the_largest_statement_of_a_proxy_manager_has_room_beside_each_request(meeting):
    manager, world, _service, _path = meeting
    become_proxy(manager, world)
    assert (await manager.ask()).body == b"report 1"
    body = b"x" * 300_000
    assert (await manager.ask(Operation.CONTENT, body, f"sha256={digest(body)}")).status == 204
    link, frames = await manager.hold()
    async with asyncio.timeout(PATIENCE):
        await link.send(frames.seal(b"one"))
        assert frames.open(await anext(aiter(link))) == b"heard one"
    await link.close()


@pytest.mark.parametrize("proxy", [False, True])
async def test_f_l4_the_bridge_carries_to_the_socket(meeting, proxy):
    manager, world, _service, path = meeting
    if proxy:
        become_proxy(manager, world)

    def carry(asked, body):
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in asked.headers.items()}
        environ |= {"REQUEST_METHOD": "POST", "PATH_INFO": "/v1/visit", "CONTENT_LENGTH": str(len(body))}
        command = [sys.executable, "-S", "-E", cgi.__file__, "--socket", str(path)]
        done = subprocess.run(command, env=environ, input=body, capture_output=True, check=True, timeout=60)
        return done.stdout

    first = await asyncio.to_thread(carry, manager.sign(Operation.VISIT), b"")
    assert first.startswith(b"Status: 428 ")
    manager.nonce = first.partition(b"Popham-Nonce: ")[2].partition(b"\r\n")[0].decode()
    second = await asyncio.to_thread(carry, manager.sign(Operation.VISIT, b"directive"), b"directive")
    assert second.startswith(b"Status: 200 OK\r\n")
    assert second.endswith(b"\r\n\r\nreport 1")
    assert world.bodies == [b"directive"]
