"""What one peer may use of what all share, on the hot path: turns, messages, bytes, links, places."""

import asyncio
import random

import pytest

from popham.clock import SystemClock
from popham.net.hot import link as held
from popham.net.hot.link import TURN, HotLink
from popham.net.hot.listener import HotListener
from popham.net.seam import Limits, Peer
from popham.testing.virtual import VirtualClock, pass_time, run_virtual

BINARY, CLOSE, PING = 0x82, 0x88, 0x89


def frame(first, payload=b""):
    return bytes([first, 0x80 | len(payload)]) + bytes(4) + payload


def closed_with(wire):
    """Return the close code that was written, 0 if there is none."""
    at = wire.written.rfind(bytes([CLOSE]))
    return int.from_bytes(wire.written[at + 2 : at + 4], "big") if at >= 0 else 0


@pytest.fixture
def open_link(service, make_wire):
    """Open a link on a socket that is none; returns link, wire and handler."""

    async def make(**limits):
        listener = HotListener(
            service, context=None, limits=Limits(**limits), clock=SystemClock(), rng=random.Random(1)
        )
        await listener.start([], 0)
        wire = make_wire(None)
        one = HotLink(listener._door, wire, Peer(address="127.0.0.1"))
        wire.set_protocol(one)
        one.serve(b"")
        return one, wire, service.handlers[-1]

    return make


async def until_it(holds):
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0)
    pytest.fail("it did not come to that")


async def test_sec_10_a_flood_of_tiny_frames_takes_one_turn_after_another_in_order(open_link):
    _, wire, handler = await open_link(messages_per_second=0)
    numbers = [number.to_bytes(2, "big") for number in range(1000)]
    wire.give(b"".join(frame(BINARY, number) for number in numbers))
    turns = [len(handler.messages)]
    assert wire.paused
    while len(handler.messages) < 1000:
        await asyncio.sleep(0)
        turns.append(len(handler.messages))
    assert max(after - before for before, after in zip([0, *turns], turns, strict=False)) == TURN
    assert handler.messages == numbers
    await asyncio.sleep(0)
    assert not wire.paused


async def test_sec_10_fragments_without_content_take_turns_too(open_link):
    _, wire, handler = await open_link(messages_per_second=0)
    wire.give(frame(0x02) + frame(0x00) * 1000 + frame(0x80, b"x"))
    turns = 0
    while not handler.messages:
        await asyncio.sleep(0)
        turns += 1
    assert handler.messages == [b"x"]
    assert turns >= 1002 // TURN


async def test_sec_10_pings_take_turns_and_are_answered_once_a_turn(open_link):
    _, wire, _ = await open_link(messages_per_second=0)
    wire.give(frame(PING, b"x") * 1000)
    await until_it(lambda: not wire.paused)
    assert wire.written == b"\x8a\x01x" * (1000 // TURN + 1)


async def test_sec_10_while_one_link_floods_another_is_answered_every_turn(open_link):
    _, wire, busy = await open_link(messages_per_second=0)
    _, calm_wire, calm = await open_link()
    wire.give(frame(BINARY, b"x") * 10 * TURN)
    for number in range(1, 9):
        calm_wire.give(frame(BINARY, b"y"))
        assert len(calm.messages) == number
        assert len(busy.messages) <= number * TURN
        await asyncio.sleep(0)
    assert len(busy.messages) < 10 * TURN


async def test_a_close_in_a_flood_is_seen_and_nothing_behind_it_is_heard(open_link):
    _, wire, handler = await open_link(messages_per_second=0)
    wire.give(frame(BINARY, b"x") * 100 + frame(CLOSE, b"\x03\xe8") + frame(BINARY, b"y") * 100)
    await until_it(lambda: wire.closed)
    assert handler.messages == [b"x"] * 100
    assert closed_with(wire) == 1000


async def test_a_link_that_is_lost_in_the_middle_of_a_flood_hears_no_more(open_link):
    one, wire, handler = await open_link(messages_per_second=0)
    wire.give(frame(BINARY, b"x") * 1000)
    one.connection_lost(None)
    for _ in range(30):
        await asyncio.sleep(0)
    assert len(handler.messages) == TURN
    assert handler.codes == [1006]


def in_virtual_time(story):
    return run_virtual(story, VirtualClock())


def test_sec_10_messages_over_the_quota_wait_and_none_is_lost(open_link):
    async def story():
        loop = asyncio.get_running_loop()
        _, wire, handler = await open_link(messages_per_second=10, keepalive=1000)
        begin = loop.time()
        wire.give(frame(BINARY, b"x") * 400)
        seen = []
        while len(handler.messages) < 400:
            await pass_time(0.5)
            seen.append((loop.time() - begin, len(handler.messages)))
        for seconds, count in seen:
            assert count <= 10 * (seconds + 5.0) + TURN
        assert wire.paused
        assert not wire.closed
        assert 25 < seen[-1][0] < 45
        await pass_time(30)
        assert not wire.paused
        assert closed_with(wire) == 0

    in_virtual_time(story())


def test_sec_10_bytes_over_the_quota_stop_the_reading(open_link):
    async def story():
        _, wire, handler = await open_link(bytes_per_second=1000, messages_per_second=0, keepalive=1000)
        for _ in range(60):
            wire.give(frame(BINARY, b"x" * 94))
        assert wire.paused
        assert len(wire.held) == 9
        await pass_time(2.5)
        assert len(handler.messages) == 60
        assert not wire.paused

    in_virtual_time(story())


def test_sec_10_a_minute_over_the_quota_closes_with_1008(open_link):
    async def story():
        loop = asyncio.get_running_loop()
        _, wire, handler = await open_link(messages_per_second=100)
        begin = loop.time()
        while not closed_with(wire):
            if not wire.paused:
                wire.give(frame(BINARY, b"x") * 500)
            await pass_time(0.05)
        assert closed_with(wire) == 1008
        assert 60 < loop.time() - begin < 75
        assert len(handler.messages) < 80 * 100
        await pass_time(6)
        assert wire.closed

    in_virtual_time(story())


def test_sec_10_a_burst_now_and_then_is_no_abuse(open_link):
    async def story():
        _, wire, handler = await open_link(messages_per_second=100, keepalive=1000)
        for _ in range(30):
            wire.give(frame(BINARY, b"x") * 700)
            await pass_time(10)
        assert len(handler.messages) == 30 * 700
        assert closed_with(wire) == 0

    in_virtual_time(story())


def test_a_link_that_says_nothing_at_first_is_closed_with_1008_and_one_that_did_stays(open_link):
    async def story():
        _, mute, _ = await open_link(keepalive=45)
        _, calm, _ = await open_link(keepalive=45)
        calm.give(frame(BINARY, b"x"))
        for _ in range(10):
            await pass_time(10)
            for wire in (mute, calm):
                wire.give(frame(0x8A))
        assert closed_with(mute) == 1008
        assert closed_with(calm) == 0
        assert held.FIRST_TIME < 45

    in_virtual_time(story())
