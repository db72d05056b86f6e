"""Both fillings on a socket that is none: bytes go in, and what they were taken for comes out."""

import asyncio
import random
import re
from dataclasses import dataclass, field

import pytest

from popham.clock import SystemClock
from popham.net.hot.listener import HotListener
from popham.net.listener import Listener
from popham.net.seam import Limits, Response

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Wire(asyncio.Transport):
    """A transport that remembers what is written; reading stops while it is paused."""

    def __init__(self, protocol):
        super().__init__()
        self.protocol, self.written = protocol, b""
        self.paused = self.closed = self.ended = False
        self.waiting = 0
        self.held = []

    def set_protocol(self, protocol):
        self.protocol = protocol

    def get_protocol(self):
        return self.protocol

    def get_extra_info(self, name, default=None):
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data):
        self.written += bytes(data)

    def get_write_buffer_size(self):
        return self.waiting

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False
        while self.held and not self.paused:
            self.give(self.held.pop(0))

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.ended = True

    def close(self):
        self.closed = True

    abort = close

    def give(self, data):
        """Receive bytes, or keep them while nothing is read."""
        if self.paused:
            self.held.append(data)
        elif not self.closed:
            self.protocol.data_received(data)


@dataclass
class Answering:
    """A service that remembers what it was asked, in order."""

    asked: list = field(default_factory=list)

    def admit(self, peer, *, held, uid):
        return None

    def round(self, peer, body):
        self.asked.append(("round", body))
        return b"answer"

    def opened(self, link):
        self.asked.append(("link",))
        return self

    def message(self, data):
        return None

    def closed(self, code):
        """Nobody asks."""

    async def other(self, request):
        self.asked.append((request.method, request.path, request.body))
        return Response(body=b"other")


@dataclass
class Outcome:
    """What a stream of bytes was taken for.

    Attributes:
        asked: Requests as the service saw them.
        statuses: Of the answers, in order.
        over: Whether the connection was ended by this side.
    """

    asked: list
    statuses: list
    over: bool

    @property
    def refused(self):
        """Whether the last thing that happened was a refusal, or an end."""
        return self.over


async def _converse(kind, pieces, limits):
    service = Answering()
    listener = kind(service, context=None, limits=limits, clock=SystemClock(), rng=random.Random(1))
    await listener.start([], 0)
    protocol = listener.protocol()
    wire = Wire(protocol)
    protocol.connection_made(wire)
    for piece in pieces:
        wire.give(piece)
        for _ in range(12):
            await asyncio.sleep(0)
    over = wire.closed or wire.ended
    wire.close()
    wire.protocol.connection_lost(None)
    await listener.stop(retry_window=0.0)
    return Outcome(service.asked, [int(found) for found in STATUS.findall(wire.written)], over)


@pytest.fixture(scope="session")
def converse():
    """Give pieces of a stream to a filling; return the outcome."""
    fillings = {"aiohttp": Listener, "hot": HotListener}
    with asyncio.Runner() as runner:
        yield lambda name, pieces, **limits: runner.run(_converse(fillings[name], pieces, Limits(**limits)))


@pytest.fixture
def make_wire():
    """Make a transport for a protocol."""
    return Wire
