"""The agents' listener, filled by aiohttp.

``/v1/opamp`` is HTTP rounds and held links on one URL, told apart by the content type;
``/livez`` needs no identity; every other path is the service's matter. The order of a round, and of plain
OTLP, is: head within its bounds, rate, ``Service.admit``, and only then the body or the upgrade.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from aiohttp import HttpVersion10, HttpVersion11, web

from popham.clock import Clock
from popham.errors import ConfigError, PophamError
from popham.net import http
from popham.net.connection import UNADMITTED, Connection, Gate
from popham.net.http import (
    GZIP_FROM,
    accepts_gzip,
    deflate,
    failed,
    has_media_type,
    head_size,
    not_allowed,
    ranged,
    read_body,
    read_other,
    refused,
    uid_of,
)
from popham.net.rate import RoundRate
from popham.net.route import OPAMP, OTLP, PROTOBUF
from popham.net.seam import Answer, HeldLink, Limits, LinkHandler, Peer, Refusal, Refused, Service
from popham.net.websocket import CLOSE_TIME, Link, Upgrade

log = logging.getLogger(__name__)

ANSWER_TIME = 30.0
"""Seconds an answer may wait for what must be durable first."""

BATCH = 200
"""Links closed between two turns of the loop, which keeps its lag under 20 ms."""
HANDSHAKE_TIME = 10.0
"""Seconds of a TLS handshake."""
GOODBYE_TIME = 2.0
"""Seconds of the end of a TLS connection, and of a request cut short by a stop."""

BACKLOG = 4096
"""Connections that may wait to be accepted: a fleet that returns comes at once."""


Opened = Callable[[HeldLink], LinkHandler]
"""Takes a link that has just been opened."""


class Serving(Protocol):
    """What accepts on one host: an :class:`asyncio.Server`, or what stands for one."""

    @property
    def sockets(self) -> Sequence[Any]:
        """Return what it listens on."""
        ...

    def close(self) -> None:
        """Accept no more."""
        ...

    async def wait_closed(self) -> None:
        """Wait until nothing is left of it."""
        ...


class BaseListener(ABC):
    """Accepts on one port of one or more addresses, within bounds; what a request means is another's matter.

    Args:
        context: TLS of the listener; None for plain HTTP.
        limits: Bounds of everything that is read or kept.
        clock: Time of the rate limit.
        rng: Spreads the return of those who are sent away.
        unadmitted: Connections that may be open without having been admitted once.
    """

    hint = "Choose another port, or stop what listens there"
    """What to do where an address cannot be used."""

    def __init__(
        self,
        *,
        context: ssl.SSLContext | None,
        limits: Limits,
        clock: Clock,
        rng: random.Random,
        unadmitted: int = UNADMITTED,
    ) -> None:
        self.port = 0
        self._context = context
        self._limits = limits
        self._rng = rng
        self._unadmitted = unadmitted
        self._rate = RoundRate(limits.rounds_per_second, clock=clock, rng=rng)
        self._gate: Gate | None = None
        self._servers: list[Serving] = []
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Future[bytes]] = set()
        self._window: float | None = None
        self._active = 0
        self._quiet = asyncio.Event()

    @property
    def links(self) -> int:
        """Return how many links are held now."""
        return len(self._links)

    async def start(self, hosts: Sequence[str], port: int) -> None:
        """Listen on every host; port 0 takes a free one, the same for all.

        IPv6 addresses are skipped with a warning on a machine without IPv6, if others remain.

        Raises:
            ConfigError: ``config.listen``: an address cannot be used.
        """
        if self._gate is not None:
            raise ConfigError("listen", "This listener has been started before")
        self._gate = Gate(self._handle, limits=self._limits, unadmitted=self._unadmitted)
        self.port = port
        try:
            for index, host in enumerate(hosts):
                await self._listen(host, last=index == len(hosts) - 1)
        except BaseException:
            for server in self._servers:
                server.close()
            raise

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol of one more socket."""
        return cast("Gate", self._gate)()

    async def open(self, host: str) -> Serving:
        """Begin to accept on one host. Raises OSError if it cannot be used."""
        secure = self._context is not None
        return await asyncio.get_running_loop().create_server(
            self.protocol,
            host,
            self.port,
            ssl=self._context,
            backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_TIME if secure else None,
            ssl_shutdown_timeout=GOODBYE_TIME if secure else None,
        )

    async def _listen(self, host: str, *, last: bool) -> None:
        try:
            server = await self.open(host)
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT and (self._servers or not last):
                log.warning("This machine has no address family for %s; it is left out", host)
                return
            raise ConfigError(
                "listen",
                f"{host} port {self.port} cannot be listened on: {error.strerror or error}",
                self.hint,
            ) from error
        self.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)

    async def stop(self, *, retry_window: float) -> None:
        """Accept no more, close held links with 1012, let requests finish, close the rest.

        Args:
            retry_window: Seconds over which agents are told to spread their return: in the
                close reason ``retry-after=SECONDS``, and in Retry-After.
        """
        if self._gate is None or self._window is not None:
            return
        self._window = retry_window
        for server in self._servers:
            server.close()
        links = list(self._links)
        await self._dismiss(links, retry_window)
        if links:
            await asyncio.wait([link.gone for link in links], timeout=CLOSE_TIME + 1.0)
        if self._active:
            self._quiet.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), ANSWER_TIME)
        self._gate.pre_shutdown()
        await self._gate.shutdown(GOODBYE_TIME)
        await self._gate.emptied(CLOSE_TIME)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=ANSWER_TIME)
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    async def _dismiss(self, links: Sequence[HeldLink], window: float) -> None:
        """Close held links with 1012, some in each turn of the loop."""
        for first in range(0, len(links), BATCH):
            for link in links[first : first + BATCH]:
                link.close(1012, self._goodbye(window))
            await asyncio.sleep(0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; the answer has been sent when this returns."""
        self._active += 1
        try:
            return await self._answer(request, cast("Connection", request.protocol))
        finally:
            self._active -= 1
            if not self._active:
                self._quiet.set()

    async def _answer(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        connection.body = request.content
        try:
            response = await self._dispatch(request, connection)
        except PophamError as error:
            response = failed(error)
        if isinstance(response, Upgrade):
            return response
        if not request.content.is_eof() or self._window is not None:
            response.force_close()
        response.headers.setdefault("Server", "Popham")
        connection.request_done()
        await self._deliver(request, response)
        return response

    @abstractmethod
    async def _dispatch(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        """Answer one request."""

    async def _hold(
        self, request: web.BaseRequest, connection: Connection, socket: Upgrade, opened: Opened
    ) -> web.StreamResponse:
        """Upgrade, and serve the held link until it is closed."""
        connection.admitted()
        peer = connection.peer(request.headers)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the peer went away before the upgrade")
        loop = asyncio.get_running_loop()
        await socket.prepare(request)
        link = Link(peer, transport, limits=self._limits, loop=loop, tasks=self._tasks)
        socket.link = connection.link = link
        if request.transport is None:
            link.lost()
        self._links.add(link)
        try:
            await self._serve(link, socket, opened)
        finally:
            self._links.discard(link)
        return socket

    async def _serve(self, link: Link, socket: Upgrade, opened: Opened) -> None:
        """Serve one held link until it is closed."""
        try:
            handler = opened(link)
        except PophamError as error:
            link.close(1008, str(error))
            await link.gone
            return
        if self._window is not None:
            link.close(1012, self._goodbye(self._window))
        await link.serve(socket, handler)

    def _goodbye(self, window: float) -> str:
        """Return the reason of a 1012, with this agent's own time to return."""
        return f"retry-after={self._rng.random() * window:.1f}"

    async def _deliver(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Send an answer; a reader slower than ``SLOWEST`` is cut off, and one that is gone already needs none."""
        transport = request.transport
        size = response.content_length or 0
        try:
            async with asyncio.timeout(self._limits.body_time + size / http.SLOWEST):
                await response.prepare(request)
                await response.write_eof()
        except (TimeoutError, ConnectionResetError):
            if transport is not None:
                transport.abort()


class Listener(BaseListener):
    """Serves agents on one port of one or more addresses.

    Args:
        service: What rounds, links and other requests mean.
        context: TLS of the listener; None for plain HTTP.
        limits: Bounds of everything that is read or kept.
        clock: Time of the rate limit.
        rng: Spreads the return of those who are sent away.
        unadmitted: Connections that may be open without having been admitted once.
    """

    def __init__(
        self,
        service: Service,
        *,
        context: ssl.SSLContext | None,
        limits: Limits,
        clock: Clock,
        rng: random.Random,
        unadmitted: int = UNADMITTED,
    ) -> None:
        super().__init__(context=context, limits=limits, clock=clock, rng=rng, unadmitted=unadmitted)
        self._service = service

    async def _dispatch(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        if head_size(request) > self._limits.header:
            return refused(Refusal(status=431, body=f"The head is larger than {self._limits.header} bytes."))
        if request.version not in {HttpVersion10, HttpVersion11}:
            return refused(Refusal(status=505, body="This is HTTP/1.1."))
        if request.path == OPAMP:
            if has_media_type(request, PROTOBUF):
                return await self._round(request, connection)
            return await self._upgrade(request, connection)
        if request.path == "/livez" and request.method in {"GET", "HEAD"}:
            return web.Response(text="ok")
        return await self._other(request, connection)

    async def _other(self, request: web.BaseRequest, connection: Connection) -> web.Response:
        if request.path in OTLP:
            refusal = self._refusal(request, connection.peer(request.headers), held=False)
            if refusal is not None:
                return refused(refusal)
        response = await self._service.other(await read_other(request, self._limits))
        if response.status < 400:
            connection.admitted()
        return ranged(request, response)

    def _refusal(self, request: web.BaseRequest, peer: Peer, *, held: bool) -> Refusal | None:
        """Return why a round or an upgrade is not let in, or None."""
        if held and self._window is not None:
            wait = 1.0 + self._rng.random() * self._window
            return Refusal(status=503, retry_after=wait, body="This Manager is restarting.")
        wait_for_rate = self._rate.admit()
        if wait_for_rate is not None:
            return Refusal(status=503, retry_after=wait_for_rate, body="Too many agents come at once.")
        return self._service.admit(peer, held=held, uid=uid_of(request.headers))

    async def _round(self, request: web.BaseRequest, connection: Connection) -> web.Response:
        if request.method != "POST":
            return not_allowed("A round is a POST.")
        peer = connection.peer(request.headers)
        refusal = self._refusal(request, peer, held=False)
        if refusal is not None:
            return refused(refusal)
        connection.admitted()
        body = await read_body(request, self._limits)
        try:
            answer = self._service.round(peer, body)
            data = answer if isinstance(answer, bytes) else await _settle(answer)
        except Refused as error:
            return refused(error.refusal)
        except TimeoutError:
            log.error("A round took longer than %g s", ANSWER_TIME)  # noqa: TRY400 - where it waited says nothing
            return refused(Refusal(status=503, retry_after=ANSWER_TIME, body="The answer took too long."))
        if len(data) > self._limits.message:
            log.error("An answer of %d bytes is over the limit of %d", len(data), self._limits.message)
            return refused(Refusal(status=500, body="The answer is over this Manager's limit."))
        headers = {"Content-Type": PROTOBUF}
        if len(data) > GZIP_FROM:
            headers["Vary"] = "Accept-Encoding"
            if accepts_gzip(request.headers):
                data = await deflate(data)
                headers["Content-Encoding"] = "gzip"
        return web.Response(body=data, headers=headers)

    async def _upgrade(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        if request.method != "GET":
            return refused(Refusal(status=415, body=f"A round's content type is {PROTOBUF}."))
        socket = Upgrade(self._limits)
        if not socket.can_prepare(request).ok:
            response = refused(Refusal(status=426, body="Upgrade to a WebSocket, or POST a round."))
            response.headers["Upgrade"] = "websocket"
            return response
        peer = connection.peer(request.headers)
        refusal = self._refusal(request, peer, held=True)
        if refusal is not None:
            return refused(refusal)
        return await self._hold(request, connection, socket, self._service.opened)


async def _settle(answer: Answer) -> bytes:
    """Wait for an answer, for a bounded time; a future shared with others is never cancelled."""
    if isinstance(answer, bytes):
        return answer
    async with asyncio.timeout(ANSWER_TIME):
        return await (asyncio.shield(answer) if asyncio.isfuture(answer) else answer)
