"""Addresses that may not connect are ended at the door: before TLS, and without it before a byte is read."""

import contextlib
import random
import ssl

import pytest

from popham.clock import SystemClock
from popham.net.hot.listener import HotListener
from popham.net.peers import Peers
from popham.net.route import PROTOBUF
from popham.net.seam import Limits

GOOD, BAD = ("127.0.0.11", 0), ("127.0.0.12", 0)
ROUND = (
    f"POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 1\r\n\r\nx".encode()
)
LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def serve(service):
    """Start a listener that lets in 127.0.0.8/29, and of these not 127.0.0.12."""
    started = []

    async def start(context=None):
        listener = HotListener(
            service,
            context=context,
            limits=Limits(),
            clock=SystemClock(),
            rng=random.Random(1),
            peers=Peers(["127.0.0.8/29"], ["127.0.0.12"]),
        )
        started.append(listener)
        await listener.start(["127.0.0.1"], 0)
        return listener

    yield start
    for listener in started:
        await listener.stop(retry_window=0.0)


async def test_f_p7_over_tls_a_refused_address_gets_no_handshake(
    serve, service, listener_context, authority, raw
):
    listener = await serve(listener_context)
    client = ssl.create_default_context(cadata=authority.pem)
    for address in (BAD, ("127.0.0.1", 0)):
        with pytest.raises(ConnectionError):
            await raw(listener, local_addr=address, ssl=client, server_hostname="localhost")
    assert listener.link_rate.completed == 0
    assert listener.turned_away == 2
    assert service.admitted == []
    one = await raw(listener, local_addr=GOOD, ssl=client, server_hostname="localhost")
    assert (await one.answer(ROUND))[0] == 200


@pytest.mark.parametrize("request_", [ROUND, LIVE], ids=["round", "another path"])
async def test_f_p7_without_tls_a_refused_address_is_not_read(serve, service, raw, request_, until):
    listener = await serve()
    one = await raw(listener, local_addr=BAD)
    one.writer.write(request_)
    with contextlib.suppress(ConnectionError):  # a reset is an end too
        assert await one.ended() == b""
    assert (service.admitted, service.rounds) == ([], [])
    assert listener.turned_away == 1
    good = await raw(listener, local_addr=GOOD)
    assert (await good.answer(request_))[0] == 200
    await until(lambda: len(listener._door.open) + listener._door.elsewhere() == 1)
