"""The end of a Proxy Manager that goes on as an agent: those below go to their next server, and nobody is let in.

Rules:

1. The end is what those above say: by a refusal where this end dials, by an order where it is dialled.
2. Where it is dialled, and nobody came since its visitor statement ended, it is believed to be over as well: the
   statement lasts for seven days, or six heartbeats if that is longer, and is made anew at half its time.
3. An exchange that works takes that back; what was ordered, only another order does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from popham.proxy.book import ProxyBook
from popham.proxy.permit import VisitorPermit

_log = logging.getLogger(__name__)
SLICE: Final = 32
"""Agents that are sent away in one turn of the loop: each may end a link, and removes a file."""
LOOK: Final = 60.0
"""Seconds between two looks whether the statement is over."""
TOLD: Final = "this machine is no Proxy Manager any more: go on to another server (grant.not_permitted)"
LEFT: Final = "nobody came to this Proxy Manager since its visitor statement ended: go on to another server (link.timeout)"


class Relayed(Protocol):
    """How the exchange stands; :class:`popham.proxy.driving.Driving` knows.

    Attributes:
        at: Wall time of the last exchange that worked, in unix seconds; None before the first.
        count: How many worked, since the start.
    """

    at: float | None
    count: int


class Ending:
    """Sends agents away, and lets nobody in until this machine is a Proxy Manager again."""

    def __init__(
        self, book: ProxyBook, permit: VisitorPermit, relayed: Relayed, dials: Callable[[], bool]
    ) -> None:
        """Keep what is needed; :meth:`run` works.

        Args:
            book: Who is known, and let in.
            permit: Has the newest visitor statement.
            relayed: Knows when those above were heard.
            dials: Returns whether this end dials what is above it.
        """
        self._book, self._permit, self._relayed, self._dials = book, permit, relayed, dials
        self._due = asyncio.Event()
        self._is_ordered = False
        self._count = 0  # exchanges that worked before the end

    @property
    def why(self) -> str:
        """Why nobody is let in; empty while this machine is a Proxy Manager."""
        return self._book.meeting.closed

    def end(self, why: str = TOLD) -> None:
        """Send all agents away, and let nobody in."""
        if why != self.why:
            _log.warning("agents are sent to other servers: %s", why)
        self._book.meeting.closed, self._count = why, self._relayed.count
        self._due.set()

    def ordered(self, *, ended: bool) -> None:
        """Take note of an order to be a Proxy Manager no more, or of any other, which takes that back."""
        self._is_ordered = ended
        if ended:
            self.end()
        else:
            self._let_in()

    def _let_in(self) -> None:
        self._book.meeting.closed = ""
        self._due.clear()

    async def run(self) -> None:
        """Send away whoever is to go, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._look()
            if self._due.is_set():
                self._due.clear()
                await self._send_away()

    def _look(self) -> None:
        """End where the statement is over and nobody came since; let agents in once somebody did."""
        if self.why:
            if not self._is_ordered and self._relayed.count > self._count:
                self._let_in()
            return
        visitor, at = self._permit.visitor, self._relayed.at
        is_over = visitor is not None and not self._permit.holds and (at is None or at < visitor.expires)
        if is_over and not self._dials():
            self.end(LEFT)

    async def _send_away(self) -> None:
        for count, record in enumerate(tuple(self._book.records()), 1):
            if not self.why:
                return
            self._book.forget(record.key)
            if count % SLICE == 0:
                await asyncio.sleep(0)
