"""A listener whose ``/v1/opamp`` is the hot path, and whose other paths are aiohttp's.

It takes the same arguments and makes the same promises as
:class:`popham.net.listener.Listener`, which stays the reference.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Sequence

from popham.clock import Clock
from popham.net.connection import UNADMITTED
from popham.net.hot.admission import LinkRate
from popham.net.hot.connection import HotConnection
from popham.net.hot.door import Door
from popham.net.hot.entrance import Entrance, bind
from popham.net.hot.stamp import Stamp
from popham.net.hot.wheel import Wheel
from popham.net.listener import ANSWER_TIME, BACKLOG, GOODBYE_TIME, HANDSHAKE_TIME, Listener, Serving
from popham.net.peers import Peers
from popham.net.seam import Limits, Service
from popham.net.websocket import CLOSE_TIME


class HotListener(Listener):
    """Serves agents on one port of one or more addresses."""

    def __init__(
        self,
        service: Service,
        *,
        context: ssl.SSLContext | None,
        limits: Limits,
        clock: Clock,
        rng: random.Random,
        unadmitted: int = UNADMITTED,
        lag: Callable[[], float] = lambda: 0.0,
        peers: Peers | None = None,
    ) -> None:
        """Keep what is needed; arguments as the reference's, the loop's worst lag of the last second, and who may come."""
        super().__init__(service, context=context, limits=limits, clock=clock, rng=rng, unadmitted=unadmitted)
        self._clock = clock
        self._door: Door | None = None
        self._peers = peers or Peers()
        self.link_rate = LinkRate(limits.links_per_second, clock=clock, rng=rng, lag=lag)

    @property
    def links(self) -> int:
        """Return how many links are held now."""
        return super().links + (len(self._door.links) if self._door else 0)

    @property
    def turned_away(self) -> int:
        """Return how many connections were ended unheard: their address may not come, or failed too often."""
        return self._peers.refused + (self._door.failures.turned_away if self._door else 0)

    async def start(self, hosts: Sequence[str], port: int) -> None:
        """Listen on every host; as the reference."""
        loop = asyncio.get_running_loop()
        self._door = Door(
            service=self._service,
            limits=self._limits,
            loop=loop,
            wheel=Wheel(loop),
            rate=self._rate,
            rng=self._rng,
            unadmitted=self._unadmitted,
            hand_over=self._fallback,
            elsewhere=lambda: len(self._gate.open) if self._gate else 0,
            stamp=Stamp(self._clock),
            peers=self._peers if self._context is None else Peers(),
        )
        await super().start(hosts, port)

    async def open(self, host: str) -> Serving:
        """Begin to accept on one host; with TLS, no faster than handshakes can be borne."""
        door = self._door
        if self._context is None or door is None:
            return await super().open(host)
        return Entrance(
            await bind(host, self.port, backlog=BACKLOG),
            self.protocol,
            context=self._context,
            rate=self.link_rate,
            failures=door.failures,
            peers=self._peers,
            handshakes=self._unadmitted,
            per_address=door.per_address,
            handshake_time=HANDSHAKE_TIME,
            goodbye_time=GOODBYE_TIME,
        )

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol of one more socket."""
        if self._door is None:
            raise RuntimeError("the listener has not been started")
        return HotConnection(self._door)

    def _fallback(self) -> asyncio.Protocol:
        return super().protocol()

    async def stop(self, *, retry_window: float) -> None:
        """Accept no more, close held links with 1012, let rounds finish, close the rest."""
        door = self._door
        if door is None or door.window is not None:
            return
        door.window = retry_window
        links = list(door.links)
        stopping = asyncio.ensure_future(super().stop(retry_window=retry_window))
        await self._dismiss(links, retry_window)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_TIME):
                while door.answering:
                    await asyncio.wait(set(door.tasks), return_when=asyncio.FIRST_COMPLETED)
        for connection, transport in list(door.open.items()):
            if connection not in door.links:
                transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIME + GOODBYE_TIME):
                if door.open:
                    door.empty.clear()
                    await door.empty.wait()
        for transport in list(door.open.values()):
            transport.abort()
        for task in set(door.tasks):
            task.cancel()
        await asyncio.gather(*door.tasks, return_exceptions=True)
        door.wheel.close()
        await stopping
