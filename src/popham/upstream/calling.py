"""How one agent of the schedule is called: who is expected, what is said and brought, and whom the hub hears."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from popham.clock import Clock
from popham.errors import EnrollmentError, VisitError
from popham.model.fleet import Admission
from popham.net.seam import Limits, Peer, Service
from popham.trust.birth import AlreadyBorn
from popham.trust.identity import load_certificate, read_identity
from popham.upstream.birth import is_admitted
from popham.upstream.book import Book, Reading
from popham.upstream.counts import Counts
from popham.upstream.dialled import DialledLink
from popham.upstream.outputs import AgentOutputs, Outputs
from popham.upstream.reading_streams import StreamReading
from popham.upstream.record import Record
from popham.upstream.relay_door import RelayDoor
from popham.upstream.shedding import Shedder
from popham.upstream.sighting import Seen
from popham.upstream.streams import Streams
from popham.upstream.targets import Targets
from popham.upstream.visits import Signer, Visit, hear

UNHELD = frozenset({"visit.cgi", "visit.no_upgrade"})
"""Codes of a way by which there are visits, but no links."""
PASS_MAX = 64
"""Exchanges of one relay pass; what is left waits for the next."""
_log = logging.getLogger(__name__)
T = TypeVar("T")
Lacks = Callable[[Record], Mapping[str, bytes | Reading]]


class Calling:
    """Calls agents, one at a time each."""

    def __init__(
        self,
        service: Service,
        book: Book,
        signer: Signer,
        documents: bytes,
        clock: Clock,
        lacks: Lacks,
        outputs: Outputs | None = None,
        streams: Streams | None = None,
        relaying: RelayDoor | None = None,
    ) -> None:
        """Keep what is needed; arguments as those of :class:`popham.upstream.visitor.Visitor`."""
        self._service = service
        self._book = book
        self._signer = signer
        self._documents = documents
        self._clock = clock
        self._lacks = lacks
        self._outputs = outputs or Outputs(None, Counts())
        self._streams = streams or Streams(None, Shedder())
        self._reading = StreamReading(self._streams, book, clock)
        self._relaying = relaying or RelayDoor()

    async def visit(self, seen: Seen) -> None:
        """Make one visit. Raises VisitError or WireError."""
        seen.unheld = None

        async def run(visit: Visit, record: Record) -> None:
            if not seen.only_reads:
                lacks, outputs = partial(self._lacks, record), self._outputs_of(record)
                await visit.run(self._service, _peer(seen, record), lacks, outputs)
                await self._pass(visit, record)
            await self._reading.in_visit(visit, record)

        await self._call(seen, run)

    async def hold(self, seen: Seen, limits: Limits) -> DialledLink | None:
        """Open a link; where what stands before the agent holds none, make a visit instead and return None.

        Raises:
            VisitError: Neither could be done.
        """
        seen.unheld = None

        async def hold(visit: Visit, record: Record) -> DialledLink:
            connection, frames = await visit.hold()
            peer = _peer(seen, record)
            peer.address, peer.key = visit.address or peer.address, visit.key
            return DialledLink(connection, frames, peer, limits)

        try:
            return await self._call(seen, hold)
        except VisitError as error:
            if error.code not in UNHELD:
                raise
            await self.visit(seen)
            seen.unheld = error
            return None

    async def _call(self, seen: Seen, do: Callable[[Visit, Record], Awaitable[T]]) -> T:
        """Return what ``do`` returns; where another key answers than is known, once more if that is believed."""
        if not self._knows(seen.target.uid):
            await self._introduce(seen)
        record = self._known(seen)
        visit = self._visit(seen, record.public_key)
        try:
            return await do(visit, record)
        except VisitError as error:
            if error.code != "visit.signature" or not await self._rejoins(seen, record):
                raise
        record = self._known(seen)
        return await do(self._visit(seen, record.public_key), record)

    async def _rejoins(self, seen: Seen, record: Record) -> bool:
        """Return whether the agent has another key than is known here, and its certificate is believed."""
        try:
            return await self._introduce(seen, record.public_key)
        except VisitError:
            return False  # what was refused first says more

    async def _introduce(self, seen: Seen, key: bytes = b"") -> bool:
        """Return whether the agent that is meant shows a certificate that is believed, for another key than ``key``.

        Raises:
            VisitError: It could not be asked, or shows none.
        """
        if not self._book.forgets:
            return False
        visit = self._visit(seen, key)
        certificate = await visit.prove(self._documents)
        if seen.target.uid not in {"", read_identity(load_certificate(certificate)).uid}:
            return False
        return await self._book.rejoin(certificate, visit.address or seen.target.place.host)

    async def bring(self, seen: Seen) -> bool:
        """Bring what the agent lacks, and fetch its outputs; return whether there is more of either by now.

        Raises:
            VisitError: It could not be done.
        """
        record = self._known(seen)
        visit, lacking = self._visit(seen, record.public_key), self._lacks(record)
        outputs = self._outputs_of(record)
        lacked = set(outputs.lacks())
        for sha256, body in lacking.items():
            await visit.bring(sha256, body)
        await visit.fetch(outputs)
        lacked -= outputs.taken  # what of it is lacked once more is another operation's
        more = bool(lacking) and not set(record.lacks) <= lacking.keys()
        return more or not lacked.issuperset(outputs.lacks())

    async def read(self, seen: Seen) -> bool:
        """Read the streams that the agent says that it is to be asked for; return whether it has said so again.

        Raises:
            VisitError: It could not be done.
        """
        record = self._known(seen)
        await self._reading.beside(self._visit(seen, record.public_key), record)
        return self._streams.is_ready(record.uid)

    async def relay(self, seen: Seen) -> bool:
        """Exchange with a Proxy Manager what there is to relay; return False: all of it was.

        Raises:
            VisitError: It could not be done.
        """
        record = self._known(seen)
        await self._pass(self._visit(seen, record.public_key), record)
        return False

    def relays_with(self, seen: Seen) -> bool:
        """Return whether an agent is a Proxy Manager that relays here."""
        record, relays = self._book.record(seen.target.uid), self._relaying.relays
        return relays is not None and record is not None and relays.serves(record)

    async def _pass(self, visit: Visit, record: Record) -> None:
        """Exchange messages with a Proxy Manager until neither end has more to say."""
        relays = self._relaying.relays
        if relays is None or not relays.serves(record):
            return
        try:
            said: bytes | None = relays.begin(record)
            for _ in range(PASS_MAX):
                if said is None:
                    return
                said = await relays.heard(record, await visit.relay(said))
        except VisitError as error:
            if not error.status:
                raise
            # It answers, and serves for everything else: it is of an older version, or was not begun as a proxy.
            _log.warning("%s does not relay: %s", record.name, error)

    async def find(self, seen: Seen, targets: Targets) -> None:
        """Ask whoever is where a definition points: an agent that waits to be born, or one that is known.

        Who is born is visited at once, over the same connection.

        Raises:
            EnrollmentError: It waits to be born, and may not be.
            PophamError: As elsewhere; or the definition is another agent's.
        """
        visit, answer = self._visit(seen, b""), b""
        host = seen.target.place.host
        try:
            heard = await self._birth(seen, visit)
        except AlreadyBorn as born:
            await targets.found(seen.target, born.uid)
        else:
            # What comes is signed by this key, and by nobody's certificate yet.
            peer = Peer(address=visit.address or host, key=visit.key)
            answer = await hear(self._service, peer, heard)
            if self._key_of(visit.uid) == visit.key:
                await targets.found(seen.target, visit.uid)
            try:
                admitted = is_admitted(answer)
            except EnrollmentError:
                await visit.exchange(answer)
                raise
            if not admitted:
                await visit.exchange(answer)
                return
        record = self._book.record(visit.uid)
        if record is not None:
            peer = Peer(address=host, uid=visit.uid, key=visit.key)
            outputs = self._outputs_of(record)
            if record.admission is not Admission.ACCEPTED:
                await self._pass(
                    visit, record
                )  # it may have been a Proxy Manager, and is to hear that it is none
            await visit.run(self._service, peer, partial(self._lacks, record), outputs, said=answer)

    async def _birth(self, seen: Seen, visit: Visit) -> bytes:
        """Return the request of whoever waits there; one that was born elsewhere is believed by its certificate.

        Raises:
            AlreadyBorn: An agent of this fleet answers.
            VisitError: As elsewhere.
        """
        try:
            return await visit.birth(self._documents, self._key_of)
        except VisitError as error:
            if error.code != "visit.unknown" or not await self._introduce(seen):
                raise
        return await visit.birth(self._documents, self._key_of)

    def _outputs_of(self, record: Record) -> AgentOutputs:
        return AgentOutputs(self._outputs, record)

    def _key_of(self, uid: str) -> bytes:
        record = self._book.record(uid)
        return record.public_key if record is not None else b""

    def _keys_of(self, uid: str) -> tuple[bytes, ...]:
        record = self._book.record(uid)
        return (record.public_key, record.former_key) if record is not None else ()

    def _knows(self, uid: str) -> bool:
        record = self._book.record(uid)
        return record is not None and bool(record.public_key)

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
            also=lambda: self._keys_of(seen.target.uid) if key else (),
        )


def _peer(seen: Seen, record: Record) -> Peer:
    """Return who is called; a name of the host, until the address that was dialled is known."""
    return Peer(address=seen.target.place.host, uid=record.uid, key=record.public_key)
