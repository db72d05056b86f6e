"""How one agent of the schedule is called: who is expected, what is said and brought, and whom the hub hears."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from popham.clock import Clock
from popham.errors import VisitError
from popham.net.seam import Limits, Peer, Service
from popham.upstream.book import Book
from popham.upstream.dialled import DialledLink
from popham.upstream.record import Record
from popham.upstream.sighting import Seen
from popham.upstream.targets import Targets
from popham.upstream.visits import Signer, Visit, hear

Lacks = Callable[[Record], Mapping[str, bytes]]


class Calling:
    """Calls agents, one at a time each."""

    def __init__(
        self, service: Service, book: Book, signer: Signer, documents: bytes, clock: Clock, lacks: Lacks
    ) -> None:
        """Keep what is needed; arguments as those of :class:`popham.upstream.visitor.Visitor`."""
        self._service = service
        self._book = book
        self._signer = signer
        self._documents = documents
        self._clock = clock
        self._lacks = lacks

    async def visit(self, seen: Seen) -> None:
        """Make one visit. Raises VisitError or WireError."""
        record = self._known(seen)
        visit, peer = self._visit(seen, record.public_key), _peer(seen, record)
        await visit.run(self._service, peer, partial(self._lacks, record))

    async def hold(self, seen: Seen, limits: Limits) -> DialledLink:
        """Open a link. Raises VisitError."""
        record = self._known(seen)
        connection, frames = await self._visit(seen, record.public_key).hold()
        return DialledLink(connection, frames, _peer(seen, record), limits)

    async def bring(self, seen: Seen) -> None:
        """Bring what the agent lacks, and nothing else. Raises VisitError."""
        record = self._known(seen)
        visit = self._visit(seen, record.public_key)
        for sha256, body in self._lacks(record).items():
            await visit.bring(sha256, body)

    async def find(self, seen: Seen, targets: Targets) -> None:
        """Ask whoever is where a definition points: an agent that waits to be born, or one that is known."""
        visit = self._visit(seen, b"")
        heard = await visit.birth(self._documents)
        peer = Peer(address=seen.target.place.host)
        answer = await hear(self._service, peer, heard)
        record = self._book.record(visit.uid)
        if record is not None and record.public_key == visit.key:
            await targets.found(seen.target, visit.uid)
        await visit.exchange(answer)

    def _known(self, seen: Seen) -> Record:
        record = self._book.record(seen.target.uid)
        if record is None or not record.public_key:
            problem = "the agent that is to be visited here is not known"
            raise VisitError("unknown", problem, "Remove 'uid' from its definition, or accept the agent")
        return record

    def _visit(self, seen: Seen, key: bytes) -> Visit:
        return Visit(
            seen.dials,
            self._signer,
            seen.nonce,
            uid=seen.target.uid,
            key=key,
            clock=self._clock,
            known=self._book.name_of_key,
        )


def _peer(seen: Seen, record: Record) -> Peer:
    return Peer(address=seen.target.place.host, uid=record.uid, key=record.public_key)
