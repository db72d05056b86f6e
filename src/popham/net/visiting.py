"""Dials the service of one agent: exchanges of a visit, and links that the visitor holds.

A web server may stand before the agent and a web proxy on the way; both come from the arguments alone, as do
passwords, and the environment is not read.  Redirects are not followed and cookies not kept.  Every wait, rate and
size has a bound, and every failure is a :class:`~popham.errors.VisitError` whose code says what state that agent is
in.  What an answer is worth, its signature says: it is returned as it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from popham.errors import VisitError
from popham.net import visit_failure as failure
from popham.net.held import CLOSE_TIME, AiohttpConnection
from popham.net.route import PROTOBUF
from popham.net.seam import Limits
from popham.net.signing import OPERATION, Asked, Operation
from popham.net.tls import ResumingContext
from popham.net.visit_names import Pin
from popham.net.visit_place import Place, authority, authorize, parse_place, parse_proxy
from popham.net.visit_tls import VisitContext

CONNECT_TIME = 10.0
"""Seconds for name, TCP, web proxy and TLS together."""

KEEP_TIME = 70.0
"""Seconds an idle connection is kept for the next exchange: APPLYING is asked again after 60 s at most."""

GRACE_TIME = 5.0
"""Seconds before an answer's body has to come at :data:`ANSWER_RATE`."""

ANSWER_RATE = 1024.0
"""Bytes per second at which an answer's body has to come, on the average."""

ASK_RATE = 16 * 1024.0
"""Bytes per second at which a request may leave; a large one has as much more time."""

SLICE = 64 * 1024
"""Bytes from which on a request leaves in slices, so that others have their turn."""

GLANCE = 2_000
"""Bytes that are read of an answer that is no agent's."""

_MEDIA = {Operation.VISIT: PROTOBUF, Operation.BIRTH: "application/json"}
_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)

T = TypeVar("T")

