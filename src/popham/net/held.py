"""The dialling end of a held link, over aiohttp.

One task reads, so that pings are answered while the driver is busy, and one pings. What is read
waits in a bounded queue. When the queue is full it reads no more, and the other end sees silence: a
driver that is stuck for so long should lose its link.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import WSMsgType

from popham.errors import LinkError
from popham.net.failure import closed, too_large
from popham.net.seam import Limits

CLOSE_TIME = 5.0
"""Seconds to wait for the other end's close frame."""

SILENT_TIME = 0.1
"""Seconds for the same where there has been no sign of life anyway."""

SEND_TIME = 30.0
"""Seconds in which the other end must make room for a message."""

WAITING = 64
"""Messages read and not yet taken by the driver. Source: REL-6."""

SILENT = 2
"""Keepalives in a row without a sign of life after which a link is closed."""


class AiohttpConnection:
    """One held link, dialling end; implements the seam's ``HeldConnection``.

    Args:
        socket: The upgraded connection.
        limits: Bounds of messages, and the keepalive.
        where: Host and port, for sentences.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, limits: Limits, where: str) -> None:
        self._socket = socket
        self._limits = limits
        self._where = where
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        self._error: LinkError | None = None
        self._heard = True
        self._silent = False
        self._closing = False
        self.ended = False
        loop = asyncio.get_running_loop()
        self._reader = loop.create_task(self._read(), name=f"held link to {where}")
        self._pinger = loop.create_task(self._ping(), name=f"keepalive to {where}")

    async def send(self, data: bytes) -> None:
        """Send one message; waits, for a bounded time, while the other end is slow.

        Raises:
            LinkError: The link is gone, or the message is over the limit and was not sent.
        """
        if len(data) > self._limits.message:
            raise too_large(self._where, status=0)
        if self.ended or self._closing:
            raise self._error or closed(self._where, 1006, "")
        try:
            async with asyncio.timeout(SEND_TIME):
                await self._socket.send_bytes(data)
        except TimeoutError as error:
            raise LinkError("slow", f"{self._where} has taken nothing for {SEND_TIME:g} s") from error
        except (ConnectionError, aiohttp.ClientError) as error:
            raise self._error or closed(self._where, 1006, "") from error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield messages until the link ends; raises LinkError if it ended badly."""
        while (message := await self._queue.get()) is not None:
            yield message
        # Whoever asks again learns the same.
        self._queue.put_nowait(None)
        if self._error is not None:
            raise self._error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the link and wait, for a bounded time, until it is closed."""
        if not self._closing:
            self._closing = True
            self._drop_waiting()
            if not self.ended:
                await self._close_socket(code, reason)
        await asyncio.wait([self._reader, self._pinger], timeout=CLOSE_TIME)
        self._reader.cancel()
        self._pinger.cancel()
        await asyncio.wait([self._reader, self._pinger])

    async def _close_socket(self, code: int, reason: str) -> None:
        cut = reason.encode()[:123].decode(errors="ignore").encode()
        with contextlib.suppress(TimeoutError, ConnectionError, aiohttp.ClientError):
            async with asyncio.timeout(SILENT_TIME if self._silent else CLOSE_TIME):
                await self._socket.close(code=code, message=cut)

    def _drop_waiting(self) -> None:
        """Drop what a driver that closes the link has not taken, but never the end itself."""
        while not self._queue.empty():
            self._queue.get_nowait()
        if self.ended:
            self._queue.put_nowait(None)

    async def _read(self) -> None:
        """Read until the link ends, then say so at the end of the queue."""
        try:
            error = await self._read_messages()
            self._error = self._error or (None if self._closing else error)
        finally:
            self.ended = True
            self._pinger.cancel()
            if self._closing:
                self._drop_waiting()
        if not self._closing:
            await self._close_socket(1001 if self._silent else 1000, "")
        await self._queue.put(None)

    async def _read_messages(self) -> LinkError | None:
        """Return why the link ended; None if it ended well."""
        while True:
            message = await self._socket.receive()
            self._heard = True
            if message.type is WSMsgType.BINARY:
                await self._queue.put(message.data)
            elif message.type is WSMsgType.PING:
                with contextlib.suppress(ConnectionError):
                    await self._socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                return await self._end(message)

    async def _ping(self) -> None:
        """Ping; close after two silent keepalives. A ping that cannot leave is a silence like any other."""
        silent = 0
        while True:
            await asyncio.sleep(self._limits.keepalive)
            # While the queue is full nothing is read, so silence means nothing.
            silent = 0 if self._heard or self._queue.full() else silent + 1
            self._heard = False
            if silent >= SILENT:
                self._silent = True
                self._error = closed(self._where, 1006, "no sign of life")
                await self._close_socket(1001, "no sign of life")
                return
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(self._limits.keepalive):
                    await self._socket.ping()

    async def _end(self, message: aiohttp.WSMessage) -> LinkError | None:
        """Return what the last message means."""
        if message.type is WSMsgType.TEXT:
            await self._close_socket(1003, "messages are binary")
            return LinkError("unexpected", f"{self._where} sent text where messages are binary", status=1003)
        if message.type is WSMsgType.CLOSE:
            code = message.data or 1005
            return None if code == 1000 else closed(self._where, code, str(message.extra or ""))
        if message.type is WSMsgType.ERROR and isinstance(message.data, aiohttp.WebSocketError):
            if message.data.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                problem = f"{self._where} sent a message over {self._limits.message} bytes"
                return LinkError("too_large", problem, "Raise this end's limit", status=1009)
            return LinkError("unexpected", f"{self._where} broke the WebSocket protocol", status=1002)
        return closed(self._where, 1006, "")
