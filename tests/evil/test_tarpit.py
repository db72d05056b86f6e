"""A server that never ends, or hardly ever says anything: it costs so many bytes and seconds, and no more."""

import asyncio
import contextlib
import time

import pytest

from popham.errors import LinkError
from popham.net import dialer as dialing
from popham.net.dialer import AiohttpDialer
from popham.net.seam import Limits

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
QUICK = 0.4
"""Seconds that stand for those of real agents."""


@contextlib.asynccontextmanager
async def tarpit(head, part, every):
    """Have a server that answers ``head``, and then ``part`` once per ``every`` seconds, without end."""
    sent, serving = [0], set()

    async def serve(_reader, writer):
        serving.add(asyncio.current_task())
        try:
            with contextlib.suppress(OSError):
                writer.write(head)
                while not writer.is_closing():
                    writer.write(part)
                    sent[0] += len(part)
                    await writer.drain()
                    await asyncio.sleep(every)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", sent
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)


ENDLESS = [
    pytest.param(HEAD + b"\r\n", b"x" * 65_536, 0.0, id="endless body"),
    pytest.param(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65_536 + b"\r\n", 0.0, id="chunks"
    ),
    pytest.param(HEAD + b"Content-Length: 1000000000000\r\n\r\n", b"x" * 65_536, 0.0, id="a length"),
]
SLOW = [
    pytest.param(HEAD + b"\r\n", b"x", 0.05, id="a byte now and then"),
    pytest.param(HEAD + b"X: ", b"x", 0.05, id="a head without end"),
    pytest.param(b"", b"", 0.05, id="nothing"),
]


@pytest.mark.parametrize(("head", "part", "every"), [*ENDLESS, *SLOW])
async def test_sec_26_what_has_no_end_or_hardly_comes_is_given_up(head, part, every, monkeypatch):
    monkeypatch.setattr(dialing, "CONNECT_TIME", QUICK)
    limits = Limits(body_time=QUICK)
    async with tarpit(head, part, every) as (url, sent):
        dialer = AiohttpDialer(url, context=None, limits=limits)
        began = time.monotonic()
        try:
            with pytest.raises(LinkError):
                await dialer.fetch("/v1/content/sha256/" + "0" * 64, limit=100_000)
            with pytest.raises(LinkError):
                await dialer.exchange(b"x")
        finally:
            await dialer.aclose()
        # Each time at most what it takes to connect, and to read a body.
        assert time.monotonic() - began < 2 * 2 * QUICK + 1.0
        assert sent[0] < limits.message + 16 * 1024 * 1024


def test_sec_26_the_slowest_that_is_waited_for_brings_the_largest_message_in_a_minute():
    bounds = Limits()
    seconds = dialing.CONNECT_TIME + bounds.body_time
    assert seconds <= 60.0
    assert bounds.message / seconds >= 1024
