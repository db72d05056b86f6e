"""Opens connections to one upstream, over aiohttp.

Proxies, redirects, cookies and credentials come from nowhere but the arguments: the
environment is not read. Every wait has an end, and every failure is a LinkError that says
which host and port, and what failed.
"""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Mapping

import aiohttp
from yarl import URL

from popham.errors import ConfigError, LinkError
from popham.net.failure import explain, refusal, strange, too_large
from popham.net.held import CLOSE_TIME, AiohttpConnection
from popham.net.route import OCTETS, OPAMP, PROTOBUF
from popham.net.seam import Limits
from popham.net.tls import ResumingContext

CONNECT_TIME = 16.0
"""Seconds for name, TCP and TLS together; just above the kernel's SYN after 15 s, so that none is waited for in vain.

Source: docs/adr/0016-retries-follow-the-window.md.
"""

KEEP_TIME = 60.0
"""Seconds an idle connection is kept for the next round; shorter than the listener keeps it."""

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class AiohttpDialer:
    """Dials one listener; implements the seam's ``Dialer``.

    Args:
        url: ``https://host:port``, with or without ``/v1/opamp``; ``wss`` means the same, ``http``
            and ``ws`` only without a context.
        context: TLS, see :func:`popham.net.tls.client_context`; None for plain HTTP only.
        limits: Bounds of messages and waits.
        headers: Sent with every request, such as Authorization.
        instance_uid: Sent as OpAMP-Instance-UID on ``/v1/opamp``; 16 bytes, or empty for none.
        http_proxy: URL of a web proxy; empty for none.

    Attributes:
        where: Host and port, for sentences.
        date: Header ``Date`` of the last answer; empty before the first.

    Raises:
        ConfigError: The URL is unusable, or it and the context disagree about TLS.
    """

    def __init__(
        self,
        url: str,
        *,
        context: ssl.SSLContext | None,
        limits: Limits,
        headers: Mapping[str, str] | None = None,
        instance_uid: bytes = b"",
        http_proxy: str = "",
    ) -> None:
        self._base, self._prefix = _parse(url, secure=context is not None)
        self.where = f"{self._base.host}:{self._base.port}"
        self.date = ""
        self._context = context
        self._limits = limits
        self._headers = dict(headers or {})
        self._uid = {"OpAMP-Instance-UID": str(uuid.UUID(bytes=instance_uid))} if instance_uid else {}
        self._proxy = http_proxy or None
        self._session: aiohttp.ClientSession | None = None
        self._held: set[AiohttpConnection] = set()

    async def exchange(self, body: bytes) -> bytes:
        """POST one message to ``/v1/opamp`` and return the answer's body.

        Raises:
            LinkError: ``link.unreachable``, ``link.tls``, ``link.denied``, ``link.busy``,
                ``link.too_large`` or ``link.unexpected``.
        """
        if len(body) > self._limits.message:
            raise too_large(self.where, status=0)
        headers = {"Content-Type": PROTOBUF} | self._uid
        return await self._request("POST", OPAMP, self._limits.message, headers=headers, data=body)

    async def fetch(self, path: str, *, limit: int) -> bytes:
        """GET another path of the same listener, at most ``limit`` bytes. Raises as :meth:`exchange`."""
        return await self._request("GET", path, limit)

    async def upload(self, path: str, body: bytes, *, limit: int = 0) -> bytes:
        """POST a body to another path of the same listener, and return the answer's. Raises as :meth:`exchange`."""
        return await self._request("POST", path, limit, headers={"Content-Type": OCTETS}, data=body)

    async def hold(self) -> AiohttpConnection:
        """Open a WebSocket on ``/v1/opamp``. Raises as :meth:`exchange`."""
        session = self._open()
        seconds = CONNECT_TIME + self._limits.body_time
        try:
            async with asyncio.timeout(seconds):
                socket = await session.ws_connect(
                    self._url(OPAMP),
                    headers=self._uid,
                    proxy=self._proxy,
                    timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=CLOSE_TIME),
                    autoclose=False,
                    autoping=False,
                    # aiohttp refuses a message as large as its limit; ours may be as large.
                    max_msg_size=self._limits.message + 1,
                )
        except (aiohttp.ClientError, OSError, LinkError) as error:
            raise explain(error, self.where, seconds=_waited(error, seconds)) from error
        self._remember()
        connection = AiohttpConnection(socket, limits=self._limits, where=self.where)
        self._held = {held for held in self._held if not held.ended} | {connection}
        return connection

    async def aclose(self) -> None:
        """Close held links and connections kept for re-use."""
        for held in self._held:
            await held.close()
        self._held.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(
        self,
        method: str,
        path: str,
        limit: int,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> bytes:
        """Send one request and return the body of a 200 or 204, at most ``limit`` bytes."""
        seconds = CONNECT_TIME + self._limits.body_time
        try:
            async with (
                asyncio.timeout(seconds),
                self._open().request(
                    method,
                    self._url(path),
                    headers=headers,
                    data=data,
                    proxy=self._proxy,
                    allow_redirects=False,
                ) as response,
            ):
                self._remember()
                return await self._body(response, limit, protobuf=path == OPAMP)
        except (aiohttp.ClientError, OSError, LinkError) as error:
            raise explain(error, self.where, seconds=_waited(error, seconds)) from error

    async def _body(self, response: aiohttp.ClientResponse, limit: int, *, protobuf: bool) -> bytes:
        if protobuf and response.content_type != PROTOBUF:
            raise strange(self.where, response.status, "not as a Manager does")
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > limit:
                response.close()
                problem = f"The answer of {self.where} is larger than {limit} bytes"
                raise LinkError("too_large", problem, "Raise this end's limit", status=response.status)
            parts.append(part)
        return b"".join(parts)

    async def _check(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Raise what a status other than 200 and 204 (101 for an upgrade) means, with what the body says.

        This stands before aiohttp follows a redirect, which for an upgrade cannot be forbidden.
        """
        response = await handler(request)
        self.date = response.headers.get("Date", "")
        if response.status in {101, 200, 204}:
            return response
        error = await refusal(response, self.where)
        response.close()
        raise error

    def _remember(self) -> None:
        """Keep the TLS session: tickets come before the head of the first answer."""
        if isinstance(self._context, ResumingContext):
            self._context.remember()

    def _open(self) -> aiohttp.ClientSession:
        """Return the session, made on first use because it belongs to the running loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._context if self._context is not None else False,
                keepalive_timeout=KEEP_TIME,
                limit=8,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": "popham", "Accept-Encoding": "gzip"} | self._headers,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=CONNECT_TIME, sock_read=self._limits.body_time
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(self._check,),
                trust_env=False,
            )
        return self._session

    def _url(self, target: str) -> URL:
        path, _, query = target.partition("?")
        return self._base.with_path(self._prefix + path).with_query(query or None)


def _parse(text: str, *, secure: bool) -> tuple[URL, str]:
    """Return scheme, host and port as a URL, and the path before ``/v1/opamp``."""
    try:
        url = URL(text)
        base = url.origin().with_scheme(_SCHEMES[url.scheme])
    except (KeyError, ValueError) as error:
        raise _no_address(text) from error
    if not url.host or url.user or url.query_string or url.fragment:
        raise _no_address(text)
    if secure != (base.scheme == "https"):
        raise ConfigError(
            "url",
            f"{text!r} {'has no TLS, though TLS is configured' if secure else 'needs TLS, which is not configured'}",
            "Use https:// with the authority of the Manager",
        )
    return base, url.path.rstrip("/").removesuffix(OPAMP)


def _no_address(text: str) -> ConfigError:
    return ConfigError("url", f"{text!r} is no address of a Manager", "Write https://host:4320/v1/opamp")


def _waited(error: BaseException, seconds: float) -> float:
    """Return how long was waited, for the sentence."""
    return CONNECT_TIME if isinstance(error, aiohttp.ConnectionTimeoutError) else seconds