__all__ = ["Place", "Reply", "VisitDialer"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, not verified yet; header names in lower case.

    Attributes:
        address: IP address that was dialled; empty if that was a web proxy's, or is not known.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)
    address: str = ""


class _Told(Exception):  # noqa: N818  # control flow through aiohttp, no fault
    def __init__(self, reply: Reply) -> None:
        self.reply = reply


class _Connector(aiohttp.TCPConnector):
    """Shows each connection before anything is sent over it."""

    def __init__(self, met: Callable[[aiohttp.connector.Connection], None], **options: Any) -> None:
        super().__init__(**options)
        self._met = met

    async def connect(self, *args: Any, **options: Any) -> aiohttp.connector.Connection:
        """Return a connection that may be used."""
        connection = await super().connect(*args, **options)
        try:
            self._met(connection)
        except BaseException:
            connection.close()
            raise
        return connection


class VisitDialer:
    """Dials one agent's service, one exchange at a time.

    The host's name is looked up once, and all connections go to the address that was reached, until
    :meth:`aclose`; after that the dialer may be used again, for the next visit.

    Args:
        place: Where it is.
        context: Of :func:`popham.net.visit_tls.visit_context`; None exactly if ``place.tls`` is ``off``.
        limits: Bounds of messages (``message``) and of a whole exchange (``body_time``).
        verify: Called with the certificate (DER) of the other end before anything is sent over a new
            connection with TLS; what it raises is raised.
        names: Who looks names up, such as :class:`popham.net.visit_names.Names`; not closed with this.

    Raises:
        ConfigError: ``config.url``: a URL is unusable, or disagrees with the context about TLS.
    """

    def __init__(
        self,
        place: Place,
        *,
        context: ssl.SSLContext | None,
        limits: Limits,
        verify: Callable[[bytes], None] = lambda _der: None,
        names: AbstractResolver | None = None,
    ) -> None:
        self._base = parse_place(place, secure=context is not None)
        self._proxy, proxy_login = parse_proxy(place.http_proxy)
        self._headers = authorize("Authorization", place.password)
        proxy_headers = authorize("Proxy-Authorization", proxy_login)
        # By CONNECT the web proxy alone reads them; else they stand with the rest.
        self._proxy_headers = proxy_headers if context is not None else {}
        self._headers |= {} if context is not None else proxy_headers
        self.spot = failure.Spot(
            where=authority(self._base),
            path=self._base.raw_path,
            secure=context is not None,
            http_proxy=authority(self._proxy) if self._proxy else "",
            port=self._base.port or 0,
        )
        self._context = context
        self._limits = limits
        self._verify = verify
        self._names = names
        self._turn = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._pin: Pin | None = None
        self._held: set[AiohttpConnection] = set()
        self._protocol: object = None
        self._address = ""
        self._tls: ssl.SSLObject | None = None
        self._timer = asyncio.timeout(None)
        self._connected = self._kept = False
        self._size = 0
        self._opened: Mapping[str, str] = {}

    async def post(self, asked: Asked) -> Reply:
        """Send one request and return the agent's answer.

        Returns:
            An answer that may be the agent's: it carries a signature, or says that it is one.

        Raises:
            VisitError: See the page of error codes, ``visit``.
        """
        if len(asked.body) > self._limits.message:
            raise failure.too_large(self.spot, f"A request for {self.spot.where} is over this end's limit")
        return await self._exchange(asked, self._post)

    async def hold(self, asked: Asked) -> tuple[AiohttpConnection | None, Reply]:
        """Open a held link.

        Returns:
            The link and the head of the answer, 101; or None and the agent's answer, such as a fresh nonce.

        Raises:
            VisitError: As :meth:`post`; ``visit.no_upgrade`` and ``visit.cgi`` where there can be no link.
        """
        return await self._exchange(asked, self._upgrade)

    async def aclose(self) -> None:
        """Close held links and connections kept, and forget the address."""
        for held in self._held:
            await held.close()
        self._held.clear()
        if self._session is not None:
            await self._session.close()
        self._session = self._pin = self._tls = self._protocol = None
        self._address = ""

    async def _exchange(self, asked: Asked, ask: Callable[[Asked], Awaitable[T]]) -> T:
        """Ask within bounds; over a connection that was kept and is gone, ask once more."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            begun = loop.time()
            try:
                try:
                    return await self._once(asked, ask)
                except _BROKEN:
                    if not self._kept:
                        raise
                    return await self._once(asked, ask)
            except (aiohttp.ClientError, OSError, VisitError) as error:
                late = isinstance(error, aiohttp.ConnectionTimeoutError)
                seconds = CONNECT_TIME if late else loop.time() - begun
                raise failure.explain(
                    error, self.spot, seconds=seconds, connected=self._connected, size=self._size
                ) from error

    async def _once(self, asked: Asked, ask: Callable[[Asked], Awaitable[T]]) -> T:
        self._connected = self._kept = False
        self._size = 0
        async with asyncio.timeout(self._limits.body_time + len(asked.body) / ASK_RATE) as self._timer:
            found = await ask(asked)
        if isinstance(self._context, VisitContext) and self._tls is not None:
            self._context.remember(self._tls)
            self._tls = None
        elif isinstance(self._context, ResumingContext):
            self._context.remember()
        return found

    async def _post(self, asked: Asked) -> Reply:
        media = _MEDIA.get(Operation(asked.headers[OPERATION]), "application/octet-stream")
        async with self._open().request(
            asked.method,
            self._url(asked),
            headers={**asked.headers, **self._headers, "Content-Type": media},
            data=io.BytesIO(asked.body) if len(asked.body) > SLICE else asked.body,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
            allow_redirects=False,
        ) as response:
            return await self._reply(response)

    async def _upgrade(self, asked: Asked) -> tuple[AiohttpConnection | None, Reply]:
        try:
            socket = await self._open().ws_connect(
                self._url(asked),
                headers={**asked.headers, **self._headers},
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
                timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=CLOSE_TIME),
                autoclose=False,
                autoping=False,
                # aiohttp refuses a message as large as its limit; ours may be as large.
                max_msg_size=self._limits.message + 1,
            )
        except _Told as told:
            return None, told.reply
        connection = AiohttpConnection(socket, limits=self._limits, where=self.spot.where)
        self._held = {held for held in self._held if not held.ended} | {connection}
        return connection, Reply(101, self._opened, address=self._address)

    async def _look(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Keep the head of an upgrade, and take any other answer to one.

        This stands before aiohttp follows a redirect, which for an upgrade cannot be forbidden.
        """
        response = await handler(request)
        if request.method != "GET":
            return response
        if response.status == 101:
            self._opened = _merge(response)
            return response
        try:
            raise _Told(await self._reply(response))
        finally:
            response.close()

    async def _reply(self, response: aiohttp.ClientResponse) -> Reply:
        """Return an answer that may be the agent's; raise what any other means."""
        headers = _merge(response)
        if failure.is_of_agent(response.status, headers):
            return Reply(response.status, headers, await self._body(response), self._address)
        text = b""
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(GRACE_TIME):
                text = await response.content.read(GLANCE)
        response.close()
        raise failure.refusal(self.spot, response.status, headers, text.decode(errors="replace"))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        loop = asyncio.get_running_loop()
        begun, end = loop.time(), self._timer.when() or 0.0
        parts: list[bytes] = []
        self._timer.reschedule(min(end, begun + GRACE_TIME))
        async for part in response.content.iter_any():
            self._size += len(part)
            if self._size > self._limits.message:
                response.close()
                problem = f"The answer of {self.spot.where} is larger than {self._limits.message} bytes"
                raise failure.too_large(self.spot, problem, response.status)
            parts.append(part)
            self._timer.reschedule(min(end, begun + GRACE_TIME + self._size / ANSWER_RATE))
        return b"".join(parts)

    def _met(self, connection: aiohttp.connector.Connection) -> None:
        """Take note of the connection of an exchange; check who is at the other end of a new one."""
        self._connected = True
        self._kept = connection.protocol is self._protocol
        transport = connection.transport
        if self._kept or transport is None:
            return
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._address = "" if self._proxy else address
        if self._pin is not None and address:
            self._pin.keep_to(address)
        self._tls = tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._verify(tls.getpeercert(binary_form=True) or b"")
        self._protocol = connection.protocol

    def _open(self) -> aiohttp.ClientSession:
        """Return the session, made on first use because it belongs to the running loop."""
        if self._session is None:
            self._pin = Pin(self._names or aiohttp.ThreadedResolver())
            connector = _Connector(
                self._met,
                ssl=self._context if self._context is not None else False,
                resolver=self._pin,
                use_dns_cache=False,
                keepalive_timeout=KEEP_TIME,
                limit=4,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": "popham", "Accept-Encoding": "gzip"},
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIME),
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(self._look,),
                trust_env=False,
            )
        return self._session

    def _url(self, asked: Asked) -> URL:
        query = f"?{asked.query}" if asked.query else ""
        # Encoded as it is: it is signed.
        return URL(f"{self._base}{query}", encoded=True)


def _merge(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the headers by name in lower case; what comes twice is one list. Source: RFC 9110 5.3."""
    merged: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        merged[key] = f"{merged[key]}, {value}" if key in merged else value
    return merged
