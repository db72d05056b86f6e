"""The answering end of a held link that the Manager opened into an agent's service.

The service is given a link by whoever dialled; the driver wants one that it can read and write, as if it had dialled
itself.  Each frame is signed one way and checked the other way, so that a web server in between can end the link, and
nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from popham.errors import LinkError, VisitError
from popham.net.seam import HeldLink
from popham.net.signing import Frames

WAITING = 64
"""Messages that came and were not yet taken by the driver. Source: REL-6."""
CLOSE_TIME = 5.0
"""Seconds to wait until a link that is closed is gone."""
_WELL = frozenset({1000, 1005})
"""Close codes of an end that nobody needs to hear of."""


class AcceptedLink:
    """One held link; implements the seam's ``LinkHandler`` below and ``HeldConnection`` above."""

    def __init__(
        self,
        link: HeldLink,
        frames: Frames,
        *,
        believed: Callable[[], bool] = lambda: True,
        refused: Callable[[VisitError], None] = lambda _error: None,
    ) -> None:
        """Keep what is needed; called in a running loop.

        Args:
            link: As it was accepted.
            frames: Sign what goes, and check what comes.
            believed: Says whether the visitor may still visit; asked at each frame.
            refused: Told of a frame that is not believed; the link is closed then.
        """
        self._link = link
        self._frames = frames
        self._believed, self._refused = believed, refused
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING + 1)  # and the end itself
        self._gone = asyncio.Event()
        self._closing = False
        self._error: LinkError | None = None

    # Below: what came.

    def message(self, data: bytes) -> None:
        """Take one frame.

        Raises:
            VisitError: ``visit.signature``: it is not the visitor's next one. ``visit.stranger``: it may not visit any more.
        """
        if self._closing:
            return
        try:
            message = self._frames.open(data)
            self._check_visitor()
        except VisitError as error:
            self._error = error
            self._refused(error)
            raise
        if self._queue.qsize() >= WAITING:
            self._error = LinkError("slow", f"{WAITING} messages of the visitor wait, and more came")
            self._shut(1013, "this end is too slow")
            return
        self._queue.put_nowait(message)

    def _check_visitor(self) -> None:
        if not self._believed():
            problem = "whoever holds this link may not visit this agent any more"
            raise VisitError("stranger", problem, "Give the Proxy Manager this agent, or its group")

    def closed(self, code: int) -> None:
        """Take note that the link is gone."""
        if not self._closing and self._error is None and code not in _WELL:
            self._error = LinkError("closed", f"the visitor's link was closed with code {code}", status=code)
        self._gone.set()
        self._end()

    # Above: what the driver wants.

    async def send(self, data: bytes) -> None:
        """Send one message. Raises LinkError when the link is gone, or the visitor reads too slowly."""
        if self._closing or self._gone.is_set():
            raise self._error or LinkError("closed", "the visitor's link is gone")
        if not self._link.send(self._frames.seal(data)):
            raise LinkError("slow", "the visitor takes too little of what it is sent")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield messages until the link ends; raises LinkError if it ended badly."""
        while (message := await self._queue.get()) is not None:
            yield message
        # Whoever asks again learns the same.
        self._end()
        if self._error is not None:
            raise self._error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the link and wait, for a bounded time, until it is gone."""
        self._shut(code, reason)
        try:
            async with asyncio.timeout(CLOSE_TIME):
                await self._gone.wait()
        except TimeoutError:
            self._gone.set()

    def _shut(self, code: int, reason: str) -> None:
        if self._closing:
            return
        self._closing = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._end()
        if not self._gone.is_set():
            self._link.close(code, reason.encode()[:123].decode(errors="ignore"))

    def _end(self) -> None:
        """Put the end behind what waits, once."""
        if not self._queue.full():
            self._queue.put_nowait(None)
