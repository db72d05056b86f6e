"""The serving end of a held link, over aiohttp.

aiohttp reads frames; what goes out is framed here and written at once, so that ``send`` can
say in the same breath whether the reader keeps up, and a link needs no task for writing.

Rules:

1. Answers leave in the order of the messages they answer, however long one takes.
2. ``LinkHandler.closed`` is called once, whatever ends the link.
3. Every way to close sends a close frame and is followed by an abort after ``CLOSE_TIME``;
   where there has been no sign of life, after ``SILENT_TIME``.
4. Only whole messages and control frames count as signs of life: bytes of a frame that never
   ends do not.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from typing import Any

from aiohttp import WSMsgType, web

from popham.errors import PophamError
from popham.net.seam import Answer, Limits, LinkHandler, Peer

log = logging.getLogger(__name__)

CLOSE_TIME = 5.0
"""Seconds between a close frame and the abort of a connection that is still open."""

SILENT_TIME = 0.1
"""Seconds for the same where there has been no sign of life anyway."""

PENDING = 64
"""Messages of one link whose answers are not ready; then no more are read. Source: REL-6."""

SILENT = 2
"""Keepalives in a row without a sign of life after which a link is closed."""

BINARY, CLOSE, PING, PONG = 0x2, 0x8, 0x9, 0xA

_REASONS = {1002: "broken frame", 1007: "text is not UTF-8", 1009: "message over the limit"}


def frame(opcode: int, data: bytes) -> bytes:
    """Return one whole, unmasked frame. Source: RFC 6455 section 5.2."""
    size = len(data)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + data
    if size < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + data
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + data


def close_data(code: int, reason: str) -> bytes:
    """Return the data of a close frame, its reason cut to 123 bytes of whole characters."""
    cut = reason.encode()[:123].decode(errors="ignore")
    return struct.pack("!H", code) + cut.encode()


class Upgrade(web.WebSocketResponse):
    """aiohttp's answer to an upgrade, whose closing is left to the :class:`Link`.

    Left alone, aiohttp closes the socket right after a close frame of its own; data still
    on its way then turns into a reset that destroys the frame before the peer reads it.
    """

    link: Link | None = None

    def __init__(self, limits: Limits) -> None:
        # aiohttp refuses a message as large as its limit; ours may be as large.
        super().__init__(autoping=False, autoclose=False, compress=False, max_msg_size=limits.message + 1)
        self.headers["Server"] = "Popham"

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:  # noqa: ARG002 - aiohttp's signature
        """Pass on a fault that aiohttp found in a frame; ignore every other call."""
        if self.link is not None and code != 1000:
            self.link.close(code, _REASONS.get(code, ""))
        return True


class Link:
    """One held link, serving end; implements the seam's ``HeldLink``."""

    def __init__(
        self,
        peer: Peer,
        transport: asyncio.Transport,
        *,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        tasks: set[asyncio.Future[bytes]],
    ) -> None:
        self.peer = peer
        self.gone: asyncio.Future[None] = loop.create_future()
        self._transport = transport
        self._limits = limits
        self._loop = loop
        self._tasks = tasks
        self._handler: LinkHandler | None = None
        self._closing = False
        self._code = 1006
        self._allowance = 0
        self._pending: deque[bytes | asyncio.Future[bytes]] = deque()
        self._oldest: object = None
        self._room: asyncio.Future[None] | None = None
        self._heard = True
        self._silent = 0
        self._abort: asyncio.TimerHandle | None = None
        self._timer = loop.call_later(limits.keepalive, self._tick)

    def send(self, data: bytes) -> bool:
        """Queue one message; False if the link is closing, or now closes as the reader is too slow.

        One message may exceed the queue's bound if nothing waits before it.
        """
        if self._closing or self._transport.is_closing():
            return False
        if len(data) > self._limits.message:
            log.error("A message of %d bytes is over the limit of %d", len(data), self._limits.message)
            self.close(1011, "answer over the limit")
            return False
        waiting = self._transport.get_write_buffer_size()
        if waiting <= self._limits.queue:
            self._allowance = 0
        if waiting and waiting + len(data) > self._limits.queue + self._allowance:
            self.close(1013, "reader too slow")
            return False
        self._allowance = max(self._allowance, len(data) if len(data) > self._limits.queue else 0)
        self._transport.write(frame(BINARY, data))
        return True

    def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason; a second call changes nothing."""
        if self._closing:
            return
        self._code = code
        self._say_goodbye(close_data(code, reason))

    def lost(self) -> None:
        """Take note that the socket is gone."""
        self._timer.cancel()
        if self._abort is not None:
            self._abort.cancel()
        self._make_room()
        if not self.gone.done():
            self.gone.set_result(None)

    async def serve(self, socket: Upgrade, handler: LinkHandler) -> None:
        """Hand messages to ``handler`` until the link is closed, then tell it so, once."""
        self._handler = handler
        try:
            await self._read(socket, handler)
        finally:
            self._timer.cancel()
            self._closing = True
            for answer in self._pending:
                if isinstance(answer, asyncio.Future):
                    answer.remove_done_callback(self._settled)
                    answer.add_done_callback(note_failure)
            self._pending.clear()
            handler.closed(self._code)

    async def _read(self, socket: Upgrade, handler: LinkHandler) -> None:
        while True:
            message = await socket.receive()
            self._heard = True
            if message.type is WSMsgType.BINARY:
                if not self._closing:
                    await self._take(handler, message.data)
            elif message.type is WSMsgType.PING:
                self._write_control(PONG, message.data)
            elif message.type is WSMsgType.TEXT:
                self.close(1003, "messages are binary")
            elif message.type is WSMsgType.CLOSE:
                if not self._closing:
                    self._code = message.data or 1005
                    self._say_goodbye(close_data(1000, ""))
                return
            elif message.type is WSMsgType.ERROR:
                # What the peer still sends is thrown away until it has read the close frame.
                self.close(1002, "broken frame")
                await self.gone
                return
            elif message.type is not WSMsgType.PONG:
                return

    async def _take(self, handler: LinkHandler, data: bytes) -> None:
        """Give the handler one message, and its answer a place in the row."""
        try:
            answer = handler.message(data)
        except PophamError as error:
            self.close(1002 if error.area == "wire" else 1008, str(error))
            return
        except Exception:
            log.exception("A message could not be answered")
            self.close(1011, "this end failed")
            return
        if answer is None:
            return
        if isinstance(answer, bytes) and not self._pending:
            self.send(answer)
            return
        self._pending.append(self._future(answer))
        if len(self._pending) >= PENDING and not self.gone.done():
            self._room = self._loop.create_future()
            await self._room

    def _future(self, answer: Answer) -> bytes | asyncio.Future[bytes]:
        """Return bytes as they are, and anything to wait for as a future that will call back."""
        if isinstance(answer, bytes):
            return answer
        future = asyncio.ensure_future(answer, loop=self._loop)
        if future is not answer:
            self._tasks.add(future)
            future.add_done_callback(self._tasks.discard)
        future.add_done_callback(self._settled)
        return future

    def _settled(self, _: asyncio.Future[bytes]) -> None:
        """Send what is ready at the head of the row."""
        while self._pending:
            answer = self._pending[0]
            if isinstance(answer, asyncio.Future):
                if not answer.done():
                    break
                note_failure(answer)
                if answer.cancelled() or answer.exception() is not None:
                    self.close(1011, "this end failed")
                    self._pending.popleft()
                    continue
                answer = answer.result()
            self._pending.popleft()
            self.send(answer)
        if len(self._pending) < PENDING:
            self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def _tick(self) -> None:
        """Ping, or close after two silent keepalives, or when an answer takes that long."""
        if self._closing:
            return
        oldest = self._pending[0] if self._pending else None
        if oldest is not None and oldest is self._oldest:
            self.close(1011, "an answer took too long")
            return
        self._oldest = oldest
        # While the row is full nothing is read, so silence means nothing.
        self._silent = 0 if self._heard or self._room is not None else self._silent + 1
        self._heard = False
        if self._silent >= SILENT:
            self.close(1001, "no sign of life")
            self._abort_within(SILENT_TIME)
            return
        self._write_control(PING, b"")
        self._timer = self._loop.call_later(self._limits.keepalive, self._tick)

    def _write_control(self, opcode: int, data: bytes) -> None:
        """Write a ping or pong; a reader that lets even these pile up is too slow."""
        if self._closing or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > self._limits.queue + self._allowance:
            self.close(1013, "reader too slow")
            return
        self._transport.write(frame(opcode, data))

    def _say_goodbye(self, data: bytes) -> None:
        self._closing = True
        self._timer.cancel()
        self._make_room()
        if not self._transport.is_closing():
            self._transport.write(frame(CLOSE, data))
        self._abort_within(CLOSE_TIME)

    def _abort_within(self, seconds: float) -> None:
        if self._abort is not None:
            self._abort.cancel()
        if not self.gone.done():
            self._abort = self._loop.call_later(seconds, self._transport.abort)


def note_failure(answer: asyncio.Future[Any]) -> None:
    """Log the failure of an answer, if it failed."""
    if not answer.cancelled() and (error := answer.exception()) is not None:
        log.error("An answer failed", exc_info=error)
