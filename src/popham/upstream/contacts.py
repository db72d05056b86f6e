"""Last contacts: noted in memory at each message, made durable many at once."""

from __future__ import annotations

import asyncio
import logging

from popham.clock import Clock
from popham.errors import PophamError
from popham.upstream.book import Book
from popham.upstream.record import Record

_log = logging.getLogger(__name__)
RELAYED = 2000
"""Agents at Proxy Managers whose last contact is written at once: some milliseconds of the loop."""
CYCLE = 60.0
"""Seconds in which each of them is looked at once, if they are few."""
QUIET = 60.0
"""Seconds after which an upstream that hears of nobody still says that it serves: what a crash adds to its downtime."""


class Contacts:
    """Agents whose last contact is to be written.

    Attributes:
        dirty: instance_uid → record.
    """

    def __init__(self, book: Book, clock: Clock) -> None:
        """Write to ``book``."""
        self._book = book
        self._clock = clock
        self._flushed = clock.now()
        self._relayed: list[Record] = []
        self._cycle = clock.now()
        self.dirty: dict[bytes, Record] = {}

    async def flush(self, every: float) -> None:
        """Make last contacts durable each ``every`` seconds, until cancelled; then once more."""
        try:
            while True:
                await asyncio.sleep(every)
                await self.flush_now()
        finally:
            await self.flush_now(quiet=0.0)

    async def flush_now(self, *, quiet: float = QUIET) -> None:
        """Make last contacts durable; after ``quiet`` seconds without any, only that this upstream serves."""
        now = self._clock.now()
        self._gather(now, everybody=quiet <= 0)
        if not self.dirty and now - self._flushed < quiet:
            return
        batch, self._flushed = dict(self.dirty), now
        self.dirty.clear()
        try:
            await self._book.contacts(list(batch.values()))
        except PophamError as error:
            # They are in memory; the next batch has them too.
            self.dirty.update(batch)
            _log.error("last contacts were not written: %s", error)  # the sentence says it

    def _gather(self, now: float, *, everybody: bool) -> None:
        """Have those written, too, of whom only Proxy Managers said that they were heard of; mostly a part of them.

        Else they would be missed after the next start, until their proxies come again.
        """
        if everybody or (not self._relayed and now - self._cycle >= CYCLE):
            self._cycle = now
            self._relayed = [record for record in self._book.records() if record.relay is not None]
        most = len(self._relayed) if everybody else RELAYED
        part, self._relayed = self._relayed[:most], self._relayed[most:]
        for record in part:
            last = record.last_contact
            if last is not None and last > (record.contacted or 0.0):
                record.contacted = last
                self.dirty[record.key] = record
