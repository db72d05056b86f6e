"""An agent's service from the wire: one path, bounds, TCP and Unix sockets."""

import asyncio
import contextlib
import grp
import gzip
import json
import os
import socket
import stat
import subprocess
import sys

import pytest

from popham.errors import ConfigError, VisitError
from popham.net import visited as serving
from popham.net.peers import Peers
from popham.net.seam import Response

UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def post(path=b"/v1/visit", body=b"", headers=b"", method=b"POST"):
    return b"%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s" % (
        method,
        path,
        len(body),
        headers,
        body,
    )


def code(body):
    return json.loads(body)["code"]


@pytest.mark.parametrize("path", [b"/v1/visit", b"/SQC/v1/visit", b"/a/b/c/v1/visit?x=1", b"//v1/visit"])
async def test_f_l4_only_the_end_of_the_path_counts(serve_visits, raw, visited, path):
    connection = await raw(await serve_visits())
    status, headers, body = await connection.answer(post(path))
    assert (status, body) == (200, b"report")
    assert headers["cache-control"] == "no-store"
    assert visited.requests[0].raw_query == ("x=1" if b"?" in path else "")


@pytest.mark.parametrize(
    "asked",
    [
        post(b"/"),
        post(b"/v1/visits"),
        post(b"/v1/visit/"),
        post(b"/v1/opamp"),
        post(b"/livez", method=b"GET"),
        post(method=b"PUT"),
        post(method=b"DELETE"),
        post(method=b"OPTIONS"),
        post(b"/v1/opamp", method=b"GET", headers=UPGRADE),
    ],
)
async def test_anything_else_is_not_there(serve_visits, raw, visited, asked):
    status, headers, body = await (await raw(await serve_visits())).answer(asked)
    assert (status, headers["content-type"], code(body)) == (
        404,
        "application/problem+json",
        "visit.not_found",
    )
    assert visited.requests == []


async def test_a_get_without_an_upgrade_is_told_so(serve_visits, raw, visit, party, canned):
    listener = await serve_visits()
    status, headers, body = await (await raw(listener)).answer(post(method=b"GET"))
    assert (status, headers["upgrade"], code(body)) == (426, "websocket", "visit.no_upgrade")
    reply = b"HTTP/1.1 426 U\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%s"
    with pytest.raises(VisitError) as caught:
        await visit(await canned(reply % (len(body), body))).hold(party.ask("hold"))
    assert caught.value.code == "visit.no_upgrade"


async def test_heads_and_bodies_have_bounds(serve_visits, raw, visited):
    listener = await serve_visits(header=1000, message=2000)
    status, _, body = await (await raw(listener)).answer(
        post(headers=b"X: %s\r\nY: %s\r\n" % (b"y" * 600, b"z" * 600))
    )
    assert (status, code(body)) == (431, "wire.too_large")
    status, _ = await (await raw(listener)).ask(post(headers=b"X: " + b"y" * 2000 + b"\r\n"))
    assert status == 431
    status, _, body = await (await raw(listener)).answer(post(body=b"x" * 2001))
    assert (status, code(body)) == (413, "wire.too_large")
    packed = gzip.compress(bytes(2001))
    status, _, body = await (await raw(listener)).answer(
        post(body=packed, headers=b"Content-Encoding: gzip\r\n")
    )
    assert (status, code(body)) == (413, "wire.too_large")
    assert visited.requests == []
    packed = gzip.compress(b"a" * 1500)
    status, _, _ = await (await raw(listener)).answer(
        post(body=packed, headers=b"Content-Encoding: gzip\r\n")
    )
    assert (status, visited.requests[0].body) == (200, b"a" * 1500)


async def test_a_body_that_does_not_come_is_told(serve_visits, raw, visited):
    late = b"POST /v1/visit HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
    status, _, body = await (await raw(await serve_visits(body_time=0.2))).answer(late)
    assert (status, code(body)) == (408, "wire.late")
    assert visited.requests == []


async def test_a_head_that_does_not_come_ends_the_connection(serve_visits, raw):
    connection = await raw(await serve_visits(header_time=0.05))
    assert (await connection.ended()).startswith(b"HTTP/1.1 408")


async def test_a_large_answer_is_packed_and_verifies(serve_visits, visit, raw, visited, party):
    visited.body = b"r" * 50_000
    listener = await serve_visits()
    asked = party.ask()
    reply = await visit(listener).post(asked)
    assert reply.headers["content-encoding"] == "gzip"
    assert (party.open(asked, reply).nonce, len(reply.body)) == ("n2", 50_000)
    _, headers, body = await (await raw(listener)).answer(post())
    assert ("content-encoding" in headers, len(body)) == (False, 50_000)


