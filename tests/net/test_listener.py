"""The agents' listener: order of a round, its bounds, its end."""

import asyncio
import gzip
import uuid

import pytest

from popham.errors import ConfigError, GrantError, WireError
from popham.net.seam import Refusal, Refused, Response

PROTOBUF = "application/x-protobuf"


def post(body, *headers, path="/v1/opamp", content_type=PROTOBUF):
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


async def test_ops_1_3_one_url_takes_rounds_and_upgrades(serve, raw, service):
    listener = await serve()
    one, other = await raw(listener), await raw(listener)
    status, headers, body = await one.answer(post(b"hello"))
    assert (status, headers["content-type"], body) == (200, PROTOBUF, b"answer:hello")
    status, headers = await other.upgrade()
    assert status == 101
    assert service.rounds == [b"hello"]


async def test_an_answer_later_is_awaited_and_a_shared_future_survives(serve, raw, service, until):
    shared = asyncio.get_running_loop().create_future()
    service.answer = lambda _: shared
    listener = await serve()
    leaving, staying = await raw(listener), await raw(listener)
    leaving.writer.write(post(b"1"))
    staying.writer.write(post(b"2"))
    await until(lambda: len(service.rounds) == 2)
    leaving.writer.transport.abort()
    shared.set_result(b"durable")
    assert (await staying.answer())[2] == b"durable"


async def test_a_connection_serves_many_rounds(serve, raw, service):
    one = await raw(await serve())
    for number in range(5):
        assert (await one.answer(post(b"%d" % number)))[2] == b"answer:%d" % number
    assert len({id(peer) for peer in service.peers}) == 1


async def test_pipelined_rounds_with_split_bodies_are_all_answered(serve, raw):
    one = await raw(await serve(header=300))
    big = b"x" * 2000
    stream = post(b"1") + post(big) + post(b"3")
    for start in range(0, len(stream), 190):
        one.writer.write(stream[start : start + 190])
        await one.writer.drain()
    assert [(await one.answer())[2] for _ in range(3)] == [b"answer:1", b"answer:" + big, b"answer:3"]


async def test_livez_needs_no_identity(serve, raw, service):
    one = await raw(await serve())
    status, _, body = await one.answer(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, body) == (200, b"ok")
    assert service.admitted == service.requests == []


async def test_sec_2_a_refused_round_is_answered_before_its_body_is_read(serve, raw, service):
    service.refuse = lambda *_: Refusal(status=401, body="Who are you?")
    one = await raw(await serve())
    head = post(b"x" * 1000)[:-1000]
    status, headers, body = await one.answer(head)
    assert (status, body) == (401, b"Who are you?")
    assert headers["www-authenticate"] == "bearer"
    assert headers["connection"] == "close"
    assert service.rounds == []


async def test_ops_24_25_refusals_keep_their_status_retry_after_and_body(serve, raw, service):
    service.refuse = lambda *_: Refusal(status=503, retry_after=37.4, body='{"code":"link.busy"}')
    listener = await serve()
    status, headers, body = await (await raw(listener)).answer(post(b""))
    assert (status, headers["retry-after"]) == (503, "37")
    assert headers["content-type"].startswith("application/problem+json")
    assert body == b'{"code":"link.busy"}'
    assert (await (await raw(listener)).upgrade())[0] == 503


async def _later(refusal):
    await asyncio.sleep(0)
    raise Refused(refusal)


def _at_once(refusal):
    raise Refused(refusal)


@pytest.mark.parametrize("refuse", [_at_once, _later], ids=["at once", "from the awaitable"])
@pytest.mark.parametrize("status", [401, 403, 503])
async def test_ops_24_25_a_round_that_is_refused_after_its_body_was_read_keeps_its_status(
    serve, raw, service, refuse, status
):
    refusal = Refusal(status=status, retry_after=30 if status == 503 else None, body="Not you.")
    service.answer = lambda _: refuse(refusal)
    one = await raw(await serve())
    found, headers, body = await one.answer(post(b"x"))
    assert (found, body) == (status, b"Not you.")
    assert headers.get("retry-after") == ("30" if status == 503 else None)
    assert service.rounds == [b"x"]


