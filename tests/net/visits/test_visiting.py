"""Dialling an agent's service: exchanges, held links, and a named state for everything that goes wrong."""

import asyncio
import gzip
import socket

import pytest

from popham.errors import ConfigError, VisitError
from popham.net import visiting
from popham.net.seam import Limits
from popham.net.visiting import Place, VisitDialer

PROTOBUF = b"Content-Type: application/x-protobuf\r\n"


async def refusal(awaitable):
    with pytest.raises(VisitError) as caught:
        await awaitable
    return caught.value


def answer(status, headers=b"", body=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)


async def test_f_l2_an_exchange_brings_the_signed_answer(serve_visits, visit, visited, party):
    dialer = visit(await serve_visits())
    for body in (b"", b"directive", b"d" * 100_000):
        asked = party.ask(body=body)
        reply = await dialer.post(asked)
        assert (reply.status, reply.body, party.open(asked, reply).nonce) == (200, b"report", "n2")
        assert visited.requests[-1].body == body
    assert visited.requests[0].peer is visited.requests[1].peer, (
        "the connection is kept for the next exchange"
    )


@pytest.mark.parametrize("status", [204, 409, 421, 428, 403])
async def test_an_answer_that_is_signed_is_returned_whatever_it_says(
    serve_visits, visit, visited, party, status
):
    visited.status, visited.body = status, b"" if status == 204 else b"{}"
    asked = party.ask()
    reply = await visit(await serve_visits()).post(asked)
    assert (reply.status, reply.body, party.open(asked, reply).keyid) == (status, visited.body, "identity")


async def test_f_l4_a_prefix_and_a_query_stay_as_they_are(serve_visits, visit, visited, party):
    listener = await serve_visits()
    asked = party.ask("content", body=b"x", query="sha256=ab%2Fcd&y=%41")
    reply = await visit(listener, prefix="/SQC/a%20b/").post(asked)
    assert party.open(asked, reply).keyid == "identity"
    assert visited.requests[0].path == "/SQC/a b/v1/visit"
    assert visited.requests[0].raw_query == "sha256=ab%2Fcd&y=%41"


@pytest.mark.parametrize(
    ("operation", "media"),
    [
        ("visit", "application/x-protobuf"),
        ("birth", "application/json"),
        ("content", "application/octet-stream"),
    ],
)
async def test_the_content_type_follows_the_operation(serve_visits, visit, visited, party, operation, media):
    await visit(await serve_visits()).post(party.ask(operation, body=b"{}"))
    assert visited.requests[0].headers["content-type"] == media


async def test_f_y13_a_realm_gets_its_password(serve_visits, visit, visited, party):
    await visit(await serve_visits(), password="popham:s:ecret").post(party.ask())
    assert visited.requests[0].headers["authorization"] == "Basic cG9waGFtOnM6ZWNyZXQ="


async def test_f_o10_ipv6_is_dialled(serve_visits, visit, party):
    listener = await serve_visits(hosts=("127.0.0.1", "::1"))
    if len(listener._servers) < 2:
        pytest.skip("this machine has no IPv6")
    reply = await visit(listener, host="[::1]").post(party.ask())
    assert reply.body == b"report"
    await listener.stop()
    error = await refusal(visit(listener, host="[::1]").post(party.ask()))
    assert error.problem.startswith(f"[::1]:{listener.port} refuses")


async def test_f_l3_nothing_that_listens_is_told_with_port_and_command(visit, party):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for awaitable in (visit(port).post(party.ask()), visit(port).hold(party.ask("hold"))):
            error = await refusal(awaitable)
            assert (error.code, error.retryable) == ("visit.refused", True)
            assert f"127.0.0.1:{port}" in error.problem
            assert f"port {port}" in error.problem
            assert "popham agent service start" in error.hint


