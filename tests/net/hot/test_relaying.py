"""What Proxy Managers post, beside rounds: answered on the same socket, of who showed a certificate."""

import asyncio
import random
import ssl

import pytest

from popham.clock import SystemClock
from popham.net.hot.connection import HotConnection
from popham.net.hot.door import Door
from popham.net.hot.stamp import Stamp
from popham.net.hot.wheel import Wheel
from popham.net.rate import RoundRate
from popham.net.seam import Limits, Refusal, Refused

HEAD = b"POST /v1/relay HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
ROUND = b"POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1\r\n\r\nr"


class Shown(ssl.SSLObject):
    """A handshake in which a certificate was shown."""

    def __init__(self):
        """Have it."""

    def getpeercert(self, binary_form=False):  # noqa: FBT002  # its signature
        return b"certificate"


def relay(body, *headers):
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def statuses(wire):
    return [int(part[:3]) for part in wire.written.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture
async def open_one(service, make_wire):
    """Open a connection on a socket that is none."""
    loop = asyncio.get_running_loop()
    wheel = Wheel(loop)

    def make(*, shown=True, **limits):
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
        if shown:
            known = wire.get_extra_info
            wire.get_extra_info = lambda name, default=None: (
                Shown() if name == "ssl_object" else known(name, default)
            )
        one.connection_made(wire)
        return wire

    yield make
    wheel.close()


async def test_exchanges_and_rounds_are_answered_on_one_connection_in_order(open_one, service):
    wire = open_one()
    wire.give(relay(b"1"))
    wire.give(relay(b"2"))  # the same head: it is not parsed again
    wire.give(ROUND + relay(b"3"))
    wire.give(relay(b"4")[:70])
    wire.give(relay(b"4")[70:])
    assert service.relayed == [b"1", b"2", b"3", b"4"]
    assert service.rounds == [b"r"]
    assert statuses(wire) == [200] * 5
    assert [wire.written.find(b"relayed:%d" % n) >= 0 for n in (1, 2, 3, 4)] == [True] * 4


async def test_an_exchange_is_not_compressed_even_where_rounds_are(open_one, service):
    wire = open_one()
    service.relaying = lambda _body: b"x" * 5000
    wire.give(relay(b"1", b"Accept-Encoding: gzip"))
    assert wire.written.endswith(b"x" * 5000)
    assert b"Content-Encoding" not in wire.written


async def test_an_exchange_that_waits_for_the_disk_is_answered_later(open_one, service, until):
    wire, done = open_one(), asyncio.get_running_loop().create_future()
    service.relaying = lambda _body: done
    wire.give(relay(b"1"))
    wire.give(relay(b"2"))
    assert (service.relayed, wire.written) == ([b"1"], b"")
    service.relaying = lambda body: b"at once:" + body
    done.set_result(b"later")
    await until(lambda: len(statuses(wire)) == 2)
    assert wire.written.find(b"later") < wire.written.find(b"at once:2")


async def test_sec_30_who_shows_no_certificate_relays_nothing_and_its_body_is_not_read(open_one, service):
    wire = open_one(shown=False)
    wire.give(HEAD + b"Content-Length: 100\r\n\r\n")
    assert (statuses(wire), service.relayed) == ([401], [])


async def test_sec_30_of_who_may_not_relay_nothing_is_read_behind_the_head(open_one, service):
    service.relays = False
    wire = open_one()
    wire.give(HEAD + b"Content-Length: 100\r\n\r\n")
    assert (statuses(wire), service.relayed) == ([403], [])


async def test_an_exchange_that_is_refused_ends_the_connection_with_the_reason(open_one, service):
    def refuse(_body):
        raise Refused(Refusal(status=403, body="the agent web-1 is no Proxy Manager here"))

    wire = open_one()
    service.relaying = refuse
    wire.give(relay(b"1"))
    wire.give(relay(b"2"))
    assert (statuses(wire), service.relayed) == ([403], [b"1"])
    assert b"no Proxy Manager" in wire.written


async def test_an_exchange_over_the_limit_is_refused_from_its_head(open_one, service):
    wire = open_one(message=100)
    wire.give(HEAD + b"Content-Length: 101\r\n\r\n")
    assert (statuses(wire), service.relayed) == ([413], [])


async def test_sec_10_an_exchange_is_no_message_of_an_agents_quota(open_one, service):
    wire = open_one(messages_per_second=0.1, bytes_per_second=1.0)
    for _ in range(20):
        wire.give(relay(b"1" * 50))
    assert statuses(wire) == [200] * 20
