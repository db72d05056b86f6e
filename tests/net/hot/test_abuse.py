"""Bad input over real sockets: each refused in its way, in bounded memory, and good agents answered all the while."""

import asyncio
import gzip
import struct
import tracemalloc

import pytest

from popham.net.seam import Refusal

PROTOBUF = "application/x-protobuf"
BINARY, TEXT, CLOSE, PING = 2, 1, 8, 9
MIB = 1024 * 1024


def post(body, *headers, length=None):
    lines = [
        "POST /v1/opamp HTTP/1.1",
        "Host: x",
        f"Content-Type: {PROTOBUF}",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


@pytest.fixture
def traced():
    """Return the peak of traced memory since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.fixture
async def drip():
    """Write bytes one at a time, for ever; returns the task."""
    tasks = []

    def start(one, data, seconds):
        async def run():
            for byte in data:
                if one.writer.is_closing():
                    return
                one.writer.write(bytes([byte]))
                await asyncio.sleep(seconds)

        tasks.append(asyncio.create_task(run()))

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    "bomb",
    [
        b"X: " + b"y" * 4 * MIB,
        b"X" * 4 * MIB,
        b"".join(b"X-%d: y\r\n" % number for number in range(400_000)),
        b"X: y\r\n" * 700_000,
    ],
    ids=["one value", "one name", "many names", "one name many times"],
)
async def test_sec_2_a_bomb_of_headers_is_refused_with_431(serve, raw, service, bomb, traced):
    listener = await serve()
    one, good = await raw(listener), await raw(listener)
    before = traced()
    one.writer.write(b"POST /v1/opamp HTTP/1.1\r\nHost: x\r\n" + bomb)
    status, _ = await one.head()
    assert status == 431
    assert traced() - before < 4 * len(bomb)
    assert (await good.answer(post(b"good")))[2] == b"answer:good"
    assert service.rounds == [b"good"]


async def test_rel_14_a_head_at_a_byte_a_second_is_refused_with_408(serve, raw, service, drip):
    listener = await serve(header_time=1.0)
    one, good = await raw(listener), await raw(listener)
    drip(one, post(b"x") * 100, 0.1)
    assert (await good.answer(post(b"good")))[0] == 200
    assert (await one.head())[0] == 408
    assert service.rounds == [b"good"]


async def test_rel_14_a_body_at_a_byte_a_second_is_refused_with_408(serve, raw, service, drip):
    listener = await serve(body_time=0.3)
    one = await raw(listener)
    one.writer.write(post(b"", length=1000))
    drip(one, bytes(1000), 0.02)
    assert (await one.head())[0] == 408
    assert service.rounds == []


async def test_rel_14_half_a_frame_for_ever_is_closed_after_two_keepalives(serve, raw, service):
    listener = await serve(keepalive=0.1)
    one = await raw(listener)
    assert (await one.upgrade())[0] == 101
    one.writer.write(bytes([0x82]))
    frames = [await one.frame() for _ in range(3)]
    assert [opcode for opcode, _ in frames] == [PING, PING, CLOSE]
    assert struct.unpack("!H", frames[2][1][:2])[0] == 1001


async def test_rel_14_two_thousand_idle_strangers_crowd_out_nobody(serve, raw, service, until):
    listener = await serve(unadmitted=1000)
    known = await raw(listener)
    assert (await known.answer(post(b"0")))[0] == 200
    strangers = []
    for number in range(20):
        strangers += await asyncio.gather(*[raw(listener) for _ in range(100)])
        new = await raw(listener)
        assert (await new.answer(post(b"%d" % number)))[0] == 200
        assert (await known.answer(post(b"%d" % number)))[0] == 200
    opened = listener._door.open if hasattr(listener, "_door") else listener._gate.open
    await until(lambda: len(opened) <= 1021)
    assert await strangers[0].ended() == b""
    assert (await strangers[-1].answer(post(b"late")))[0] == 200


async def test_sec_9_gzip_of_a_thousand_to_one_is_refused_with_413(serve, raw, service, traced):
    bomb = gzip.compress(bytes(64 * MIB))
    assert 64 * MIB / len(bomb) > 1000
    listener = await serve()
    one, good = await raw(listener), await raw(listener)
    before = traced()
    assert (await one.answer(post(bomb, "Content-Encoding: gzip")))[0] == 413
    assert traced() - before < 12 * MIB
    assert (await good.answer(post(b"good")))[0] == 200
    assert service.rounds == [b"good"]


@pytest.mark.parametrize("headers", [(), ("Expect: 100-continue",)])
async def test_sec_9_a_body_of_64_mib_and_a_byte_is_refused_before_it_is_sent(serve, raw, service, headers):
    one = await raw(await serve(message=64 * MIB))
    assert (await one.ask(post(b"", *headers, length=64 * MIB + 1)))[0] == 413
    assert service.rounds == []


async def test_sec_9_a_message_of_64_mib_and_a_byte_closes_with_1009(serve, raw, service, until):
    one = await raw(await serve(message=64 * MIB))
    assert (await one.upgrade())[0] == 101
    one.writer.write(bytes([0x82, 0xFF]) + (64 * MIB + 1).to_bytes(8, "big") + bytes(4) + b"x" * 1000)
    opcode, data = await one.frame()
    assert (opcode, struct.unpack("!H", data[:2])[0]) == (CLOSE, 1009)
    one.writer.close()
    await until(lambda: service.handlers[0].codes)
    assert service.handlers[0].messages == []


async def test_a_text_frame_closes_with_1003_and_others_stay(serve, raw, service):
    listener = await serve()
    bad, good = await raw(listener), await raw(listener)
    await bad.upgrade()
    await good.upgrade()
    bad.send_frame(TEXT, b"hello")
    opcode, data = await bad.frame()
    assert (opcode, struct.unpack("!H", data[:2])[0]) == (CLOSE, 1003)
    good.send_frame(BINARY, b"x")
    assert await good.frame() == (BINARY, b"reply:x")


async def test_sec_8_bad_tokens_are_refused_with_401_and_leave_nothing_behind(serve, raw, service, until):
    service.refuse = lambda peer, held, uid: None if peer.bearer == "good" else Refusal(status=401)
    listener = await serve(failures_per_second=0)
    good = await raw(listener)
    opened = listener._door.open if hasattr(listener, "_door") else listener._gate.open
    for number in range(10):
        many = await asyncio.gather(*[raw(listener) for _ in range(50)])
        answers = await asyncio.gather(
            *[one.ask(post(b"x" * 100, f"Authorization: Bearer bad{number}")) for one in many]
        )
        assert {status for status, _ in answers} == {401}
        for one in many:
            one.writer.close()
        assert (await good.answer(post(b"good", "Authorization: Bearer good")))[0] == 200
    await until(lambda: len(opened) == 1)
    assert service.rounds == [b"good"] * 10
    if hasattr(listener, "_door"):
        assert len(listener._door.wheel) == 1
        assert len(listener._door.fresh) == 0
