"""Probes of services on loopback."""

import asyncio
import contextlib
import socket

import pytest

from popham.agent.collect.probes import Prober
from popham.agent.collect.wanted import Expectation, Probe
from popham.clock import SystemClock
from popham.net.lookups import Lookups
from popham.net.probing import ANSWER_MAX

LONG = 30.0


@contextlib.asynccontextmanager
async def prober(**rest):
    asking = Prober(Lookups(), SystemClock(), **rest)
    try:
        yield asking
    finally:
        await asking.aclose()


@contextlib.asynccontextmanager
async def serving(answer):
    """Serve ``answer`` to every request, or nothing at all for None; yield the port and what was asked."""
    asked, held = [], []

    async def serve(reader, writer):
        held.append(writer)
        if answer is not None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        for writer in held:
            writer.close()
        server.close()
        await server.wait_closed()


def http(status=200, body=b"all is well", headers=b""):
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n".encode()
    return head + headers + b"\r\n" + body


async def ask(answer, **rest):
    """Return what a probe by HTTP found of a service that answers so."""
    async with serving(answer) as (port, _), prober() as asking:
        rest = {"timeout": LONG} | rest
        return await asking.ask(Probe(name="p", http=f"http://localhost:{port}/health", **rest))


async def test_a_service_that_answers_is_up():
    found = await ask(http())
    assert (found.up, found.why) == (True, "")
    assert 0 < found.seconds < LONG


@pytest.mark.parametrize(
    ("answer", "expect", "why"),
    [
        (http(500), {}, "answered with status 500"),
        (http(201), {"status": 200}, "answered with status 201"),
        (http(), {"contains": "all is lost"}, "answered without the text that is expected"),
        (
            http(body=b"x" * ANSWER_MAX + b"late"),
            {"contains": "late"},
            "answered without the text that is expected",
        ),
        (b"SSH-2.0-x\r\n", {}, "is no HTTP"),
    ],
)
async def test_a_service_that_answers_otherwise_is_down(answer, expect, why):
    found = await ask(answer, expect=Expectation(**expect))
    assert found.up is False
    assert why in found.why


@pytest.mark.parametrize("expect", [{"status": 302}, {"contains": "is well"}])
async def test_a_redirect_is_an_answer_and_not_followed(expect):
    found = await ask(http(302, headers=b"Location: http://127.0.0.1:1/\r\n"), expect=Expectation(**expect))
    assert found.up is True


async def test_a_service_that_is_silent_is_down_after_its_time():
    found = await ask(None, timeout=0.1)
    assert (found.up, found.why) == (False, "did not answer within 0.1 s")


async def test_requests_carry_nothing_from_one_to_the_next():
    async with serving(http(headers=b"Set-Cookie: a=b\r\n")) as (port, asked), prober() as asking:
        for _ in range(2):
            await asking.ask(Probe(name="p", http=f"http://127.0.0.1:{port}/", timeout=LONG))
    assert len(asked) == 2
    assert b"Cookie" not in asked[1]


async def test_a_connection_is_all_that_tcp_asks_for():
    async with serving(None) as (port, _), prober() as asking:
        assert (await asking.ask(Probe(name="p", tcp=f"localhost:{port}", timeout=LONG))).up is True
    async with prober() as asking:
        found = await asking.ask(Probe(name="p", tcp=f"127.0.0.1:{port}", timeout=LONG))
    assert (found.up, found.why) == (False, "cannot be reached: Connection refused")


@pytest.mark.parametrize(
    ("name", "address", "why"),
    [
        ("localhost", None, ""),
        ("127.0.0.1", "127.0.0.0/8", ""),
        ("127.0.0.1", "10.0.0.0/8", "resolves to 127.0.0.1, and not to 10.0.0.0/8"),
        ("a..b", None, "does not resolve"),
    ],
)
async def test_a_name_is_looked_up(name, address, why):
    async with prober() as asking:
        found = await asking.ask(Probe(name="p", dns=name, timeout=LONG, expect=Expectation(address=address)))
    assert found.up is (not why)
    assert why in found.why


class Echoing:
    """A socket for echoes whose other end is ours."""

    def __init__(self, kind):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.theirs.settimeout(0)
        self.kind = kind

    def open(self, _address):
        asyncio.get_running_loop().add_reader(self.ours, self.answer)
        return self.theirs

    def answer(self):
        echo = self.ours.recv(100)
        assert echo[:1] == bytes((self.kind[0],))
        # A stray one first: what came late for another.
        self.ours.send(bytes((self.kind[1],)) + echo[1:8] + bytes(16))
        self.ours.send(bytes((self.kind[1],)) + echo[1:])

    def close(self):
        asyncio.get_running_loop().remove_reader(self.ours)
        self.ours.close()


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", (8, 0)), ("::1", (128, 129))])
async def test_a_host_that_answers_an_echo_is_up(host, kind):
    echoing = Echoing(kind)
    async with prober(open_echo=echoing.open) as asking:
        found = await asking.ask(Probe(name="p", ping=host, timeout=LONG))
    echoing.close()
    assert (found.up, found.why) == (True, "")


async def test_where_the_kernel_lets_nobody_send_echoes_it_is_unknown_and_says_why():
    def refuse(_address):
        raise PermissionError(13, "Permission denied")

    async with prober(open_echo=refuse) as asking:
        found = await asking.ask(Probe(name="p", ping="127.0.0.1", timeout=LONG))
    assert found.up is None
    assert "net.ipv4.ping_group_range" in found.why
