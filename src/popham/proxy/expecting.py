"""A proxy's book that lets the first answer to an agent wait a moment for what its group is to have.

Who makes rounds would else hear nothing in its first one, and come again a heartbeat later.
"""

from __future__ import annotations

import asyncio
from typing import Final

from popham.net.seam import Peer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.book import ProxyBook
from popham.upstream.book import Admitted, Identity
from popham.upstream.record import Record

MOMENT: Final = 5.0
"""Seconds that an answer waits, at most; below the agents' own patience."""


class ExpectingBook(ProxyBook):
    """A :class:`popham.proxy.book.ProxyBook` whose agents are answered once their group is here, or a moment later."""

    _news: asyncio.Event | None = None

    def arrived(self) -> None:
        """Take note that groups are to have something else."""
        news, self._news = self._news, None
        if news is not None:
            news.set()

    async def meet(self, identity: Identity, key: bytes, peer: Peer) -> Record:
        """Return the record of an agent seen for the first time here; as the book does."""
        record = await super().meet(identity, key, peer)
        await self._expect(record)
        return record

    async def enroll(self, peer: Peer, key: bytes, csr: bytes, request: wire.Enroll) -> Admitted:
        """Have those above admit an agent; as the book does."""
        admitted = await super().enroll(peer, key, csr, request)
        record = self.find(key) if admitted.certificate else None
        if record is not None:
            await self._expect(record)
        return admitted

    async def _expect(self, record: Record) -> None:
        """Return once it is known what the agent's group is to have, or after :data:`MOMENT`."""
        try:
            async with asyncio.timeout(MOMENT):
                while self.wanted(record.group) is None:
                    self._news = self._news or asyncio.Event()
                    await self._news.wait()
        except TimeoutError:
            return
