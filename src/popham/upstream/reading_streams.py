"""Streams of agents that are visited: asked for at the end of a visit, and beside a link that this end opened.

Rules:

1. Events first, then the summary, then the rest; each until nothing more of it waits.  An agent in which nothing waits
   at all says so at the first question.
2. A pass is bounded in bytes and seconds; what is left waits for the next visit, or until the agent says once more
   that it is to be asked.
3. What goes wrong with a stream spoils no visit, unless the agent cannot be reached any more.
4. Whose service does not know the question is not asked again until it is of another version.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from popham.clock import Clock
from popham.errors import LinkError, PophamError, VisitError
from popham.model.cell import Dialer
from popham.net.seam import Refusal
from popham.opamp.codec import encode_frame
from popham.streams.frame import Stream
from popham.streams.standing import Standing
from popham.upstream.book import Book
from popham.upstream.intake import APPEND_LIMIT, Sent
from popham.upstream.record import Record
from popham.upstream.standings import encode, render_standings
from popham.upstream.streams import RETRY, Streams, held_back

_log = logging.getLogger(__name__)
PASS_BYTES: Final = 16 * 1024 * 1024
"""Bytes that are read in one pass, and what the last answer has beyond."""
PASS_TIME: Final = 30.0
"""Seconds after which a pass asks for nothing more."""
_HALF: Final = 0.5
"""Seconds of an agent's clock that a whole number of them leaves out, on the average."""
_FORBIDDEN: Final = 403
_UNKNOWN: Final = frozenset({"visit.operation", "visit.signature"})
"""What a service says of a question that it does not know; where nobody signs it, it is an HTTP 403."""


class Asks(Protocol):
    """Asks one agent; :class:`popham.upstream.visits.Visit` is one."""

    async def read(self, stream: Stream, standing: bytes, limit: int) -> tuple[bytes | None, int]:
        """Return frames of a stream, None if nothing waits in any, and the agent's clock. Raises VisitError."""
        ...


@dataclass(slots=True)
class _Pass:
    """What may still be read: bytes, and until when (monotonic seconds)."""

    left: int
    until: float


class StreamReading:
    """Asks agents for frames, and hands them on."""

    def __init__(self, streams: Streams, book: Book, clock: Clock) -> None:
        """Hand frames on to ``streams``; ``book`` has the settings of groups."""
        self._streams = streams
        self._book = book
        self._clock = clock
        self._deaf: dict[str, tuple[int, str]] = {}

    async def in_visit(self, visit: Asks, record: Record) -> None:
        """Read the streams of an agent, if its settings have them read by visits.

        Raises:
            VisitError: The agent cannot be reached any more, or is not believed.
        """
        if self._is_wanted(record):
            await self._read(visit, record, Stream)

    async def beside(self, visit: Asks, record: Record) -> None:
        """Read what an agent says that it is to be asked for, and tell it over its link how far that led."""
        streams, wait = self._streams.take_ready(record.uid), True
        try:
            wait = not await self._read(visit, record, streams)
        finally:
            await self._tell(record, streams, wait=wait)

    def _is_wanted(self, record: Record) -> bool:
        wanted, state = self._book.wanted(record.group), record.state
        if wanted is None or state is None or not self._streams.serves(record):
            return False
        deaf = self._deaf.get(record.uid)
        if deaf == (state.generation, state.agent_version):
            return False
        settings = wanted.settings_for(record.uid, record.candidate).at(state.location)
        return settings.upload and (settings.data is None or settings.data.dialer is Dialer.MANAGER)

    async def _read(self, visit: Asks, record: Record, streams: Iterable[Stream]) -> bool:
        """Read streams, in order, as far as a pass goes; return whether nothing went wrong.

        Raises:
            VisitError: The agent cannot be reached any more, or is not believed.
        """
        left = _Pass(PASS_BYTES, self._clock.monotonic() + PASS_TIME)
        well = True
        for stream in streams:
            try:
                if not await self._drain(visit, record, stream, left):
                    break
            except VisitError as error:
                if not error.status:
                    raise
                # It answered; so the visit was one.
                self._note_refusal(record, error)
                return False
            except LinkError as error:
                _log.info("no more of the streams of %s is taken now: %s", record.name, error)
                return False
            except PophamError as error:
                _log.warning("%s of %s could not be taken: %s", stream, record.name, error)
                well = False
        return well

    async def _drain(self, visit: Asks, record: Record, stream: Stream, left: _Pass) -> bool:
        """Read a stream until nothing more of it waits; False if the pass is over: no time, no room, nothing waits."""
        refused: Standing | None = None
        while left.left > 0 and self._clock.monotonic() < left.until:
            async with self._streams.turn(record, stream):
                if self._streams.refusal(record, stream) is not None:
                    return False
                before = refused or await self._streams.standing(record, stream)
                frames, clock = await visit.read(stream, encode(before), APPEND_LIMIT)
                if not frames:
                    return frames is not None
                sent = Sent(now=clock + _HALF if clock else None)
                after = await self._streams.take(record, stream, frames, sent)
            left.left -= len(frames)
            if after.refused and refused is None:
                refused = after
                continue
            refused = None
            if (after.epoch, after.next, after.ranges) == (before.epoch, before.next, before.ranges):
                if after.retry_after:
                    return True  # they are kept, and acknowledged later
                _log.warning("%s gives the same %s again", record.name, stream)
                return True
        return False

    def _note_refusal(self, record: Record, error: VisitError) -> None:
        _log.info("%s gives nothing of its streams: %s", record.name, error)
        state = record.state
        if state is not None and (error.code in _UNKNOWN or error.status == _FORBIDDEN):
            self._deaf[record.uid] = state.generation, state.agent_version

    async def _tell(self, record: Record, streams: Iterable[Stream], *, wait: bool) -> None:
        """Say over the link how far the streams are; with a time to wait, lest it asks at once for the same."""
        refusal = Refusal(status=503, retry_after=RETRY) if wait else None
        found = await self._streams.standings(record, streams)
        standings = [held_back(one, refusal) for one in found]
        if record.link is not None and standings:
            record.link.send(encode_frame(render_standings(record, standings)))
