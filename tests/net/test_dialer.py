"""The dialling end: rounds, fetches, held links, and a sentence for every failure."""

import asyncio
import gzip
import socket
import uuid

import pytest

from popham.errors import ConfigError, LinkError
from popham.net import dialer as dialing
from popham.net import tls
from popham.net.failure import retry_after
from popham.net.seam import Limits, Refusal, Response


async def refusal(awaitable):
    with pytest.raises(LinkError) as caught:
        await awaitable
    return caught.value


@pytest.fixture
async def strange():
    """Start a listener that answers every request with the same bytes."""
    servers = []

    async def start(answer):
        async def reply(reader, writer):
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
                await reader.read()
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(reply, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_opc_10_a_round_carries_content_type_uid_and_headers(serve, dial, service):
    listener = await serve()
    uid = uuid.uuid4().bytes
    dialer = dial(listener, uid=uid, headers={"Authorization": "Bearer pops_1_a"})
    assert await dialer.exchange(b"hello") == b"answer:hello"
    assert await dialer.exchange(b"") == b"answer:"
    assert service.admitted == [(False, uid)] * 2
    assert [peer.bearer for peer in service.peers] == ["pops_1_a"] * 2
    assert service.peers[0] is service.peers[1], "the connection is kept for the next round"


async def test_a_compressed_answer_is_read(serve, dial, service):
    service.answer = lambda _: b"a" * 100_000
    assert await dial(await serve()).exchange(b"") == b"a" * 100_000


async def test_fetch_reads_another_path_within_its_limit(serve, dial, service):
    service.serve = lambda request: Response(body=request.path.encode())
    dialer = dial(await serve())
    assert await dialer.fetch("/v1/trust/root", limit=14) == b"/v1/trust/root"
    error = await refusal(dialer.fetch("/v1/trust/root", limit=13))
    assert (error.code, error.retryable) == ("link.too_large", True)


async def test_upload_brings_a_body_to_another_path(serve, dial, service):
    service.serve = lambda request: Response(status=204 if request.path.endswith("ab") else 404)
    dialer = dial(await serve())
    await dialer.upload("/v1/outputs/ab", b"\0body")
    (request,) = service.requests
    assert (request.method, request.headers["content-length"]) == ("POST", "5")
    assert (await refusal(dialer.upload("/v1/outputs/cd", b"\0body"))).status == 404


async def test_opc_15_a_message_that_is_too_large_is_not_retryable(serve, dial, service):
    listener = await serve(message=1000)
    error = await refusal(dial(listener).exchange(b"x" * 2000))
    assert (error.code, error.status, error.retryable) == ("link.too_large", 413, False)
    error = await refusal(dial(listener, message=100).exchange(b"x" * 101))
    assert (error.code, error.retryable) == ("link.too_large", False)
    assert service.rounds == []


async def test_opc_14_an_answer_over_the_limit_is_dropped(serve, dial, service, strange):
    service.answer = lambda _: b"x" * 2000
    error = await refusal(dial(await serve(), message=1000).exchange(b""))
    assert (error.code, error.retryable) == ("link.too_large", True)
    bomb = gzip.compress(bytes(3_000_000))
    url = await strange(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb
    )
    assert (await refusal(dial(url, message=100_000).exchange(b""))).code == "link.too_large"


@pytest.mark.parametrize("way", ["exchange", "hold"])
@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (Refusal(status=401, body="Your certificate was revoked."), "link.denied"),
        (Refusal(status=403, body="Wait to be accepted.", retry_after=60), "link.denied"),
        (Refusal(status=503, retry_after=40), "link.busy"),
        (Refusal(status=429, retry_after=7), "link.busy"),
        (Refusal(status=500, body="Broken."), "link.unexpected"),
    ],
)
async def test_opc_16_refusals_tell_status_wait_and_reason(serve, dial, service, way, refused, code):
    service.refuse = lambda *_: refused
    dialer = dial(await serve())
    error = await refusal(dialer.hold() if way == "hold" else dialer.exchange(b""))
    assert (error.code, error.status, error.retry_after) == (code, refused.status, refused.retry_after)
    assert refused.body in error.problem


