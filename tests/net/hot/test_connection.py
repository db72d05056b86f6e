"""One connection of the hot path: order of answers, what it keeps, and what it leaves behind."""

import asyncio
import gzip
import random
import time

import httptools
import pytest

from popham.clock import SystemClock
from popham.net.hot import answers, connection
from popham.net.hot.connection import HotConnection
from popham.net.hot.door import Door
from popham.net.hot.stamp import Stamp
from popham.net.hot.wheel import Wheel
from popham.net.rate import RoundRate
from popham.net.seam import Limits, Refusal

HEAD = b"POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"


def post(body, *headers):
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture
async def open_one(service, make_wire):
    """Open a connection on a socket that is none."""
    loop = asyncio.get_running_loop()
    wheels = []

    def make(**limits):
        wheel = Wheel(loop)
        wheels.append(wheel)
        door = Door(
            service=service,
            limits=Limits(**limits),
            loop=loop,
            wheel=wheel,
            rate=RoundRate(0.0, clock=SystemClock(), rng=random.Random(1)),
            rng=random.Random(1),
            unadmitted=10,
            hand_over=lambda: pytest.fail("nothing is handed over here"),
            elsewhere=lambda: 0,
            stamp=Stamp(SystemClock()),
        )
        one = HotConnection(door)
        wire = make_wire(one)
        one.connection_made(wire)
        return one, wire, door

    yield make
    for wheel in wheels:
        wheel.close()


def statuses(wire):
    return [int(part[:3]) for part in wire.written.split(b"HTTP/1.1 ")[1:]]


async def test_a_head_that_comes_again_is_admitted_again_but_not_parsed_again(open_one, service, monkeypatch):
    made = []
    parser = httptools.HttpRequestParser
    monkeypatch.setattr(
        connection.httptools, "HttpRequestParser", lambda protocol: made.append(1) or parser(protocol)
    )
    one, wire, _ = open_one()
    for number in range(5):
        wire.give(post(b"%d" % number))
    assert service.rounds == [b"0", b"1", b"2", b"3", b"4"]
    assert len(made) == 1
    assert one._parser is one._head is None
    assert len(service.admitted) == 5
    assert len({id(peer) for peer in service.peers}) == 1
    wire.give(post(b"5", b"Authorization: Bearer b"))
    wire.give(post(b"6"))
    assert [peer.bearer for peer in service.peers][-2:] == ["b", ""]
    service.refuse = lambda *_: Refusal(status=401)
    wire.give(post(b"7"))
    assert statuses(wire) == [200] * 7 + [401]
    assert service.rounds[-1] == b"6"


async def test_a_body_that_looks_like_the_last_head_is_a_body(open_one, service):
    _, wire, _ = open_one()
    wire.give(post(b"1"))
    whole = post(b"x" * 5 + post(b"2"))
    wire.give(whole[: -len(post(b"2"))])
    wire.give(post(b"2"))
    assert service.rounds == [b"1", b"x" * 5 + post(b"2")]


async def test_a_refusal_waits_for_the_answers_before_it(open_one, service, turns):
    waiting = asyncio.get_running_loop().create_future()
    service.answer = lambda body: waiting if body == b"1" else b"later"
    _, wire, door = open_one()
    wire.give(post(b"1") + post(b"2") + b"nonsense\r\n\r\n" + post(b"3"))
    assert wire.written == b""
    waiting.set_result(b"first")
    await turns(10)
    assert statuses(wire) == [200, 200, 400]
    assert service.rounds == [b"1", b"2"]
    assert wire.ended
    assert door.answering == 0


