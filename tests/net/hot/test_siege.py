"""Every kind of bad input at once, and a good agent that is answered all the while."""

import asyncio
import gzip
import struct
import tracemalloc

import pytest

from popham.net.route import PROTOBUF
from popham.net.seam import Refusal

MIB = 1024 * 1024
TEXT, BINARY, CLOSE = 1, 2, 8
GOOD = "Authorization: Bearer good"


def post(body, *headers, length=None):
    size = len(body) if length is None else length
    lines = ["POST /v1/opamp HTTP/1.1", "Host: x", f"Content-Type: {PROTOBUF}", f"Content-Length: {size}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


async def status(connecting, *parts, pause=0.0):
    """Connect, and send parts until there is an answer; return its status."""
    one = await connecting
    answer = asyncio.ensure_future(one.head())
    for part in parts:
        if answer.done():
            break
        one.writer.write(part)
        await asyncio.wait({answer}, timeout=pause)
    return (await answer)[0]


async def close_code(connecting, data):
    """Hold a link, send bytes over it, and return the code it is closed with."""
    one = await connecting
    assert (await one.upgrade(GOOD + "\r\n"))[0] == 101
    one.writer.write(data)
    while True:
        opcode, payload = await one.frame()
        if opcode == CLOSE:
            return struct.unpack("!H", payload[:2])[0]


@pytest.fixture
def siege(raw):
    """Return what attacks a listener once in every way, and what each has to get."""
    bomb = gzip.compress(bytes(64 * MIB))

    async def attack(listener):
        def one():
            return raw(listener)

        def bad_token(number):
            return status(one(), post(b"x", f"Authorization: Bearer bad{number}"))

        attempts = [
            (status(one(), b"POST /v1/opamp HTTP/1.1\r\nX: ", b"y" * MIB), 431),
            (status(one(), *[bytes([byte]) for byte in post(b"x")], pause=0.05), 408),
            (status(one(), post(b"", GOOD, length=9), b"x", b"y", pause=0.01), 408),
            (status(one(), post(bomb, GOOD, "Content-Encoding: gzip")), 413),
            (status(one(), post(b"x" * 1000, GOOD, length=64 * MIB + 1)), 413),
            (close_code(one(), b"\x82"), 1001),
            (close_code(one(), b"\x81\x80" + bytes(4)), 1003),
            (close_code(one(), b"\x82\xff" + (64 * MIB + 1).to_bytes(8, "big") + bytes(4)), 1009),
            *[(bad_token(number), 401) for number in range(20)],
            *[(status(one()), 408) for _ in range(50)],
        ]
        got = await asyncio.gather(*[attempt for attempt, _ in attempts])
        assert got == [expected for _, expected in attempts]

    return attack


async def test_sec_10_a_good_agent_is_answered_through_every_kind_of_bad_input(serve, raw, service, siege):
    service.refuse = lambda peer, held, uid: None if peer.bearer == "good" else Refusal(status=401)
    listener = await serve(header_time=2.0, body_time=2.0, keepalive=1.0)
    pull, push = await raw(listener), await raw(listener)
    await push.upgrade(GOOD + "\r\n")
    tracemalloc.start()
    attack, beats = asyncio.ensure_future(siege(listener)), 0
    try:
        while not attack.done():
            assert (await pull.answer(post(b"beat", GOOD)))[2] == b"answer:beat"
            push.send_frame(BINARY, b"beat")
            frame = await push.frame()
            while frame[0] != BINARY:  # a ping
                frame = await push.frame()
            assert frame[1] == b"reply:beat"
            beats += 1
            await asyncio.wait({attack}, timeout=0.01)
        await attack
        assert tracemalloc.get_traced_memory()[1] < 24 * MIB
    finally:
        tracemalloc.stop()
    assert beats > 10
    assert set(service.rounds) == {b"beat"}