PROBLEM = b"Content-Type: application/problem+json\r\n"
HTML = b"Content-Type: text/html; charset=utf-8\r\n"


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (answer(b"404 Not Found", HTML, b"<h1>404"), "visit.not_found", "has no /SQC/v1/visit"),
        (answer(b"404 No", PROBLEM, b'{"code":"visit.not_found"}'), "visit.not_found", "prefix"),
        (answer(b"410 Gone"), "visit.not_found", "alias"),
        (answer(b"502 Bad Gateway", HTML), "visit.off", "popham agent service start"),
        (answer(b"503 Service Unavailable", b"Retry-After: 9\r\n"), "visit.off", "HTTP 503"),
        (answer(b"504 Gateway Timeout"), "visit.off", "behind it does not"),
        (answer(b"403 No", PROBLEM, b'{"code":"visit.stranger"}'), "visit.stranger", "another fleet"),
        (answer(b"501 No", PROBLEM, b'{"code":"visit.cgi"}'), "visit.cgi", "Pull by visit"),
        (answer(b"426 Upgrade Required"), "visit.no_upgrade", "Upgrade"),
        (answer(b"302 Found", b"Location: http://127.0.0.1/\r\n"), "visit.redirect", "to http://127.0.0.1/"),
        (answer(b"304 Not Modified"), "visit.redirect", "nowhere"),
        (answer(b"200 OK", HTML, b"<form>"), "visit.not_agent", "login page"),
        (
            answer(b"200 OK", b"Content-Type: text/plain\r\n", b"hello"),
            "visit.not_agent",
            "without a signature",
        ),
        (answer(b"204 No Content"), "visit.not_agent", "without a signature"),
        (answer(b"511 Login", HTML, b"<form>"), "visit.not_agent", "wants a login"),
        (answer(b"401 Unauthorized", b"WWW-Authenticate: Basic\r\n"), "visit.password", "realm"),
        (answer(b"407 No"), "visit.proxy_password", "http_proxy"),
        (answer(b"413 Too Large"), "visit.too_large", "no message of this size"),
        (
            answer(b"502 No", PROBLEM, b'{"code":"visit.too_large","detail":"So much"}'),
            "visit.too_large",
            "So much",
        ),
        (answer(b"429 Slow", b"Retry-After: 7\r\n"), "visit.busy", "HTTP 429"),
        (
            answer(b"500 Oops", b"Content-Type: text/plain\r\n", b"Broken.\n"),
            "visit.failed",
            "HTTP 500: Broken.",
        ),
        (answer(b"500 Oops", PROBLEM, b"[" * 1900), "visit.failed", "HTTP 500"),
        (answer(b"400 Bad Request", HTML, b"The plain HTTP request was sent"), "visit.tls", "tls: agent"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "visit.not_agent", "no HTTP"),
        (b"", "visit.slow", "no whole answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000, "visit.too_large", "head of the answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, "visit.too_large", "head of the answer"),
    ],
)
async def test_whatever_answers_is_a_named_state_with_a_next_step(visit, canned, party, said, code, words):
    port = await canned(said)
    for way in ("post", "hold"):
        dialer = visit(port, prefix="/SQC", body_time=30.0 if said else 1.0)
        asked = party.ask("hold" if way == "hold" else "visit")
        error = await refusal(getattr(dialer, way)(asked))
        assert error.code == code
        assert f"127.0.0.1:{port}" in error.problem
        assert error.hint
        assert words in f"{error.problem} {error.hint}"
    assert error.retry_after == {b"503": 9.0, b"429": 7.0}.get(said[9:12])


async def test_a_redirect_is_never_followed(visit, canned, party):
    asked_there = []

    async def note(reader, _writer):
        asked_there.append(await reader.readuntil(b"\r\n\r\n"))

    there = await canned(note)
    port = await canned(answer(b"307 There", b"Location: http://127.0.0.1:%d/v1/visit\r\n" % there))
    assert (await refusal(visit(port).post(party.ask()))).code == "visit.redirect"
    assert (await refusal(visit(port).hold(party.ask("hold")))).code == "visit.redirect"
    assert asked_there == []


async def test_a_body_of_10_gib_ends_at_the_bound(visit, canned, party):
    sent = 0

    async def flood(reader, writer):
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + PROTOBUF + b"Content-Length: 10737418240\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    error = await refusal(visit(await canned(flood), message=100_000).post(party.ask()))
    assert error.code == "visit.too_large"
    assert "larger than 100000 bytes" in error.problem
    assert sent < 50_000_000, "what buffers hold, and no more"


async def test_a_bomb_of_gzip_ends_at_the_bound(visit, canned, party):
    bomb = gzip.compress(bytes(30_000_000))
    port = await canned(answer(b"200 OK", PROTOBUF + b"Content-Encoding: gzip\r\n", bomb))
    assert (await refusal(visit(port, message=100_000).post(party.ask()))).code == "visit.too_large"
    port = await canned(answer(b"200 OK", PROTOBUF + b"Content-Encoding: gzip\r\n", b"no gzip at all"))
    assert (await refusal(visit(port).post(party.ask()))).code == "visit.not_agent"


async def test_an_answer_that_trickles_is_given_up(visit, canned, party, monkeypatch):
    monkeypatch.setattr(visiting, "GRACE_TIME", 0.1)
    monkeypatch.setattr(visiting, "ANSWER_RATE", 1e6)

    async def trickle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + PROTOBUF + b"Content-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0)

    error = await refusal(visit(await canned(trickle)).post(party.ask()))
    assert error.code == "visit.slow"
    assert "bytes of its answer" in error.problem


async def test_a_refusal_whose_text_never_comes_is_still_told(visit, canned, party, monkeypatch):
    monkeypatch.setattr(visiting, "GRACE_TIME", 0.05)
    port = await canned(b"HTTP/1.1 404 Not Found\r\nContent-Length: 10000\r\n\r\n")
    assert (await refusal(visit(port).post(party.ask()))).code == "visit.not_found"