async def test_the_instance_uid_header_is_optional(serve, raw, service):
    one = await raw(await serve())
    uid = uuid.uuid4()
    await one.answer(post(b"", f"OpAMP-Instance-UID: {uid}"))
    await one.answer(post(b""))
    await one.answer(post(b"", "OpAMP-Instance-UID: nonsense"))
    assert service.admitted == [(False, uid.bytes), (False, b""), (False, b"")]


async def test_a_bearer_token_belongs_to_its_request(serve, raw, service):
    one = await raw(await serve())
    await one.answer(post(b"", "Authorization: bearer pops_1_a"))
    await one.answer(post(b"", "Authorization: Basic eDp5"))
    assert [peer.bearer for peer in service.peers] == ["pops_1_a", ""]
    assert {peer.address for peer in service.peers} == {"127.0.0.1"}


@pytest.mark.parametrize("size", [1000, 1001])
async def test_ops_8_the_limit_of_a_body_is_inclusive(serve, raw, service, size):
    service.answer = lambda _: b"taken"
    status, _, _ = await (await raw(await serve(message=1000))).answer(post(b"x" * size))
    assert status == (200 if size == 1000 else 413)
    assert len(service.rounds) == (1 if size == 1000 else 0)


async def test_ops_8_a_chunked_body_over_the_limit_is_refused(serve, raw, service):
    one = await raw(await serve(message=1000))
    head = f"POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
    status, _ = await one.ask(head.encode() + chunk * 3)
    assert status == 413
    assert service.rounds == []


async def test_ops_11_sec_9_gzip_is_read_and_a_bomb_is_not(serve, raw, service):
    listener = await serve(message=10_000)
    one = await raw(listener)
    assert (await one.answer(post(gzip.compress(b"hello", mtime=0), "Content-Encoding: gzip")))[
        2
    ] == b"answer:hello"
    bomb = gzip.compress(bytes(5_000_000))
    assert len(bomb) < 10_000
    assert (await one.answer(post(bomb, "Content-Encoding: gzip")))[0] == 413
    assert service.rounds == [b"hello"]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [(b"no gzip", "gzip", 400), (gzip.compress(b"x", mtime=0)[:-3], "gzip", 400), (b"x", "br", 415)],
)
async def test_an_unreadable_body_is_refused(serve, raw, service, body, encoding, status):
    one = await raw(await serve())
    assert (await one.answer(post(body, f"Content-Encoding: {encoding}")))[0] == status
    assert service.rounds == []


async def test_ops_12_gzip_answers_are_sent_only_where_asked_for(serve, raw, service):
    service.answer = lambda _: b"a" * 5000
    one = await raw(await serve())
    for header, zipped in [
        ("X: y", False),
        ("Accept-Encoding: gzip, deflate", True),
        ("Accept-Encoding: gzip;q=0", False),
    ]:
        _, headers, body = await one.answer(post(b"", header))
        assert ("content-encoding" in headers) is zipped
        assert (gzip.decompress(body) if zipped else body) == b"a" * 5000
        assert headers["content-type"] == PROTOBUF


async def test_ops_9_an_answer_over_the_limit_is_not_sent(serve, raw, service, caplog):
    service.answer = lambda _: b"a" * 1001
    status, _, body = await (await raw(await serve(message=1000))).answer(post(b""))
    assert status == 500
    assert len(body) < 100
    assert "1001" in caplog.text


async def test_expect_continue_is_answered_after_admission_only(serve, raw, service):
    listener = await serve()
    one = await raw(listener)
    head = post(b"x" * 10, "Expect: 100-continue")[:-10]
    assert (await one.ask(head))[0] == 100
    assert (await one.answer(b"x" * 10))[2] == b"answer:" + b"x" * 10
    service.refuse = lambda *_: Refusal(status=403)
    assert (await (await raw(listener)).ask(head))[0] == 403