async def test_strangers_make_room_for_those_who_are_believed(
    serve_visits, visit, raw, party, monkeypatch, until
):
    monkeypatch.setitem(serving.VisitListener.__init__.__kwdefaults__, "unadmitted", 2)
    listener = await serve_visits()
    dialer = visit(listener)
    await dialer.post(party.ask())
    strangers = [await raw(listener) for _ in range(3)]
    assert await strangers[0].ended() == b"", "the oldest goes"
    connected = dialer._protocol
    assert (await dialer.post(party.ask())).status == 200
    assert dialer._protocol is connected


async def test_sec_whoever_captured_a_request_is_a_stranger(serve_visits, visit, visited, party, until):
    listener = await serve_visits(connections=2)
    captured = [visit(listener) for _ in range(4)]
    for dialer, visited.status in zip(captured, (421, 428, 428, 428), strict=True):
        assert (await dialer.post(party.ask())).status == visited.status
    await until(lambda: not any(dialer._protocol.is_connected() for dialer in captured[:2]))
    assert captured[3]._protocol.is_connected()


async def test_too_many_requests_are_told_to_wait(serve_visits, raw):
    listener = await serve_visits(rounds_per_second=1.0)
    connection = await raw(listener)
    answers = [(await connection.answer(post()))[0] for _ in range(3)]
    assert answers == [200, 429, 429]


async def test_a_service_that_fails_or_takes_too_long_says_so(
    serve_visits, raw, visited, monkeypatch, caplog
):
    monkeypatch.setattr(serving, "ANSWER_TIME", 0.05)

    async def never(_request):
        await asyncio.Event().wait()

    visited.answer = never
    listener = await serve_visits()
    status, _, body = await (await raw(listener)).answer(post())
    assert (status, code(body)) == (500, "visit.slow")

    async def refuse(_request):
        raise VisitError("stranger", "nobody knows you", "go")

    visited.answer = refuse
    status, _, body = await (await raw(listener)).answer(post())
    assert (status, code(body), json.loads(body)["hint"]) == (503, "visit.stranger", "go")
    assert "took longer" in caplog.text


async def test_an_upgrade_carries_the_signature_and_opens_a_link(serve_visits, visit, visited, party, until):
    dialer = visit(await serve_visits(), prefix="/popham")
    asked = party.ask("hold")
    link, reply = await dialer.hold(asked)
    assert (reply.status, party.open(asked, reply).nonce) == (101, "n2")
    assert visited.requests[0].path == "/popham/v1/visit"
    messages = aiter(link)
    for size in (1, 100, 70_000):
        await link.send(b"m" * size)
        assert await anext(messages) == b"reply:" + b"m" * size
    (handler,) = visited.handlers
    handler.link.send(b"news")
    assert await anext(messages) == b"news"
    await link.close(1000, "done")
    await until(lambda: handler.codes)
    assert handler.codes == [1000]


async def test_an_upgrade_that_needs_a_nonce_is_answered_and_not_opened(serve_visits, visit, visited, party):
    visited.status, visited.body = 428, b""
    asked = party.ask("hold", nonce="")
    link, reply = await visit(await serve_visits()).hold(asked)
    assert link is None
    assert (reply.status, party.open(asked, reply).nonce) == (428, "n2")
    assert visited.handlers == []


async def test_a_stop_closes_links_and_tells_when_to_return(serve_visits, visit, visited, party, until):
    listener = await serve_visits()
    link, _ = await visit(listener).hold(party.ask("hold"))
    await until(lambda: listener.links)
    await listener.stop(retry_window=10.0)
    with pytest.raises(Exception, match=r"restarts and closed the link"):
        await anext(aiter(link))
    await until(lambda: visited.handlers[0].codes)
    assert visited.handlers[0].codes == [1012]


async def test_f_p7_an_address_that_may_not_come_is_not_heard(serve_visits, visit, visited, party):
    listener = await serve_visits(peers=Peers(deny=["127.0.0.0/8"]))
    with pytest.raises(VisitError):
        await visit(listener).post(party.ask())
    assert visited.requests == []
    allowed = await serve_visits(peers=Peers(allow=["127.0.0.1"]))
    assert (await visit(allowed).post(party.ask())).status == 200


async def test_f_l3_a_port_that_is_taken_is_named(serve_visits):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            await serve_visits(port=port)
    assert caught.value.code == "config.listen"
    assert f"port {port}" in caught.value.problem
    assert "[service]" in caught.value.hint


async def test_f_l3_two_roles_on_one_host_do_not_clash(serve_visits, visit, party, tmp_path):
    listeners = [
        await serve_visits(),
        await serve_visits(),
        await serve_visits(path=tmp_path / "service.sock"),
    ]
    assert listeners[0].port != listeners[1].port
    for listener in listeners[:2]:
        assert (await visit(listener).post(party.ask())).status == 200