async def test_a_connection_that_ends_before_the_answer_is_told(visit, canned, party):
    async def hang_up(reader, _writer):
        await reader.readuntil(b"\r\n\r\n")

    port = await canned(hang_up)
    error = await refusal(visit(port).post(party.ask()))
    assert (error.code, "ended before the answer" in error.problem) == ("visit.unreachable", True)

    async def say_half(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + PROTOBUF + b"Content-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    assert (await refusal(visit(await canned(say_half)).post(party.ask()))).code == "visit.unreachable"
    mad = await canned(b"HTTP/1.1 200 OK\r\n" + PROTOBUF + b"Transfer-Encoding: chunked\r\n\r\nfrog\r\n")
    assert (await refusal(visit(mad).post(party.ask()))).code == "visit.not_agent"


async def test_a_host_that_is_silent_is_told_with_the_time_waited(visit, party, monkeypatch):
    monkeypatch.setattr(visiting, "CONNECT_TIME", 0.1)

    async def never(*_, **__):
        await asyncio.Event().wait()

    class Mute:
        resolve = never

    error = await refusal(visit(23440, host="mute.example", names=Mute()).post(party.ask()))
    assert (error.code, "within 0.1 s" in error.problem) == ("visit.unreachable", True)


async def test_a_name_that_is_not_found_is_told(visit, party):
    error = await refusal(visit(23440, host="no-such-host.invalid").post(party.ask()))
    assert error.code == "visit.name"
    assert error.problem == "no-such-host.invalid:23440 cannot be visited: its name was not found"


async def test_a_request_over_the_limit_is_not_sent(serve_visits, visit, visited, party):
    error = await refusal(visit(await serve_visits(), message=10).post(party.ask(body=b"x" * 11)))
    assert error.code == "visit.too_large"
    assert visited.requests == []


class Names:
    """Finds a name at another address each time it is asked."""

    def __init__(self, *addresses):
        self.addresses = list(addresses)

    async def resolve(self, host, port=0, family=socket.AF_INET):
        found = self.addresses.pop(0)
        return [
            {"hostname": host, "host": one, "port": port, "family": family, "proto": 0, "flags": 0}
            for one in found
        ]


async def test_the_address_is_pinned_for_a_visit(serve_visits, visit, visited, party):
    listener = await serve_visits(hosts=("127.0.0.1",))
    names = Names(["127.0.0.9", "127.0.0.1"], ["127.0.0.1"])
    dialer = visit(listener, host="agent.example", names=names)
    assert (await dialer.post(party.ask())).address == "127.0.0.1"
    assert [one["host"] for one in await dialer._pin.resolve("agent.example")] == ["127.0.0.1"]
    assert (await dialer.post(party.ask())).address == "127.0.0.1", "a connection that was kept"
    link, reply = await dialer.hold(party.ask("hold"))
    await link.close()
    assert reply.address == "127.0.0.1"
    assert len(names.addresses) == 1, "the second connection asks nobody"
    await dialer.aclose()
    await dialer.post(party.ask())
    assert names.addresses == [], "the next visit asks anew"
    assert len(visited.requests) == 4


async def test_f_l3_a_name_with_several_addresses_that_all_refuse_is_refused(visit, party):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        names = Names(["127.0.0.1", "127.0.0.9", "127.0.0.8"])
        dialer = visit(taken.getsockname()[1], host="agent.example", names=names)
        assert (await refusal(dialer.post(party.ask()))).code == "visit.refused"


async def test_a_kept_connection_that_is_gone_costs_one_repeat(visit, canned, party):
    heads = []

    async def once(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer(b"200 OK", PROTOBUF))
        heads.append(await reader.readuntil(b"\r\n\r\n"))

    dialer = visit(await canned(once))
    for _ in range(3):
        assert (await dialer.post(party.ask())).status == 200
    assert len(heads) == 5


async def test_the_environment_and_cookies_are_nobodys(visit, canned, party, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    heads = []

    async def set_cookie(reader, writer):
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer(b"200 OK", PROTOBUF + b"Set-Cookie: a=b\r\n"))

    dialer = visit(await canned(set_cookie))
    await dialer.post(party.ask())
    await dialer.post(party.ask())
    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()


@pytest.mark.parametrize(
    ("url", "way"),
    [
        ("agent.example", {}),
        ("ftp://agent.example", {}),
        ("http://u:p@agent.example", {}),
        ("http://agent.example?x=1", {}),
        ("https://agent.example", {}),
        ("http://agent.example", {"tls": "agent"}),
        ("http://agent.example:99999", {}),
        ("http://agent.example", {"http_proxy": "https://proxy.example"}),
        ("http://agent.example", {"http_proxy": "proxy.example:3128"}),
    ],
)
def test_a_place_that_cannot_be_is_refused(url, way):
    with pytest.raises(ConfigError) as caught:
        VisitDialer(Place(url, **({"tls": "off"} | way)), context=None, limits=Limits())
    assert caught.value.code == "config.url"


def test_a_place_does_not_show_its_passwords():
    place = Place("http://a", tls="off", http_proxy="http://u:secret1@p:1", password="u:secret2")
    assert "secret" not in repr(place)
