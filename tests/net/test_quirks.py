"""What real OpAMP clients need of the bytes on the wire; numbers are those of the table in docs/reference/opamp.md."""

import asyncio
import gzip
import struct
import uuid

import pytest

from popham.net.seam import Refusal, Refused

PROTOBUF = "application/x-protobuf"
BINARY, CLOSE = 2, 8
LARGE = b"a" * 50_000


def post(body, *headers):
    lines = [
        "POST /v1/opamp HTTP/1.1",
        "Host: x",
        f"Content-Type: {PROTOBUF}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


@pytest.mark.parametrize("header", ["X-Nothing: 1", "Accept-Encoding: identity", "Accept-Encoding: gzip;q=0"])
async def test_quirk_node_1_nothing_is_compressed_for_who_did_not_ask(serve, raw, service, header):
    service.answer = lambda _: LARGE
    one = await raw(await serve())
    _, headers, body = await one.answer(post(b"", header))
    assert "content-encoding" not in headers
    assert "transfer-encoding" not in headers
    assert body == LARGE


async def test_quirk_node_1_a_query_changes_nothing(serve, raw):
    one = await raw(await serve())
    request = post(b"hello").replace(b"/v1/opamp ", b"/v1/opamp?tenant=x ")
    assert (await one.answer(request))[::2] == (200, b"answer:hello")


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("answer", [b"", b"x", LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("asks", ["X-Nothing: 1", "Accept-Encoding: gzip, deflate"])
async def test_quirk_node_2_an_answer_is_exactly_200_and_exactly_protobuf(
    serve, raw, service, later, answer, asks
):
    async def wait():
        await asyncio.sleep(0)
        return answer

    service.answer = lambda _: wait() if later else answer
    one = await raw(await serve())
    for _ in range(2):
        status, headers, _ = await one.answer(post(b"", asks))
        assert (status, headers["content-type"]) == (200, PROTOBUF)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("seconds", [0.2, 30.0, 41.7, 300.0])
@pytest.mark.parametrize("after", [False, True], ids=["before the body", "after it"])
async def test_quirk_node_5_who_is_sent_away_is_told_for_how_long_in_whole_seconds(
    serve, raw, service, status, seconds, after
):
    """A fraction is read as a date in the past, and waited for five minutes."""
    refusal = Refusal(status=status, retry_after=seconds, body="Later.")

    def refuse(_):
        raise Refused(refusal)

    if after:
        service.answer = refuse
    else:
        service.refuse = lambda *_: refusal
    one = await raw(await serve())
    found, headers, _ = await one.answer(post(b"x"))
    assert found == status
    assert headers["retry-after"].isdigit()
    assert abs(int(headers["retry-after"]) - max(1.0, seconds)) <= 0.5


async def test_quirk_node_5_a_rate_that_is_exceeded_names_whole_seconds_too(serve, raw):
    listener = await serve(rounds_per_second=0.1)
    for number in range(5):
        one = await raw(listener)
        status, headers, _ = await one.answer(post(b"x"))
        assert status == (503 if number else 200)
        assert not number or headers["retry-after"].isdigit()


async def test_quirk_go_2_a_link_is_shed_by_its_close_and_the_next_upgrade_by_503(serve, raw, service):
    """It ignores UNAVAILABLE; what it obeys is an upgrade that is refused with Retry-After."""
    listener = await serve()
    one, other = await raw(listener), await raw(listener)
    assert (await one.upgrade())[0] == 101
    service.handlers[0].link.close(1013, "retry-after=40")
    opcode, data = await one.frame()
    assert (opcode, struct.unpack("!H", data[:2])[0]) == (CLOSE, 1013)
    service.refuse = lambda *_: Refusal(status=503, retry_after=40)
    status, headers = await other.upgrade()
    assert (status, headers["retry-after"]) == (503, "40")
    assert len(service.handlers) == 1


async def test_quirk_go_3_every_status_but_200_429_and_503_loses_its_message_so_overload_has_no_other(
    serve, raw
):
    """What is lost leaves a gap; who is merely too early must not lose anything."""
    listener = await serve(rounds_per_second=0.1)
    statuses = []
    for _ in range(4):
        one = await raw(listener)
        statuses.append((await one.answer(post(b"x")))[0])
    assert statuses == [200, 503, 503, 503]


async def test_quirk_go_4_a_link_that_ends_with_close_1000_is_told_so_and_answered(
    serve, raw, service, until
):
    one = await raw(await serve())
    await one.upgrade()
    one.send_frame(BINARY, b"goodbye")
    one.send_frame(CLOSE, struct.pack("!H", 1000))
    assert await one.frame() == (BINARY, b"reply:goodbye")
    opcode, data = await one.frame()
    assert (opcode, struct.unpack("!H", data[:2])[0]) == (CLOSE, 1000)
    handler = service.handlers[0]
    await until(lambda: handler.codes)
    assert (handler.messages, handler.codes) == ([b"goodbye"], [1000])


async def test_quirk_go_5_a_compressed_round_is_read_and_answered_in_kind(serve, raw, service):
    service.answer = lambda _: LARGE
    one = await raw(await serve())
    key = uuid.uuid4()
    packed = gzip.compress(b"full state " * 1000)
    extra = ("Content-Encoding: gzip", "Accept-Encoding: gzip", f"OpAMP-Instance-UID: {key}")
    _, headers, body = await one.answer(post(packed, *extra))
    assert service.rounds == [b"full state " * 1000]
    assert service.admitted == [(False, key.bytes)]
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == LARGE
