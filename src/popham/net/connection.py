"""One accepted socket: its head in time and in size, its peer, its held link.

aiohttp bounds single header lines, not a head as a whole and not the time it takes; this
adds both, and counts connections, so that whoever says nothing cannot crowd out who does.

Source: guarantees SEC-2 and REL-14.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from aiohttp import StreamReader, web

from popham.net.seam import Limits, Peer

log = logging.getLogger(__name__)

IDLE_TIME = 75.0
"""Seconds an HTTP connection may wait for its next request; longer than the dialer keeps one."""

LINGER_TIME = 5.0
"""Seconds in which the rest of a refused body is thrown away, so that the refusal arrives."""

UNADMITTED = 1_000
"""Connections that have not been admitted yet; the oldest goes first. Source: REL-14."""

STALE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Losable(Protocol):
    """What wants to know that its socket is gone."""

    def lost(self) -> None:
        """Take note that the socket is gone."""
        ...


class Connection(web.RequestHandler):
    """aiohttp's protocol for one socket, with a bounded head."""

    def __init__(self, gate: Gate, *, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        super().__init__(
            gate,
            loop=loop,
            keepalive_timeout=IDLE_TIME,
            max_line_size=limits.header,
            max_field_size=limits.header,
            lingering_time=LINGER_TIME,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # None turns the access log off, as aiohttp documents
            logger=log,
        )
        self.link: Losable | None = None
        self.body: StreamReader | None = None
        self._gate = gate
        self._limits = limits
        self._peer: Peer | None = None
        self._head_size = 0
        self._head_awaited = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._handled = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock for the first head."""
        self._await_head()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the held link, if there is one."""
        self._stop_timer()
        super().connection_lost(exc)
        if self.body is not None and not self.body.is_eof():
            # Otherwise aiohttp waits its lingering time for the rest of a body that cannot come.
            self.body.feed_eof()
        if self.link is not None:
            self.link.lost()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on; while a head is awaited, bound its size and time."""
        if not self._head_awaited:
            super().data_received(data)
            return
        before = self._request_count
        self._head_size += len(data)
        super().data_received(data)
        if self._request_count != before:
            self._head_awaited = False
            self._stop_timer()
        elif self._head_size > self._limits.header:
            self._give_up(TOO_LONG)
        elif self._head_timer is None and data:
            self._await_head()

    def request_done(self) -> None:
        """Take note that one request has been read whole: a head may come next."""
        self._handled += 1
        if self._handled >= self._request_count:
            self._head_awaited = True
            self._head_size = 0

    def admitted(self) -> None:
        """Take note that this connection has been let in once."""
        self._gate.fresh.pop(self, None)

    def peer(self, headers: Mapping[str, str]) -> Peer:
        """Return the other end; the same object for the same credentials."""
        bearer = _bearer(headers.get("Authorization", ""))
        if self._peer is None or self._peer.bearer != bearer:
            self._peer = Peer(address=self._address(), certificate=self._certificate(), bearer=bearer)
        return self._peer

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature
    ) -> web.StreamResponse:
        """Answer what nobody else answered; only our own faults are logged, and stay inside."""
        if status >= 500:
            self.log_exception("A request for %s failed", request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun when the request failed")
        if status < 500 and self._head_size > self._limits.header:
            status, text = 431, f"The head is larger than {self._limits.header} bytes."
        else:
            text = "This end failed; its log says why." if status >= 500 else "The request is malformed."
        response = web.Response(status=status, text=text, headers={"Server": "Popham"})
        response.force_close()
        return response

    def _address(self) -> str:
        """Return the peer's IP address; an IPv4 address is never written as IPv6."""
        name = self.peername
        if not isinstance(name, tuple):
            return ""
        address = ipaddress.ip_address(str(name[0]).partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return str(mapped or address)

    def _certificate(self) -> bytes | None:
        """Return the peer's certificate, which the handshake has verified."""
        transport = self.transport
        tls = None if transport is None else transport.get_extra_info("ssl_object")
        if not isinstance(tls, (ssl.SSLObject, ssl.SSLSocket)):
            return None
        return tls.getpeercert(binary_form=True)

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._limits.header_time, self._give_up, STALE)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self, answer: bytes) -> None:
        """Answer a head that is too late or too long, and close."""
        self._stop_timer()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)
        self.force_close()


class Gate(web.Server):
    """Makes connections and keeps count of them."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        limits: Limits,
        unadmitted: int,
    ) -> None:
        super().__init__(handler)
        self.open: dict[web.RequestHandler, asyncio.Transport] = {}
        self.fresh: dict[web.RequestHandler, asyncio.Transport] = {}
        self._limits = limits
        self._unadmitted = unadmitted
        self._empty = asyncio.Event()
        self._empty.set()

    def __call__(self) -> Connection:
        """Return the protocol of one more connection."""
        return Connection(self, loop=self._loop, limits=self._limits)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count one more; past the bounds the oldest that was never admitted goes."""
        super().connection_made(handler, transport)
        self.open[handler] = transport
        self.fresh[handler] = transport
        self._empty.clear()
        if len(self.open) > self._limits.connections or len(self.fresh) > self._unadmitted:
            oldest = next(iter(self.fresh))
            self.fresh.pop(oldest).abort()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Count one less."""
        super().connection_lost(handler, exc)
        self.fresh.pop(handler, None)
        self.open.pop(handler, None)
        if not self.open:
            self._empty.set()

    async def emptied(self, seconds: float) -> None:
        """Wait until every socket is closed; abort what is left after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            for transport in list(self.open.values()):
                transport.abort()
            await asyncio.sleep(0)


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