async def test_a_refused_connection_names_host_and_port(dial):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for awaitable in (
            dial(f"http://127.0.0.1:{port}").exchange(b""),
            dial(f"ws://127.0.0.1:{port}").hold(),
        ):
            error = await refusal(awaitable)
            assert error.code == "link.unreachable"
            assert error.problem == f"127.0.0.1:{port} cannot be reached: the connection was refused"


async def test_a_name_that_is_not_found_is_told(dial):
    error = await refusal(dial("http://no-such-host.invalid:4320").exchange(b""))
    assert error.code == "link.unreachable"
    assert "no-such-host.invalid:4320 cannot be reached: its name was not found" in error.problem


async def test_silence_is_told_with_the_time_waited(dial, monkeypatch, authority):
    monkeypatch.setattr(dialing, "CONNECT_TIME", 0.1)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(5)
        port = mute.getsockname()[1]
        plain = await refusal(dial(f"http://127.0.0.1:{port}", body_time=0.1).exchange(b""))
        context = tls.client_context(authority.pem)
        secure = await refusal(dial(f"https://127.0.0.1:{port}", context=context).exchange(b""))
        held = await refusal(dial(f"http://127.0.0.1:{port}", body_time=0.1).hold())
    assert plain.code == secure.code == held.code == "link.unreachable"
    assert "did not answer within 0.2 s" in plain.problem
    assert "did not answer within 0.1 s" in secure.problem


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "link.unexpected",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", "link.unexpected"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "link.unexpected"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "link.unreachable"),
    ],
)
async def test_what_is_no_manager_is_told(strange, dial, answer, code):
    url = await strange(answer)
    assert (await refusal(dial(url).exchange(b""))).code == code
    assert (await refusal(dial(url).hold())).code == code


async def test_the_environment_names_no_proxy(serve, dial, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await dial(await serve()).exchange(b"x") == b"answer:x"


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("ftp://host", False),
        ("host:4320", False),
        ("http://user:secret@host", False),
        ("http://host/?a=b", False),
        ("https://host", False),
        ("http://host", True),
    ],
)
def test_sec_1_unusable_and_downgraded_addresses_are_refused(filling, url, secure):
    context = tls.unverified_context() if secure else None
    with pytest.raises(ConfigError):
        filling.dialer(url, context=context, limits=Limits())


async def test_a_prefix_of_a_reverse_proxy_is_kept(serve, dial, service):
    listener = await serve()
    dialer = dial(f"http://127.0.0.1:{listener.port}/fleet/v1/opamp")
    await dialer.fetch("/v1/trust/ca", limit=10)
    assert service.requests[0].path == "/fleet/v1/trust/ca"


async def test_a_link_carries_messages_both_ways_and_ends_well(serve, dial, service, until):
    dialer = dial(await serve())
    link = await dialer.hold()
    await link.send(b"1")
    service.handlers[0].link.send(b"2")
    messages = aiter(link)
    assert {await anext(messages), await anext(messages)} == {b"reply:1", b"2"}
    service.handlers[0].link.close(1000, "")
    assert [message async for message in messages] == []
    await until(lambda: service.handlers[0].codes)
    assert (await refusal(link.send(b"3"))).code == "link.closed"


async def test_closing_ends_the_iteration_and_tells_the_other_end(serve, dial, service, until):
    link = await dial(await serve()).hold()

    async def read():
        return [message async for message in link]

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    await link.close(1000, "done")
    await link.close()
    assert await reading == []
    await until(lambda: service.handlers[0].codes)
    assert service.handlers[0].codes == [1000]


async def test_closing_works_while_nobody_takes_what_comes(serve, dial, service, until, turns):
    dialer = dial(await serve())
    await dialer.hold()
    for _ in range(200):
        service.handlers[0].link.send(b"x" * 100)
    await turns()
    await dialer.aclose()
    await until(lambda: service.handlers[0].codes)
    assert service.handlers[0].codes == [1000]


