"""A link that an upstream opened, as the hub wants one that it was given.

The hub sends without waiting; so what waits for a slow reader is bounded, as on the listener's side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from popham.errors import LinkError, PophamError
from popham.net.seam import Answer, HeldConnection, Limits, LinkHandler, Peer, Service
from popham.net.signing import Frames

_GONE = 1006


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

    async def run(self, service: Service) -> None:
        """Serve the link until it ends, and close it.

        Raises:
            LinkError: It ended badly, or what came was not signed by the agent.
        """
        handler = service.opened(self)
        reading = asyncio.ensure_future(self._read(handler))
        writing = asyncio.ensure_future(self._write())
        code = _GONE
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if self._closing is not None:
                code = self._closing[0]
            for task in (reading, writing):
                if task.done():
                    await task
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
            handler.closed(code)
            with contextlib.suppress(PophamError):
                await self._connection.close(*(self._closing or (1000, "")))

    async def _read(self, handler: LinkHandler) -> None:
        async for data in self._connection:
            answer = handler.message(self._frames.open(data))
            if answer is not None:
                self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        """Queue an answer in its place, also one that has to wait until something is durable."""
        if isinstance(answer, bytes):
            if answer:
                self.send(answer)
            return
        if len(self._waiting) >= self._limits.messages_per_second:
            self.close(1013, "too many answers wait")
            return
        self._waiting.append(asyncio.ensure_future(answer))
        self._something.set()

    async def _write(self) -> None:
        while True:
            while self._waiting:
                first = self._waiting.popleft()
                if isinstance(first, bytes):
                    self._size -= len(first)
                    data = first
                else:
                    data = await first
                if data:
                    await self._connection.send(self._frames.seal(data))
            if self._closing is not None:
                if self._closing[0] not in {1000, 1012}:
                    raise LinkError(
                        "closed", f"the link was closed: {self._closing[1]}", status=self._closing[0]
                    )
                return
            self._something.clear()
            await self._something.wait()
