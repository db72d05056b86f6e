"""A planned stop with a thousand links."""

import asyncio
import random

from popham.clock import SystemClock
from popham.net.hot.listener import HotListener
from popham.net.seam import Limits

LINKS, WINDOW = 1_000, 250.0
UPGRADE = (
    b"GET /v1/opamp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Agent(asyncio.Protocol):
    """Upgrades, and keeps what comes; answers a close frame as the standard says."""

    def __init__(self):
        self.data = b""
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(UPGRADE)

    def data_received(self, data):
        self.data += data
        frame = self.data.partition(b"\r\n\r\n")[2]
        if frame[:1] == b"\x88":
            self.transport.write(b"\x88\x82" + bytes(4) + frame[2:4])

    def connection_lost(self, exc):
        if not self.gone.done():
            self.gone.set_result(exc)

    @property
    def goodbye(self):
        """Return code and reason."""
        frame = self.data.partition(b"\r\n\r\n")[2]
        return int.from_bytes(frame[2:4], "big"), frame[4:].decode()


async def test_rel_20_a_stop_closes_1000_links_in_batches_with_a_spread_time_to_return(service, until):
    listener = HotListener(service, context=None, limits=Limits(), clock=SystemClock(), rng=random.Random(1))
    await listener.start(["127.0.0.1"], 0)
    loop = asyncio.get_running_loop()
    agents = []
    for _ in range(LINKS):
        _, agent = await loop.create_connection(Agent, "127.0.0.1", listener.port)
        agents.append(agent)
    await until(lambda: listener.links == LINKS)
    turns = [0]

    def turn():
        turns[0] += 1
        if listener.links:
            loop.call_soon(turn)

    turn()
    await listener.stop(retry_window=WINDOW)
    await asyncio.gather(*(agent.gone for agent in agents))
    assert turns[0] >= 5
    goodbyes = [agent.goodbye for agent in agents]
    assert {code for code, _ in goodbyes} == {1012}
    waits = sorted(float(reason.removeprefix("retry-after=")) for _, reason in goodbyes)
    assert 0 <= waits[0] < 0.02 * WINDOW
    assert 0.98 * WINDOW < waits[-1] <= WINDOW
    assert 0.45 * WINDOW < sum(waits) / LINKS < 0.55 * WINDOW
    assert [code for handler in service.handlers for code in handler.codes] == [1012] * LINKS