@pytest.mark.parametrize(
    ("code", "reason", "expected", "wait"),
    [
        (1012, "retry-after=12.5", "link.busy", 12.5),
        (1013, "reader too slow", "link.busy", None),
        (1009, "", "link.too_large", None),
        (1008, "revoked", "link.denied", None),
        (1011, "x", "link.closed", None),
    ],
)
async def test_a_link_that_is_closed_badly_says_why(serve, dial, service, code, reason, expected, wait):
    link = await dial(await serve()).hold()
    service.handlers[0].link.close(code, reason)
    error = await refusal(anext(aiter(link)))
    assert (error.code, error.status, error.retry_after) == (expected, code, wait)
    assert (await refusal(anext(aiter(link)))).code == expected


async def test_a_link_that_breaks_says_1006(serve, dial, service):
    link = await dial(await serve()).hold()
    service.handlers[0].link._transport.abort()
    error = await refusal(anext(aiter(link)))
    assert (error.code, error.status) == ("link.closed", 1006)


async def test_opc_14_a_message_over_the_limit_ends_the_link_with_1009(serve, dial, service, until):
    link = await dial(await serve(), message=1000).hold()
    service.handlers[0].link.send(b"x" * 1000)
    service.handlers[0].link.send(b"x" * 1001)
    messages = aiter(link)
    assert await anext(messages) == b"x" * 1000
    assert (await refusal(anext(messages))).code == "link.too_large"
    await until(lambda: service.handlers[0].codes)
    assert service.handlers[0].codes == [1009]
    error = await refusal(link.send(b"x" * 1001))
    assert (error.code, error.retryable) == ("link.too_large", False)


async def test_rel_5_a_half_open_link_is_found_by_the_dialling_end(serve, dial, service):
    link = await dial(await serve(), keepalive=0.05).hold()
    service.handlers[0].link._transport.pause_reading()
    error = await refusal(anext(aiter(link)))
    assert (error.code, error.status) == ("link.closed", 1006)
    assert "no sign of life" in error.problem
    service.handlers[0].link._transport.resume_reading()


async def test_both_ends_ping_and_a_quiet_link_stays(serve, dial, service, until):
    link = await dial(await serve(keepalive=0.1), keepalive=0.1).hold()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await until(lambda: loop.time() > begin + 0.5)
    await link.send(b"x")
    assert await anext(aiter(link)) == b"reply:x"


async def test_no_task_or_socket_outlives_a_dialer(serve, filling, service):
    listener = await serve()
    before = asyncio.all_tasks()
    dialer = filling.dialer(f"http://127.0.0.1:{listener.port}", context=None, limits=Limits())
    await dialer.exchange(b"")
    await dialer.hold()
    await dialer.aclose()
    await dialer.aclose()
    await listener.stop(retry_window=0.0)
    assert asyncio.all_tasks() <= before


def test_retry_after_is_seconds_or_a_date_counted_from_the_answers_own():
    assert retry_after("120") == 120.0
    assert retry_after("99999999999") == 86_400.0
    date = "Fri, 13 Nov 2026 10:00:00 GMT"
    assert retry_after("Fri, 13 Nov 2026 10:01:30 GMT", date=date) == 90.0
    assert retry_after("Fri, 13 Nov 2026 09:00:00 GMT", date=date) == 0.0
    assert [retry_after(text, date=date) for text in ("", "-1", "soon", "1.5")] == [None] * 4


async def test_f_d5_an_upload_brings_back_what_was_answered_within_its_limit(serve, dial, service):
    service.serve = lambda request: Response(body=request.raw_query.encode())
    dialer = dial(await serve())
    path = "/v1/streams/logs?now=12.5&waiting=3"
    assert await dialer.upload(path, b"!", limit=18) == b"now=12.5&waiting=3"
    (request,) = service.requests
    assert (request.path, dict(request.query)) == ("/v1/streams/logs", {"now": "12.5", "waiting": "3"})
    assert (await refusal(dialer.upload(path, b"!", limit=3))).code == "link.too_large"


async def test_a_query_behind_a_path_is_brought_as_it_is(serve, dial, service):
    service.serve = lambda request: Response(body=f"{request.path} {request.raw_query}".encode())
    dialer = dial(await serve())
    assert await dialer.fetch("/v1/streams/logs?epoch=7", limit=100) == b"/v1/streams/logs epoch=7"