@pytest.mark.parametrize(
    ("error", "status"),
    [(WireError("x", "Broken."), 400), (GrantError("x", "Not yours."), 403), (RuntimeError("secret"), 500)],
)
async def test_a_failing_round_says_so_and_never_shows_the_inside(serve, raw, service, caplog, error, status):
    def fail(_):
        raise error

    service.answer = fail
    got, _, body = await (await raw(await serve())).answer(post(b""))
    assert got == status
    assert b"secret" not in body
    assert ("secret" in caplog.text) is (status == 500)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (f"GET /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\n\r\n".encode(), 405),
        (post(b"{}", content_type="application/json"), 415),
        (b"GET /v1/opamp HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (b"nonsense\r\n\r\n", 400),
    ],
)
async def test_what_is_neither_round_nor_upgrade_is_refused(serve, raw, service, request_bytes, status):
    assert (await (await raw(await serve())).ask(request_bytes))[0] == status
    assert service.admitted == []


async def test_a_round_with_a_charset_is_a_round_but_answers_without(serve, raw):
    one = await raw(await serve())
    _, headers, _ = await one.answer(post(b"", content_type=f"{PROTOBUF}; charset=utf-8"))
    assert headers["content-type"] == PROTOBUF


async def test_other_paths_reach_the_service_with_query_and_lower_case_headers(serve, raw, service):
    one = await raw(await serve())
    status, _, body = await one.answer(post(b"", "X-Thing: 1", "x-thing: 2", path="/v1/streams/a%20b?from=3"))
    assert (status, body) == (200, b"other")
    request = service.requests[0]
    assert (request.method, request.path, request.query) == ("POST", "/v1/streams/a b", {"from": "3"})
    assert request.headers["x-thing"] == "1, 2"


async def test_a_range_is_cut_from_immutable_bodies(serve, raw, service):
    service.serve = lambda _: Response(body=b"0123456789", headers={"ETag": '"d"'})
    one = await raw(await serve())

    async def get(*headers, method="GET"):
        lines = [f"{method} /v1/content/sha256/d HTTP/1.1", "Host: x", *headers, "", ""]
        status, head = await one.ask("\r\n".join(lines).encode())
        body = b"" if method == "HEAD" else await one.reader.readexactly(int(head["content-length"]))
        return status, head.get("content-range"), body

    assert await get() == (200, None, b"0123456789")
    assert await get("Range: bytes=2-4") == (206, "bytes 2-4/10", b"234")
    assert await get("Range: bytes=7-") == (206, "bytes 7-9/10", b"789")
    assert await get("Range: bytes=-3") == (206, "bytes 7-9/10", b"789")
    assert await get("Range: bytes=8-99") == (206, "bytes 8-9/10", b"89")
    assert (await get("Range: bytes=10-"))[:2] == (416, "bytes */10")
    assert (await get("Range: bytes=-0"))[0] == 416
    assert (await get("Range: bytes=1-2,4-5"))[0] == 200
    assert (await get("Range: bytes=4-2"))[0] == 200
    assert (await get("Range: bytes=2-4", 'If-Range: "other"'))[0] == 200
    assert (await get("Range: bytes=2-4", 'If-Range: "d"'))[0] == 206
    assert await get(method="HEAD") == (200, None, b"")
    assert await get("Range: bytes=0-0") == (206, "bytes 0-0/10", b"0")


async def test_rel_14_a_head_that_is_late_is_cut_off(serve, raw):
    listener = await serve(header_time=1.0)
    silent, slow = await raw(listener), await raw(listener)
    slow.writer.write(b"POST /v1/op")
    assert b" 408 " in await silent.ended()
    assert b" 408 " in await slow.ended()
    second = await raw(listener)
    assert (await second.answer(post(b"")))[0] == 200
    second.writer.write(b"POST ")
    assert b" 408 " in await second.ended()


