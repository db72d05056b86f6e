"""How the hot path answers rounds: in order, at once where memory is enough.

Rules:

1. Requests are answered in their order; a refusal waits for the answers before it, then ends the connection.
2. While an answer is missing, or the peer does not take those it has, nothing more is answered.
"""

from __future__ import annotations

import abc
import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from typing import cast

from popham.errors import PophamError
from popham.net import http
from popham.net.connection import IDLE_TIME, LINGER_TIME
from popham.net.hot.door import Door, render_refusal
from popham.net.hot.head import Round
from popham.net.http import GZIP_FROM, deflate, explain, inflate
from popham.net.listener import ANSWER_TIME
from popham.net.seam import Peer, Refusal, Refused

log = logging.getLogger(__name__)

PIPELINED = 16
"""Requests that may wait for the answer to one before them."""
NO_MEMORY = Refusal(status=503, retry_after=ANSWER_TIME, body="This Manager has no memory left.")
BETWEEN, HEAD, BODY = 0, 1, 2
"""Stages of a connection: no request has begun, its head comes, its body comes."""
Waiting = tuple[Peer, bytes, Round] | bytes
"""A round that waits for its turn, or the last words of a connection."""


class Answers(abc.ABC):
    """The answering half of a connection; what reads is in :mod:`popham.net.hot.connection`.

    Attributes:
        deadline: Loop time at which the wheel looks at the connection.
        slot: The wheel's own note.
    """

    __slots__ = (
        "_backlog",
        "_blocked",
        "_busy",
        "_deaf",
        "_door",
        "_ended",
        "_queue",
        "_stage",
        "_stopped",
        "_transport",
        "deadline",
        "slot",
    )

    def __init__(self, door: Door) -> None:
        """Answer for the service behind ``door``."""
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Waiting] | None = None
        self._backlog = b""
        self._busy = False  # an answer is missing
        self._blocked = False  # the peer does not take its answers
        self._stopped = False  # nothing is read
        self._deaf = False  # what is read is thrown away
        self._ended = False  # the last words have been written
        self._stage = BETWEEN
        self.deadline = 0.0
        self.slot = 0

    @abc.abstractmethod
    def data_received(self, data: bytes) -> None:
        """Take bytes: those from the socket, and those that waited while an answer was missing."""

    @abc.abstractmethod
    def expired(self, now: float) -> bool:
        """Do what is due at the deadline; True to be looked at again."""

    # The writing half of the socket.

    def pause_writing(self) -> None:
        """Answer and read nothing more, for a bounded time, as the peer does not take its answers."""
        self._blocked = True
        transport, door = self._transport, self._door
        if transport is None or self._ended:
            return
        waiting = transport.get_write_buffer_size()
        self.deadline = door.loop.time() + door.limits.body_time + waiting / http.SLOWEST
        door.wheel.hasten(self)
        self._stop_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._blocked = False
        if not self._ended:
            self._go_on()

    def _stop_reading(self) -> None:
        if not self._stopped and self._transport is not None:
            self._stopped = True
            self._transport.pause_reading()

    def _wait_with(self, data: bytes) -> None:
        self._backlog += data
        if len(self._backlog) > self._door.limits.header:
            self._stop_reading()

    # Answers.

    def _take(self, peer: Peer, body: bytes, asked: Round) -> None:
        """Answer a round, or put it behind those that wait."""
        if not (self._busy or self._blocked or self._queue):
            self._answer(peer, body, asked)
            return
        if self._queue is None:
            self._queue = deque()
        if len(self._queue) < PIPELINED:
            self._queue.append((peer, body, asked))
        else:
            self._refuse(Refusal(status=429, body=f"More than {PIPELINED} requests wait for an answer."))

    def _answer(self, peer: Peer, body: bytes, asked: Round) -> None:
        try:
            if asked.packed:
                body = inflate(body, self._door.limits)
            service = self._door.service
            answer = service.relay(peer, body) if asked.relays else service.round(peer, body)
        except (PophamError, Refused) as error:
            refusal = _refusal_for(error)
            self._door.note_refusal(peer, refusal)
            self._end(self._words(refusal))
            return
        except Exception as error:  # noqa: BLE001 - logged there, and answered with 500
            self._end(self._words(_refusal_for(error)))
            return
        if isinstance(answer, bytes) and (len(answer) <= GZIP_FROM or not asked.packs):
            self._write(answer, keep=asked.keep)
            return
        self._busy = True
        self._door.answering += 1
        task = asyncio.ensure_future(self._later(answer, packs=asked.packs), loop=self._door.loop)
        self._door.tasks.add(task)
        task.add_done_callback(self._door.tasks.discard)
        task.add_done_callback(lambda done: self._answered(done, keep=asked.keep))

    async def _later(self, answer: bytes | Awaitable[bytes], *, packs: bool) -> bytes:
        """Return an answer that must wait, marked 0 if it is gzip and 1 if not.

        A future shared with others is never cancelled.
        """
        if isinstance(answer, bytes):
            data = answer
        else:
            async with asyncio.timeout(ANSWER_TIME):
                data = await (asyncio.shield(answer) if asyncio.isfuture(answer) else answer)
        if packs and GZIP_FROM < len(data) <= self._door.limits.message:
            return b"\0" + await deflate(data)
        return b"\1" + data

    def _answered(self, task: asyncio.Future[bytes], *, keep: bool) -> None:
        self._busy = False
        self._door.answering -= 1
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            refusal = _refusal_for(error)
            if not self._ended:
                self._end(self._words(refusal))
            return
        if self._ended:
            return
        marked = task.result()
        self._write(marked[1:], keep=keep, packed=marked[:1] == b"\0")
        self._go_on()

    def _go_on(self) -> None:
        """Answer what waited, then read on."""
        while self._queue and not (self._busy or self._blocked or self._ended):
            waiting = self._queue.popleft()
            if isinstance(waiting, bytes):
                self._end(waiting)
            else:
                self._answer(*waiting)
        if self._busy or self._blocked or self._ended or self._transport is None:
            return
        if self._stopped:
            self._stopped = False
            self._transport.resume_reading()
        self._renew()
        backlog, self._backlog = self._backlog, b""
        if backlog:
            self.data_received(backlog)

    def _renew(self) -> None:
        """Set the deadline of what comes next."""
        limits = self._door.limits
        wait = (IDLE_TIME, limits.header_time, limits.body_time)[self._stage]
        self.deadline = self._door.loop.time() + wait
        self._door.wheel.hasten(self)

    def _write(self, data: bytes, *, keep: bool, packed: bool = False) -> None:
        size, door, transport = len(data), self._door, cast("asyncio.Transport", self._transport)
        if size > door.limits.message:
            log.error("An answer of %d bytes is over the limit of %d", size, door.limits.message)
            self._end(self._words(Refusal(status=500, body="The answer is over this Manager's limit.")))
            return
        last = not keep or door.window is not None
        if size <= GZIP_FROM and not (last or packed):
            transport.write(door.stamp.found(size, door.loop.time()) + data)
            return
        extra = b"Content-Encoding: gzip\r\n" if packed else b""
        if packed or size > GZIP_FROM:
            extra += b"Vary: Accept-Encoding\r\n"
        if last:
            extra += b"Connection: close\r\n"
        words = b"%b%b\r\n%b" % (door.stamp.begin(size, door.loop.time()), extra, data)
        if last:
            self._end(words)
        else:
            transport.write(words)

    # The end.

    def _refuse(self, refusal: Refusal, *extra: str) -> None:
        """Refuse the request that is being read, once those before it are answered; read no further."""
        self._hang_up(self._words(refusal, *extra))

    def _words(self, refusal: Refusal, *extra: str) -> bytes:
        return render_refusal(refusal, self._door.stamp.line(self._door.loop.time()), *extra)

    def _hang_up(self, words: bytes) -> None:
        """End with ``words`` once everything before is answered; what still comes is thrown away."""
        if self._deaf:
            return
        self._deaf = True
        if self._busy or self._queue:
            self._queue = self._queue or deque()
            self._queue.append(words)
        else:
            self._end(words)

    def _end(self, words: bytes) -> None:
        """Say the last words; then wait, for a bounded time, until the peer has read them.

        What it still sends is thrown away meanwhile: closing on unread bytes would be a reset, which
        destroys words on their way.
        """
        self._ended = self._deaf = True
        self._queue, self._backlog = None, b""
        transport, door = self._transport, self._door
        if transport is None:
            return
        if words:
            transport.write(words)
        if self._stopped:
            self._stopped = False
            transport.resume_reading()
        waiting = transport.get_write_buffer_size()
        patience = LINGER_TIME + (door.limits.body_time + waiting / http.SLOWEST if waiting else 0.0)
        self.deadline = door.loop.time() + patience
        door.wheel.hasten(self)
        if transport.can_write_eof():
            transport.write_eof()
        elif self._stage == BETWEEN:
            transport.close()


def _refusal_for(error: BaseException) -> Refusal:
    """Return what a round that failed is answered; only our own faults are logged, and stay inside."""
    if isinstance(error, Refused):
        return error.refusal
    if isinstance(error, PophamError):
        return explain(error)
    if isinstance(error, asyncio.CancelledError):
        return Refusal(status=503, retry_after=ANSWER_TIME, body="This Manager is stopping.")
    if isinstance(error, TimeoutError):
        log.error("A round took longer than %g s", ANSWER_TIME)
        return Refusal(status=503, retry_after=ANSWER_TIME, body="The answer took too long.")
    if isinstance(error, MemoryError):
        log.error("A round could not be answered: this process has no memory left")
        return NO_MEMORY
    log.error("A round could not be answered", exc_info=error)
    return Refusal(status=500, body="This end failed; its log says why.")
