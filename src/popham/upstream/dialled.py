"""A link that an upstream opened, as the hub wants one that it was given.

The hub sends without waiting; so what waits for a slow reader is bounded, as on the listener's side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from popham.errors import LinkError, PophamError
from popham.net.quota import Quota
from popham.net.seam import Answer, HeldConnection, Limits, LinkHandler, Peer, Service
from popham.net.signing import Frames
from popham.net.websocket import note_failure

FAREWELL, _GONE = 1000, 1006
"""Close codes: of an end that says so, and of one that nobody said."""
GRACE = 5.0
"""Seconds that an agent has to take what was said before a link is closed."""
_NO_FAULT = frozenset({FAREWELL, 1001, 1012})


class DialledLink:
    """Implements :class:`popham.net.seam.HeldLink` over a connection of this end; :meth:`run` moves the bytes."""

    def __init__(self, connection: HeldConnection, frames: Frames, peer: Peer, limits: Limits) -> None:
        """Keep what is needed.

        Args:
            connection: The link.
            frames: Signs and checks what goes over it.
            peer: The agent.
            limits: ``queue`` bounds the bytes that wait.
        """
        self.peer = peer
        self._connection = connection
        self._frames = frames
        self._limits = limits
        self._waiting: deque[bytes | asyncio.Future[bytes]] = deque()
        self._size = 0
        self._something = asyncio.Event()
        self._ending = asyncio.Event()
        self._own: set[asyncio.Future[bytes]] = set()
        self._quota = Quota(limits)
        self._closing: tuple[int, str] | None = None

    def send(self, data: bytes) -> bool:
        """Queue one message; False if the reader is too slow and the link is being closed."""
        if self._closing is not None:
            return False
        if self._size + len(data) > self._limits.queue:
            self.close(1013, "this end waits too long")
            return False
        self._size += len(data)
        self._waiting.append(data)
        self._something.set()
        return True

    def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket close code and a reason."""
        if self._closing is None:
            self._closing = code, reason
            self._something.set()
            self._ending.set()

    @property
    def let_go(self) -> bool:
        """Whether this end closed it because it was not needed any more."""
        return self._closing is not None and self._closing[0] == FAREWELL

    async def run(self, service: Service) -> None:
        """Serve the link until it ends, and close it.

        Raises:
            LinkError: It ended badly, or what came was not signed by the agent.
        """
        handler = service.opened(self)
        reading = asyncio.ensure_future(self._read(handler))
        writing = asyncio.ensure_future(self._write())
        ending = asyncio.ensure_future(self._ending.wait())
        tasks: tuple[asyncio.Future[Any], ...] = (writing, reading, ending)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._closing is not None:
                # What was said before goes first, if the agent takes it.
                await asyncio.wait({writing}, timeout=GRACE)
            for task in tasks:
                if task.done():
                    await task
            if self._closing is not None and self._closing[0] not in _NO_FAULT:
                code, reason = self._closing
                raise LinkError("closed", f"the link was closed: {reason}", status=code)
        finally:
            self._closing = self._closing or (_GONE, "")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            handler.closed(self._closing[0])
            self._forget()
            code, reason = self._closing
            with contextlib.suppress(PophamError):
                await self._connection.close(FAREWELL if code == _GONE else code, reason)

    async def _read(self, handler: LinkHandler) -> None:
        loop = asyncio.get_running_loop()
        async for data in self._connection:
            rest = self._quota.spend(self.peer, 1, len(data), loop.time())
            if rest > 0:
                await asyncio.sleep(rest)
            answer = handler.message(self._frames.open(data))
            if answer is not None:
                self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        """Queue an answer in its place, also one that has to wait until something is durable."""
        if isinstance(answer, bytes):
            if answer:
                self.send(answer)
            return
        future = asyncio.ensure_future(answer)
        if future is not answer:
            self._own.add(future)
            future.add_done_callback(self._own.discard)
        if self._closing is not None:
            _hush(future)
            return
        self._waiting.append(future)
        if len(self._waiting) > self._limits.messages_per_second > 0:
            self.close(1013, "too many answers wait")
        self._something.set()

    async def _write(self) -> None:
        while True:
            while self._waiting:
                first = self._waiting[0]
                if isinstance(first, bytes):
                    self._size -= len(first)
                    data = first
                else:
                    # It may be another's too, and is not cancelled with this.
                    await asyncio.wait({first})
                    if first.cancelled() or first.exception() is not None:
                        raise LinkError("closed", "an answer could not be given", status=1011)
                    data = first.result()
                self._waiting.popleft()
                if data:
                    await self._connection.send(self._frames.seal(data))
            if self._closing is not None:
                return
            self._something.clear()
            await self._something.wait()

    def _forget(self) -> None:
        """Leave what was not answered: what was said is made durable all the same, and nobody waits for it."""
        for first in self._waiting:
            if not isinstance(first, bytes):
                _hush(first)
        self._waiting.clear()
        self._size = 0


def _hush(future: asyncio.Future[bytes]) -> None:
    """Have a failure logged where nobody waits for the answer."""
    future.add_done_callback(note_failure)
