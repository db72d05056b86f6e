"""Visits through a web proxy: by CONNECT with TLS, by the whole URL without."""

import asyncio
import contextlib
import socket

import pytest

from popham.errors import VisitError
from popham.net.visit_tls import visit_context

LOGIN = b"Proxy-Authorization: Basic c3FjOnA6dw==".lower()
"""sqc and p:w."""


class WebProxy:
    """A small web proxy; it keeps the heads of what it was asked."""

    def __init__(self):
        self.heads = []
        self.password = False
        self.refuse = b""
        self.port = 0
        self._tasks = set()
        self._writers = []

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=30)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self._writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._lead(reader, writer)
        writer.transport.abort()

    async def _lead(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        refusal = self.refuse
        if self.password and LOGIN not in head.lower():
            refusal = b"407 Proxy Authentication Required"
        if refusal:
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % refusal)
            await writer.drain()
            await reader.read()
            return
        method, url, rest = head.split(b" ", 2)
        authority, _, path = url.removeprefix(b"http://").partition(b"/")
        host, _, port = authority.rpartition(b":")
        far_reader, far_writer = await asyncio.open_connection(host.decode(), int(port))
        self._writers.append(far_writer)
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            far_writer.write(b"%s /%s %s" % (method, path, rest))
        there = asyncio.create_task(relay(far_reader, writer))
        await relay(reader, far_writer)
        await there


async def relay(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@pytest.fixture
async def proxy():
    one = WebProxy()
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
def context(authority):
    return visit_context("agent", authority.pem)


async def refusal(awaitable):
    with pytest.raises(VisitError) as caught:
        await awaitable
    return caught.value


async def test_f_l6_a_plain_visit_names_the_whole_url(serve_visits, visit, proxy, party, visited):
    proxy.password = True
    listener = await serve_visits()
    way = f"http://sqc:p%3Aw@127.0.0.1:{proxy.port}"
    dialer = visit(listener, prefix="/SQC", http_proxy=way, password="u:p")
    asked = party.ask(query="a=%41")
    for _ in range(2):
        reply = await dialer.post(asked)
        assert party.open(asked, reply).keyid == "identity"
        assert reply.address == "", "only the web proxy was dialled"
    line, _, rest = proxy.heads[0].partition(b"\r\n")
    assert line == b"POST http://127.0.0.1:%d/SQC/v1/visit?a=%%41 HTTP/1.1" % listener.port
    assert LOGIN in rest.lower()
    assert visited.requests[0].headers["authorization"] == "Basic dTpw"


async def test_f_p4_a_visit_with_tls_goes_by_connect(
    serve_visits, visit, proxy, party, visited, listener_context, context
):
    proxy.password = True
    listener = await serve_visits(context=listener_context)
    seen = []
    way = f"http://sqc:p%3Aw@127.0.0.1:{proxy.port}"
    dialer = visit(listener, context=context, http_proxy=way, password="u:p", verify=seen.append)
    asked = party.ask(body=b"directive")
    assert party.open(asked, await dialer.post(asked)).nonce == "n2"
    assert (await dialer.post(party.ask())).status == 200
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % listener.port)
    assert LOGIN in head.lower()
    assert b"\r\nauthorization" not in head.lower(), "the realm's password is not the proxy's"
    assert "proxy-authorization" not in visited.requests[0].headers
    assert len(seen) == 1, "the certificate is the agent's, not the proxy's"


async def test_f_p4_a_held_link_goes_by_connect(serve_visits, visit, proxy, party, listener_context, context):
    listener = await serve_visits(context=listener_context)
    way = f"http://127.0.0.1:{proxy.port}"
    link, reply = await visit(listener, context=context, http_proxy=way).hold(party.ask("hold"))
    assert (reply.status, reply.address) == (101, "")
    await link.send(b"hello")
    assert await anext(aiter(link)) == b"reply:hello"


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("way", ["post", "hold"])
@pytest.mark.parametrize(
    ("refuse", "code", "words"),
    [
        (b"", "visit.proxy_password", "wants another user or password"),
        (b"403 Forbidden", "visit.http_proxy", "(HTTP 403)"),
        (b"502 Bad Gateway", "visit.http_proxy", "(HTTP 502)"),
        (b"503 Service Unavailable", "visit.http_proxy", "does not lead to 127.0.0.1:23440"),
        (b"504 Gateway Timeout", "visit.http_proxy", "(HTTP 504)"),
    ],
)
async def test_a_web_proxy_that_refuses_is_named(
    visit, proxy, party, context, secure, way, refuse, code, words
):
    proxy.password, proxy.refuse = not refuse, refuse
    dialer = visit(
        23440, context=context if secure else None, http_proxy=f"http://u:wrong@127.0.0.1:{proxy.port}"
    )
    error = await refusal(getattr(dialer, way)(party.ask("hold" if way == "hold" else "visit")))
    assert error.code == code
    assert f"The web proxy 127.0.0.1:{proxy.port}" in error.problem
    assert words in error.problem
    assert "wrong" not in str(error)


@pytest.mark.parametrize("secure", [False, True])
async def test_a_web_proxy_that_is_not_there_is_named(visit, party, context, secure):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        chosen = context if secure else None
        dialer = visit(23440, context=chosen, http_proxy=f"http://127.0.0.1:{port}")
        error = await refusal(dialer.post(party.ask()))
        lost = visit(23440, context=chosen, http_proxy="http://no-such-proxy.invalid:3128")
        unknown = await refusal(lost.post(party.ask()))
    assert (error.code, unknown.code) == ("visit.http_proxy", "visit.http_proxy")
    assert "refuses the connection" in error.problem
    assert "its name was not found" in unknown.problem


async def test_an_alias_that_is_wrong_is_told_apart_behind_a_web_proxy(visit, proxy, party, canned):
    port = await canned(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    error = await refusal(visit(port, http_proxy=f"http://127.0.0.1:{proxy.port}").post(party.ask()))
    assert error.code == "visit.not_found"