async def test_another_path_behind_a_waiting_round_ends_the_connection_after_it(open_one, service, turns):
    waiting = asyncio.get_running_loop().create_future()
    service.answer = lambda _: waiting
    _, wire, _ = open_one()
    wire.give(post(b"1") + b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n" + post(b"2"))
    wire.give(post(b"3"))
    waiting.set_result(b"first")
    await turns(10)
    assert (statuses(wire), service.rounds, wire.ended) == ([200], [b"1"], True)


async def test_a_target_that_comes_in_parts_is_one_target(open_one, service, turns):
    waiting = asyncio.get_running_loop().create_future()
    service.answer = lambda body: waiting if body == b"1" else b"x"
    _, wire, _ = open_one()
    wire.give(post(b"1") + b"POST /evil")
    wire.give(post(b"2").removeprefix(b"POST "))
    waiting.set_result(b"first")
    await turns(10)
    assert service.rounds == [b"1"]
    assert wire.ended


async def test_rel_6_more_than_sixteen_waiting_rounds_are_refused(open_one, service, turns):
    waiting = asyncio.get_running_loop().create_future()
    service.answer = lambda body: waiting if body == b"0" else b"x"
    _, wire, _ = open_one()
    wire.give(b"".join(post(b"%d" % number) for number in range(30)))
    waiting.set_result(b"first")
    await turns(10)
    assert statuses(wire) == [200] * (1 + answers.PIPELINED) + [429]
    assert len(service.rounds) == 1 + answers.PIPELINED


async def test_rel_6_nothing_is_answered_or_read_while_the_peer_takes_no_answers(open_one, service):
    one, wire, _ = open_one()
    wire.give(post(b"1"))
    one.pause_writing()
    assert wire.paused
    wire.give(post(b"2"))
    assert service.rounds == [b"1"]
    one.resume_writing()
    assert service.rounds == [b"1", b"2"]
    assert not wire.paused


async def test_rel_6_a_peer_that_takes_nothing_is_cut_off(open_one):
    one, wire, _ = open_one()
    wire.waiting = 100_000
    one.pause_writing()
    assert one.expired(one.deadline) is False
    assert wire.closed


async def test_a_shared_future_survives_an_answer_that_takes_too_long(open_one, service, turns, monkeypatch):
    monkeypatch.setattr(answers, "ANSWER_TIME", 0.0)
    shared = asyncio.get_running_loop().create_future()
    service.answer = lambda _: shared
    _, wire, _ = open_one()
    wire.give(post(b"1"))
    await turns(20)
    assert statuses(wire) == [503]
    assert not shared.done()


async def test_nothing_is_kept_of_a_connection_that_is_gone(open_one):
    one, wire, door = open_one()
    wire.give(post(b"1"))
    assert len(door.wheel) == len(door.open) == 1
    one.connection_lost(None)
    assert len(door.wheel) == len(door.open) == len(door.fresh) == 0


@pytest.mark.parametrize(
    "flood",
    [
        b"1;" + b"x" * 20_000,
        b"1\r\n1\r\n0\r\nX: " + b"y" * 20_000,
        b"1;xxxxxxxxxxxxxxxxxxxxxx\r\n1\r\n" * 2_000,
    ],
    ids=["a chunk extension", "a trailer", "many chunk extensions"],
)
async def test_sec_9_what_stands_between_the_parts_of_a_body_is_bounded(open_one, service, flood):
    _, wire, _ = open_one()
    wire.give(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(flood), 1000):
        wire.give(flood[start : start + 1000])
    assert statuses(wire) == [400]
    assert service.rounds == []


async def test_rel_13_a_body_in_tiny_chunks_is_whole(open_one, service):
    _, wire, _ = open_one()
    wire.give(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    wire.give(b"2\r\nab\r\n" * 5_000 + b"0\r\n\r\n")
    assert service.rounds == [b"ab" * 5_000]


async def test_sec_9_bodies_that_wait_are_kept_as_small_as_they_came(open_one, service, turns):
    waiting = asyncio.get_running_loop().create_future()
    service.answer = lambda body: waiting if not body else b"x"
    one, wire, _ = open_one()
    bomb = post(gzip.compress(bytes(250_000)), b"Content-Encoding: gzip")
    wire.give(post(b"") + bomb * 10)
    assert sum(len(body) for _, body, _ in one._queue) < 20_000
    waiting.set_result(b"x")
    await turns(10)
    assert [len(body) for body in service.rounds] == [0] + [250_000] * 10


async def test_rel_14_a_slow_line_on_an_old_connection_is_noticed_in_time(open_one):
    one, wire, door = open_one(header_time=1.0)
    wire.give(post(b"1"))
    door.wheel.discard(one)
    door.wheel.add(one)
    far = one.slot
    wire.give(b"POST /v1/op")
    assert one.slot < far
    wire.give(b"a")
    assert one.deadline < asyncio.get_running_loop().time() + 1.1


async def test_a_heartbeat_costs_little(open_one, service):
    """The goal is 3 µs; ten times that still finds a head that is parsed each time and more."""
    service.admitted = service.peers = service.rounds = _Forgetful()
    service.answer = lambda _: b"answer"
    _, wire, _ = open_one()
    request, give = post(bytes(93), b"User-Agent: x", b"Accept: */*"), wire.protocol.data_received
    wire.write = lambda data: None
    give(request)
    start = time.process_time()
    for _ in range(10_000):
        give(request)
    assert (time.process_time() - start) / 10_000 < 30e-6


class _Forgetful(list):
    def append(self, item):
        """Keep nothing."""


async def test_a_head_that_another_connection_sent_is_admitted_anew_but_not_parsed_again(
    open_one, service, make_wire, monkeypatch
):
    one, wire, door = open_one()
    wire.give(post(b"1", b"Authorization: Bearer a"))
    monkeypatch.setattr(connection.httptools, "HttpRequestParser", lambda _: pytest.fail("it was parsed"))
    two = HotConnection(door)
    other = make_wire(two)
    two.connection_made(other)
    other.give(post(b"2", b"Authorization: Bearer a"))
    assert statuses(other) == [200]
    assert two not in door.fresh
    assert one._peer is not two._peer
    service.refuse = lambda *_: Refusal(status=403, body="no")
    three = HotConnection(door)
    third = make_wire(three)
    three.connection_made(third)
    third.give(post(b"3", b"Authorization: Bearer a"))
    assert statuses(third) == [403]
    assert service.rounds == [b"1", b"2"]


async def test_every_answer_tells_the_time(open_one, service):
    _, wire, _ = open_one()
    wire.give(post(b"1"))
    service.refuse = lambda *_: Refusal(status=403, body="no")
    wire.give(post(b"2"))
    assert statuses(wire) == [200, 403]
    assert wire.written.count(b"\r\nDate: ") == 2


async def test_rel_22_without_memory_a_round_is_put_off_in_one_line(open_one, service, caplog):
    def fail(_):
        raise MemoryError

    service.answer = fail
    _, wire, _ = open_one()
    wire.give(post(b"x"))
    assert statuses(wire) == [503]
    assert b"\r\nRetry-After: 30\r\n" in wire.written
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is None
