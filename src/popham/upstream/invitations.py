"""New links over which agents are told how far this end is with their streams: before that they send nothing there.

One task tells all, so that a storm of new links makes no task for each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from popham.errors import PophamError
from popham.net.seam import HeldLink
from popham.opamp.codec import encode_frame
from popham.streams.frame import Stream
from popham.upstream.record import Record
from popham.upstream.standings import render_standings
from popham.upstream.streams import Streams

_log = logging.getLogger(__name__)
SLICE = 32
"""Links that are told in one turn of the loop."""


class Invitations:
    """Links that are to be told, the oldest first, and the task that tells them."""

    def __init__(self, streams: Streams) -> None:
        """Tell how far ``streams`` are."""
        self._streams = streams
        self._waiting: dict[bytes, tuple[Record, HeldLink]] = {}
        self._woken = asyncio.Event()

    def following(self, say: Callable[[], bytes], record: Record, link: HeldLink) -> Callable[[], bytes]:
        """Return ``say``, the answer to the first message of a link, with an invitation after it."""

        def said() -> bytes:
            answer = say()
            if self._streams.serves(record):
                self._waiting[record.key] = record, link
                self._woken.set()
            return answer

        return said

    def again(self, record: Record) -> None:
        """Tell an agent once more, if it holds a link: how far its streams are is another by now."""
        if record.link is not None:
            self._waiting[record.key] = record, record.link
            self._woken.set()

    async def run(self) -> None:
        """Tell links, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await asyncio.sleep(0)  # the answer goes first
            told = 0
            while self._waiting:
                record, link = self._waiting.pop(next(iter(self._waiting)))
                await self._tell(record, link)
                told += 1
                if told % SLICE == 0:
                    await asyncio.sleep(0)

    async def _tell(self, record: Record, link: HeldLink) -> None:
        try:
            standings = await self._streams.standings(record, Stream)
        except PophamError as error:
            _log.warning("%s was not told how far its streams are, over this link: %s", record.name, error)
            return
        if standings and record.link is link:
            link.send(encode_frame(render_standings(record, standings)))