@pytest.fixture
async def relayed(tmp_path):
    """A web server in front, which passes everything on to a Unix socket."""
    path = tmp_path / "service.sock"
    tasks, writers = set(), []

    async def pump(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def run(reader, writer):
        tasks.add(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_unix_connection(path)
        writers.extend((writer, far_writer))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    yield path, server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.transport.abort()
    if tasks:
        await asyncio.wait(tasks, timeout=30)


async def test_f_l4_a_unix_socket_serves_visits_and_links(serve_visits, visit, visited, party, relayed):
    path, port = relayed
    await serve_visits(path=path)
    dialer = visit(port, prefix="/SQC")
    asked = party.ask(body=b"x" * 100_000)
    assert party.open(asked, await dialer.post(asked)).keyid == "identity"
    assert visited.requests[0].peer.address == ""
    link, _ = await dialer.hold(party.ask("hold"))
    await link.send(b"hi")
    assert await anext(aiter(link)) == b"reply:hi"


async def test_a_unix_socket_has_its_mode_and_goes_with_the_service(serve_visits, tmp_path):
    path = tmp_path / "service.sock"
    listener = await serve_visits(path=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    await listener.stop()
    assert not path.exists()


async def test_a_unix_socket_cannot_be_connected_to_before_it_has_its_group(
    serve_visits, tmp_path, monkeypatch
):
    path = tmp_path / "service.sock"
    found = []

    def attempt(where, group):
        with socket.socket(socket.AF_UNIX) as early, contextlib.suppress(ConnectionRefusedError):
            early.connect(str(where))
            found.append(group)

    monkeypatch.setattr(serving.posix, "set_group", attempt)
    await serve_visits(path=path)
    assert found == []
    with socket.socket(socket.AF_UNIX) as now:
        now.connect(str(path))


async def test_a_unix_socket_gets_its_group(visited, serve_visits, tmp_path):
    listener = await serve_visits(path=tmp_path / "first.sock")
    group = grp.getgrgid(os.getegid()).gr_name
    path = tmp_path / "second.sock"
    await listener.start_unix(path, group=group, mode=0o600)
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (os.getegid(), 0o600)
    missing = tmp_path / "third.sock"
    with pytest.raises(ConfigError) as caught:
        await listener.start_unix(missing, group="no-such-group-here")
    assert caught.value.code == "config.listen"
    assert "no-such-group-here" in caught.value.problem
    assert not missing.exists()


async def test_a_unix_socket_left_behind_is_replaced_and_a_served_one_never(serve_visits, tmp_path, visited):
    path = tmp_path / "service.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = await serve_visits(path=path)
    with pytest.raises(ConfigError) as caught:
        await serve_visits(path=path)
    assert "somebody serves it" in caught.value.problem
    with socket.socket(socket.AF_UNIX) as still:
        still.connect(str(path))
    await listener.stop()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "nowhere", "long"])
async def test_what_is_no_socket_is_left_alone(serve_visits, tmp_path, kind):
    path = tmp_path / "service.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        (tmp_path / "other").write_text("precious")
        path.symlink_to(tmp_path / "other")
    elif kind == "nowhere":
        path = tmp_path / "no" / "service.sock"
    else:
        path = tmp_path / ("l" * 120)
    with pytest.raises(ConfigError) as caught:
        await serve_visits(path=path)
    assert caught.value.code == "config.listen"
    assert str(path) in caught.value.problem
    assert path.exists() == (kind in {"file", "folder", "link"})


async def test_a_stop_leaves_the_socket_of_a_successor(serve_visits, tmp_path):
    path = tmp_path / "service.sock"
    listener = await serve_visits(path=path)
    path.unlink()
    successor = await serve_visits(path=path)
    await listener.stop()
    assert path.exists()
    await successor.stop()
    assert not path.exists()


async def test_a_port_and_a_unix_socket_are_served_together(serve_visits, visit, party, relayed):
    path, port = relayed
    listener = await serve_visits()
    await listener.start_unix(path)
    for where in (listener.port, port):
        assert (await visit(where).post(party.ask())).status == 200


async def test_a_response_without_a_body_has_no_type(serve_visits, raw, visited):
    async def nothing(_request):
        return Response(status=204)

    visited.answer = nothing
    status, headers = await (await raw(await serve_visits())).ask(post())
    assert (status, "content-type" in headers) == (204, False)


def test_an_agent_holds_none_of_it_before_its_service_starts():
    names = ("popham.net.visited", "popham.net.signing", "http_message_signatures", "aiohttp.web")
    code = f"import sys, popham.agent.app; print([n for n in {names!r} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
