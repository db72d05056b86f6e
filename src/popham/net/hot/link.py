"""The serving end of a held link on the hot path; takes the socket over after the upgrade.

Rules:

1. Answers leave in the order of the messages they answer, however long one takes.
2. ``LinkHandler.closed`` is called once, whatever ends the link.
3. Every way to close sends a close frame and is followed by an abort after ``CLOSE_TIME``;
   where there has been no sign of life, after ``SILENT_TIME``.
4. Only whole messages and control frames count as signs of life.
5. One turn of the loop takes so many frames of one link; then it is others' turn.
6. A link over its quota is not read for a while; after a minute of that it is closed with 1008.
7. A link that carries no message at first is nobody's, and is closed with 1008.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from popham.errors import PophamError
from popham.net import websocket
from popham.net.hot.door import Door
from popham.net.hot.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameError, FrameReader
from popham.net.quota import ABUSE_TIME
from popham.net.seam import Answer, LinkHandler, Peer
from popham.net.websocket import PENDING, SILENT, close_data, frame, note_failure

log = logging.getLogger(__name__)
TURN = 64
"""Frames of one link in one turn of the loop: some 0.6 ms of heartbeats."""
FIRST_TIME = 30.0
"""Seconds after which a link that has not carried a message is closed at its next keepalive."""
_FULL, _TURN, _OVER = 1, 2, 4
"""Why nothing is read: answers are missing, others have their turn, the quota is spent."""


class HotLink(asyncio.Protocol):
    """One held link; implements the seam's ``HeldLink``."""

    __slots__ = (
        "_allowance",
        "_closing",
        "_code",
        "_done",
        "_door",
        "_handler",
        "_heard",
        "_holds",
        "_mute_until",
        "_oldest",
        "_over_since",
        "_pending",
        "_reader",
        "_silent",
        "_stopped",
        "_transport",
        "deadline",
        "peer",
        "slot",
    )

    def __init__(self, door: Door, transport: asyncio.Transport, peer: Peer) -> None:
        """Take the socket; :meth:`serve` begins."""
        self.peer = peer
        self._door = door
        self._transport = transport
        self._reader = FrameReader(door.limits.message)
        self._handler: LinkHandler | None = None
        self._pending: deque[bytes | asyncio.Future[bytes]] | None = None
        self._oldest: object = None
        self._closing = False
        self._done = False
        self._holds = 0
        self._stopped = False
        self._heard = True
        self._over_since = 0.0
        self._silent = 0
        self._code = 1006
        self._allowance = 0
        now = door.loop.time()
        self._mute_until = now + FIRST_TIME
        self.deadline = now + door.limits.keepalive
        self.slot = 0

    def serve(self, rest: bytes) -> None:
        """Give the link to the service; ``rest`` came behind the upgrade."""
        door = self._door
        door.links.add(self)
        door.wheel.add(self)
        try:
            self._handler = door.service.opened(self)
        except PophamError as error:
            self.close(1008, str(error))
            return
        except Exception:
            log.exception("A held link could not be taken")
            self.close(1011, "this end failed")
            return
        if door.window is not None:
            self.close(1012, f"retry-after={door.rng.random() * door.window:.1f}")
        elif rest:
            self.data_received(rest)

    # What the service does.

    def send(self, data: bytes) -> bool:
        """Queue one message; False if the link is closing, or now closes as the reader is too slow."""
        transport, limits = self._transport, self._door.limits
        if self._closing or transport.is_closing():
            return False
        size = len(data)
        if size > limits.message:
            log.error("A message of %d bytes is over the limit of %d", size, limits.message)
            self.close(1011, "answer over the limit")
            return False
        waiting = transport.get_write_buffer_size()
        if waiting:
            if waiting <= limits.queue:
                self._allowance = 0
            if waiting + size > limits.queue + self._allowance:
                self.close(1013, "reader too slow")
                return False
        if size > limits.queue:
            self._allowance = max(self._allowance, size)
        transport.write(frame(BINARY, data))
        return True

    def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason; a second call changes nothing."""
        if self._closing:
            return
        self._code = code
        self._say_goodbye(close_data(code, reason))

    # What the peer does.

    def data_received(self, data: bytes) -> None:
        """Take what came: messages, control frames, or a fault."""
        if self._done:
            return
        self._reader.feed(data)
        self._read(len(data))
        if self._holds and not self._stopped and not self._transport.is_closing():
            self._stopped = True
            self._transport.pause_reading()

    def _read(self, size: int = 0) -> None:
        """Take one message after another, until there is none, or this link has had its turn.

        Pings that came together are answered together. Source: RFC 6455 section 5.5.3.
        """
        if self._done or self._holds:
            return
        reader, ping = self._reader, None
        reader.left = TURN
        try:
            while not (self._done or self._holds):
                found = reader.next()
                if found is None:
                    break
                self._heard = True
                opcode, payload = found
                if opcode == BINARY:
                    if not self._closing:
                        self._take(payload)
                elif opcode == PING:
                    ping = payload
                else:
                    self._take_other(opcode, payload)
        except FrameError as error:
            self.close(error.code, str(error))
            self._done = True
        if ping is not None:
            self._control(PONG, ping)
        if not self._done:
            self._account(TURN - reader.left, size)

    def _take_other(self, opcode: int, payload: bytes) -> None:
        """Take what comes once in a link's life."""
        if opcode == TEXT:
            self.close(1003, "messages are binary")
        elif opcode == CLOSE:
            self._closed_by_peer(payload)

    def _account(self, frames: int, size: int) -> None:
        """Let others have their turn after so many frames, and rest if the quota is spent."""
        if frames >= TURN:
            self._holds |= _TURN
            self._door.loop.call_soon(self._release, _TURN)
        if self._closing:
            return
        now = self._door.loop.time()
        rest = self._door.quota.spend(self.peer, frames, size, now)
        if not rest:
            if self._over_since and self._door.quota.is_calm(self.peer, now):
                self._over_since = 0.0
            return
        self._over_since = self._over_since or now
        if now - self._over_since > ABUSE_TIME:
            self.close(1008, "more messages than the limits allow")
            return
        self._holds |= _OVER
        self.deadline = now + rest
        self._door.wheel.hasten(self)

    def _release(self, why: int) -> None:
        """Read on, if nothing else is in the way: first what is there, then the socket."""
        self._holds &= ~why
        if self._holds or self._done:
            return
        self._read()
        if self._stopped and not self._holds:
            self._resume()

    def _resume(self) -> None:
        self._stopped = False
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """Close: the peer says nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Tell the service, once."""
        self._done = self._closing = True
        self._door.links.discard(self)
        self._door.left(self)
        self._door.wheel.discard(self)
        for answer in self._pending or ():
            if isinstance(answer, asyncio.Future):
                answer.remove_done_callback(self._settled)
                answer.add_done_callback(note_failure)
        self._pending = None
        if self._handler is not None:
            handler, self._handler = self._handler, None
            handler.closed(self._code)

    def expired(self, now: float) -> bool:
        """Ping, or close after two silent keepalives, or when an answer takes that long; then abort."""
        if self._closing:
            self._transport.abort()
            return False
        self.deadline = now + self._door.limits.keepalive
        if self._holds & _OVER:
            self._release(_OVER)
            return True
        if self._mute_until and now > self._mute_until:
            self.close(1008, "no message came")
            return True
        oldest = self._pending[0] if self._pending else None
        if oldest is not None and oldest is self._oldest:
            self.close(1011, "an answer took too long")
            return True
        self._oldest = oldest
        self._silent = 0 if self._heard or self._holds else self._silent + 1
        self._heard = False
        if self._silent >= SILENT:
            self.close(1001, "no sign of life")
            self.deadline = now + websocket.SILENT_TIME
            self._door.wheel.hasten(self)
        else:
            self._control(PING, b"")
        return True

    def _take(self, data: bytes) -> None:
        """Give the handler one message, and its answer a place in the row."""
        if self._handler is None:
            return
        self._mute_until = 0.0
        try:
            answer = self._handler.message(data)
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
        if self._pending is None:
            self._pending = deque()
        self._pending.append(self._future(answer))
        if len(self._pending) >= PENDING:
            self._holds |= _FULL

    def _future(self, answer: Answer) -> bytes | asyncio.Future[bytes]:
        """Return bytes as they are, and anything to wait for as a future that will call back."""
        if isinstance(answer, bytes):
            return answer
        future = asyncio.ensure_future(answer, loop=self._door.loop)
        if future is not answer:
            self._door.tasks.add(future)
            future.add_done_callback(self._door.tasks.discard)
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
            if answer:
                self.send(answer)
        if not self._pending:
            self._pending = None  # an empty row has 760 bytes, for as long as the link is held
        if self._holds & _FULL and len(self._pending or ()) < PENDING:
            self._release(_FULL)

    def _control(self, opcode: int, data: bytes) -> None:
        """Write a ping or pong; a reader that lets even these pile up is too slow."""
        if self._closing or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > self._door.limits.queue + self._allowance:
            self.close(1013, "reader too slow")
            return
        self._transport.write(frame(opcode, data))

    def _closed_by_peer(self, payload: bytes) -> None:
        if not self._closing:
            self._code = int.from_bytes(payload[:2], "big") if payload else 1005
            self._say_goodbye(close_data(1000, ""))
        self._done = True
        self._transport.close()

    def _say_goodbye(self, data: bytes) -> None:
        self._closing = True
        self.deadline = self._door.loop.time() + websocket.CLOSE_TIME
        self._door.wheel.hasten(self)
        if not self._transport.is_closing():
            self._transport.write(frame(CLOSE, data))
        # What still comes may be the peer's own goodbye.
        self._holds &= _TURN
        if self._stopped and not self._holds:
            self._resume()
