"""When and how the records of an agent are sent, in each of the four cells.

Rules:

1. Offsets decide.  What is sent twice, by whatever way, is had once; so a cell may change at any time, also in the
   middle of a request, and a lost answer costs a repeat.
2. Events have a lane of their own: nothing that is large is before them.  In the other lane the summary goes first,
   then metrics, then logs.
3. Push: what comes is sent; pull: it waits for a round, for a visit, or for a heartbeat, but for events.
4. Over a link goes what is small, one message of a lane at a time; what is larger goes by a request of the end that dials
   for data.
5. A failure here has a wait of its own, and ends nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from popham.agent.streams.lane import SOON, Lane
from popham.agent.streams.spools import Spools
from popham.agent.streams.terms import Terms
from popham.agent.streams.way import Contact, DataWay, End
from popham.clock import Clock
from popham.downstream.standings import decode, from_wire
from popham.errors import PophamError, StreamError
from popham.link.pace import Pace
from popham.link.waits import wait_for_first
from popham.link.ways import Ways
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream
from popham.trust.keys import IdentityKey

_log = logging.getLogger(__name__)
_LOOK: Final = 600.0
"""Seconds between looks for what is too old to be kept."""


class Sending:
    """Sends what an agent has in its streams."""

    def __init__(
        self,
        spools: Spools,
        end: End,
        contact: Contact,
        ways: Ways,
        *,
        key: Callable[[], IdentityKey],
        clock: Clock,
        draw: Callable[[], float],
    ) -> None:
        """Send nothing before :meth:`run`.

        Args:
            spools: What waits to be sent.
            end: Knows the settings in force.
            contact: Keeps in touch for orders, and has the link.
            ways: Lead to the upstream.
            key: Returns the key whose certificate is in use.
            clock: Wall time, told with what is sent.
            draw: Random number in [0, 1).
        """
        self._terms = Terms(
            spools=spools,
            way=DataWay(end, contact, ways),
            end=end,
            key=key,
            clock=clock,
            draw=draw,
        )
        self._bulk = Lane([Stream.SUMMARY, Stream.METRICS, Stream.LOGS], self._terms)
        events = Lane([Stream.EVENTS], self._terms)
        self._lanes = (events, self._bulk)
        self._lane = {stream: lane for lane in self._lanes for stream in lane.courses}
        self._stirred = asyncio.Event()
        spools.appended = lambda stream: self._lane[stream].appended(stream)

    # What a policy says.

    @property
    def withheld(self) -> frozenset[Stream]:
        """Streams of which nothing is sent: they are kept, as far as the limits let them."""
        return self._terms.withheld

    @withheld.setter
    def withheld(self, streams: frozenset[Stream]) -> None:
        self._terms.withheld = streams
        self.wake()

    @property
    def bandwidth(self) -> float:
        """Bytes per second of all streams together but events; 0 for no bound."""
        return self._bulk.bandwidth.rate

    @bandwidth.setter
    def bandwidth(self, rate: float) -> None:
        self._bulk.bandwidth.rate = rate
        self.wake()

    # What happens.

    def release(self) -> None:
        """Let everything go that is there: a round was made, or somebody wants it now."""
        for lane in self._lanes:
            lane.release()

    def wake(self) -> None:
        """Look again what is to be sent: other settings may hold, or a link is gone."""
        for lane in self._lanes:
            lane.wake()
        self._stirred.set()

    def opened(self) -> None:
        """Take note of a new held link, over which upstream said nothing of streams yet."""
        self._terms.way.linked = False
        self._terms.absent = 0.0
        self.wake()

    async def hear(self, standings: Sequence[wire.Standing]) -> None:
        """Take note of how far upstream is, as it said over the held link.

        Raises:
            WireError: That is nothing a receiver says.
        """
        self._terms.way.linked = True
        try:
            for standing in map(from_wire, standings):
                await self._lane[standing.stream].take(standing)
        except StreamError as error:
            _log.warning("what upstream said of its streams could not be noted: %s", error)
        self.wake()

    async def asked(self, stream: Stream, standing: bytes, limit: int) -> bytes | None:
        """Return frames for a visitor, signed, from where it is; nothing if it is not to have any.

        None if nothing waits in any stream, so that it need not ask for the others.

        Args:
            stream: Which one.
            standing: How far the visitor is with it: a Standing, as it travels.
            limit: Bytes; one frame may be more.

        Raises:
            WireError: That is none.
            StreamError: They cannot be read.
        """
        said = decode(standing, stream)
        self._terms.way.visited()
        found = await self._lane[stream].asked(said, limit)
        views = map(self._terms.spools.view, Stream)
        return found or (b"" if any(view is not None and view.waiting for view in views) else None)

    def describe(self) -> dict[str, Any]:
        """Return what waits in each stream that ever had a record, and why it is not sent, as plain data."""
        found = self._terms.spools.describe()
        return {name: one | {"problem": self._problem(Stream(name))} for name, one in found.items()}

    def _problem(self, stream: Stream) -> str:
        return self._lane[stream].courses[stream].problem

    async def run(self) -> None:
        """Send, until cancelled; no failure of a disk or of the network ends it."""
        self._terms.way.begin()
        await self._terms.spools.begin()
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(lane.run())
            group.create_task(self._beat())
            group.create_task(self._look())

    async def _beat(self) -> None:
        """Let go what waits for a heartbeat where nobody makes rounds."""
        terms, now = self._terms, asyncio.get_running_loop().time
        pace, last = Pace(terms.end.uid, terms.draw), now()
        while True:
            self._stirred.clear()
            wait = last + pace.heartbeat(terms.end.settings, 0.0) - now()
            if wait > SOON:
                await wait_for_first(wait, self._stirred)
                continue
            pace.passed()
            last = now()
            if terms.way.beats:
                self.release()

    async def _look(self) -> None:
        """Look now and then for what is too old to be kept."""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self._terms.spools.enforce()
            except PophamError as error:
                _log.warning("what is too old could not be dropped: %s", error)