async def test_sec_2_a_head_that_is_too_long_is_cut_off(serve, raw, service):
    listener = await serve(header=2000)
    endless, whole = await raw(listener), await raw(listener)
    endless.writer.write(b"GET / HTTP/1.1\r\n" + b"X: 12345678\r\n" * 200)
    assert b" 431 " in await endless.ended()
    assert (await whole.ask(post(b"", *[f"X-{n}: {'y' * 90}" for n in range(30)])))[0] == 431
    assert service.admitted == []


async def test_rel_14_a_body_that_is_late_is_cut_off(serve, raw, service):
    one = await raw(await serve(body_time=0.1))
    assert (await one.ask(post(b"x" * 100)[:-1]))[0] == 408
    assert service.rounds == []


async def test_rel_14_the_oldest_connection_that_was_never_admitted_goes_first(serve, raw):
    listener = await serve(unadmitted=3)
    known = await raw(listener)
    assert (await known.answer(post(b"1")))[0] == 200
    idle = [await raw(listener) for _ in range(4)]
    assert await idle[0].ended() == b""
    assert (await idle[3].answer(post(b"2")))[0] == 200
    assert (await known.answer(post(b"3")))[0] == 200


async def test_rounds_over_the_rate_are_sent_away_before_admission(serve, raw, service):
    listener = await serve(rounds_per_second=2.0)
    answers = [(await (await raw(listener)).answer(post(b"")))[:2] for _ in range(8)]
    statuses = [status for status, _ in answers]
    assert statuses.count(200) >= 2
    assert len(service.admitted) == statuses.count(200)
    waits = [int(headers["retry-after"]) for status, headers in answers if status == 503]
    assert len(set(waits)) > 1
    assert all(1 <= wait <= 32 for wait in waits)


async def test_a_round_that_offers_another_protocol_counts_into_the_same_rate(serve, raw):
    listener = await serve(rounds_per_second=0.1)
    plain = post(b"x")
    offering = plain.replace(b"Host:", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost:", 1)
    assert offering != plain
    assert (await (await raw(listener)).answer(plain))[0] == 200
    assert (await (await raw(listener)).answer(offering))[0] == 503


async def test_listeners_share_one_free_port_on_ipv4_and_ipv6(serve, dial, service):
    listener = await serve(hosts=("127.0.0.1", "::1"))
    assert await dial(listener).exchange(b"four") == b"answer:four"
    assert await dial(listener, host="[::1]").exchange(b"six") == b"answer:six"
    assert [peer.address for peer in service.peers] == ["127.0.0.1", "::1"]


async def test_a_port_in_use_is_named(serve, filling, service):
    taken = await serve()
    other = type(taken)(service, context=None, limits=taken._limits, clock=taken._rate._clock, rng=taken._rng)
    with pytest.raises(ConfigError, match=f"127.0.0.1 port {taken.port} cannot be listened on"):
        await other.start(["127.0.0.1"], taken.port)


async def test_a_stop_lets_a_round_finish_and_accepts_no_more(serve, raw, service, until):
    waiting = asyncio.get_running_loop().create_future()
    service.answer = lambda _: waiting
    listener = await serve()
    idle, busy = await raw(listener), await raw(listener)
    service.answer, later = (lambda _: b"x"), service.answer
    await idle.answer(post(b""))
    service.answer = later
    busy.writer.write(post(b"last"))
    await until(lambda: b"last" in service.rounds)
    stopping = asyncio.create_task(listener.stop(retry_window=5.0))
    await asyncio.sleep(0)
    waiting.set_result(b"done")
    status, headers, body = await busy.answer()
    assert (status, headers["connection"], body) == (200, "close", b"done")
    await stopping
    assert await idle.ended() == b""
    with pytest.raises(ConnectionRefusedError):
        await raw(listener)
    assert asyncio.all_tasks() == {asyncio.current_task()}
