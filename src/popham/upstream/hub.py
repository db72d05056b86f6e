"""Where reports arrive and directives leave: the hub of all agents of one upstream.

Rules:

1. A heartbeat with nothing new touches memory only and is answered at once.
2. What changes is durable before it is answered.
3. News on a held link is the directive, from the last report; if it is lost, the next heartbeat brings the same.
4. No task and no timer per agent: one task publishes, one flushes contacts.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from uuid_utils import uuid7

from popham.clock import Clock
from popham.errors import NotFoundError, PophamError, TrustError, WireError
from popham.model.registry import PLAIN_OPAMP, IdentityKind, Listener, find_route
from popham.net.seam import Answer, HeldLink, Peer, Refusal, Refused, Request, Response
from popham.opamp.codec import bad_request, decode_frame, encode_frame, parse_agent
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.session import Missing
from popham.opamp.wire import OPAMP_PATH, PROXY, REQUEST_INSTANCE_UID, STREAMS
from popham.upstream.backlog import Backlog
from popham.upstream.book import Book, Identity
from popham.upstream.callers import UNKNOWN, explain_impostor, explain_unfit, message_limit, shut_out
from popham.upstream.contacts import Contacts
from popham.upstream.counts import Counts
from popham.upstream.credentials import Credentials
from popham.upstream.directive import is_ordered, plan, quiet, rename
from popham.upstream.documents import CONTENT_PATH, Documents, refused
from popham.upstream.ends import LinkEnd
from popham.upstream.hearing import Heard
from popham.upstream.heartbeat import Heartbeats
from popham.upstream.intake import Intake, OtlpIntake
from popham.upstream.invitations import Invitations
from popham.upstream.keeping import answer_after
from popham.upstream.news import News
from popham.upstream.orders import Ordering
from popham.upstream.outputs import OUTPUTS_PATH, Outputs
from popham.upstream.record import Record
from popham.upstream.relay_door import RelayDoor
from popham.upstream.reports import Reports
from popham.upstream.room import Room
from popham.upstream.shedding import Shedder, Work
from popham.upstream.steering import Steering
from popham.upstream.streams import Streams
from popham.upstream.telling import Telling, head

_log = logging.getLogger(__name__)
_LARGE = (CONTENT_PATH, OUTPUTS_PATH)
"""Beginnings of paths that are left out under load."""
_ALLOWED = {
    held: find_route(Listener.AGENTS, "GET" if held else "POST", OPAMP_PATH).identities
    for held in (False, True)
}
"""Who may make rounds, and who may hold links."""
_BESIDE = frozenset({STREAMS, PROXY})
"""Capabilities of messages that say nothing of the agent; a heartbeat stays settled by them."""
Wrap = Callable[[bytes], bytes]


class Hub:
    """Serves agents on a listener; the :class:`Service` of rounds and held links."""

    def __init__(
        self,
        book: Book,
        clock: Clock,
        *,
        endpoint: Callable[[], str],
        trust: Mapping[str, bytes],
        room: Room | None = None,
        steering: Steering | None = None,
        shedder: Shedder | None = None,
        new_uid: Callable[[], bytes] = lambda: uuid7().bytes,
        reported: Callable[[Record], None] = lambda _record: None,
        ordering: Ordering | None = None,
        intake: Intake | None = None,
        otlp: OtlpIntake | None = None,
        nonce: Callable[[], bytes] | None = None,
    ) -> None:
        """Keep what is needed.

        Args:
            book: Who keeps the records.
            clock: Wall time for last contacts.
            endpoint: URL that stock agents are told to dial.
            trust: Path → document, for whoever enrolls.
            room: Says whether one more link may be held; None for any number.
            steering: Says by how much rounds are put off under load; None for never.
            shedder: Says what is left out under load; None to leave out nothing.
            new_uid: Makes instance_uids for stock agents that ask for one.
            reported: Told of a record in which something changed that an agent said, or whose outputs are wanted.
            ordering: Who keeps operations; None if nothing is ordered here.
            intake: Takes streams; None if none are taken here.
            otlp: Likewise of plain OTLP.
            nonce: Returns the newest nonce of a Proxy Manager; None at a Manager, which has none.
        """
        self._book, self._clock, self.relaying = book, clock, RelayDoor()
        self.room, self._steering = room or Room(clock), steering or Steering()
        self.reports = Reports(book, ordering, reported, self.changed, vouched=nonce is not None)
        self._new_uid, self._contacts = new_uid, Contacts(book, clock)
        self._dirty = self._contacts.dirty
        self._heartbeats = Heartbeats(book, clock, self._dirty, self._steering)
        self.counts, self._shedder = Counts(), shedder or Shedder()
        self._credentials = Credentials(book, clock, self._dirty, self._shedder, endpoint)
        self.outputs, self.streams = Outputs(ordering, self.counts), Streams(intake, self._shedder)
        parts = self.outputs, self.streams, otlp, self._shedder, self.relaying
        documents = self._documents = Documents(book, trust, *parts)
        self.relay, self.may_relay = documents.relay, documents.may_relay
        self.invitations = Invitations(self.streams)
        self._telling = telling = Telling(
            *(book, self.counts),
            endpoint=endpoint,
            retry_window=lambda: self.room.retry_window,
            ordering=ordering,
            telemetry=otlp is not None,
            nonce=nonce or bytes,
        )
        self._backlog = Backlog(clock, self._hear)
        self._news = News(
            book, clock, self._backlog, self._shedder, tell=telling.tell, ask=telling.ask, order=telling.order
        )

    # Rounds and links.

    def admit(self, peer: Peer, *, held: bool, uid: bytes) -> Refusal | None:
        """Look who it is; nobody unknown may hold a link."""
        try:
            peer.identity = self._book.identify(peer)
        except Refused as error:
            return error.refusal
        if peer.identity.caller not in _ALLOWED[held] and not peer.identity.rejoins:
            return UNKNOWN
        if not held:
            return None
        record = self._book.record(peer.identity.uid)
        return shut_out(record) or self.room.refusal(peer, record or self._book.find(uid))

    async def other(self, request: Request) -> Response:
        """Answer another path."""
        refusal = self._shedder.refusal(Work.CONTENT) if request.path.startswith(_LARGE) else None
        return refused(refusal) if refusal else await self._documents.answer(request)

    def round(self, peer: Peer, body: bytes) -> Answer:
        """Answer one message that came by HTTP."""
        self.counts.rounds += 1
        answer = self._heartbeats.answer(peer, body, None)
        if answer:
            return answer
        try:
            message = parse_agent(body, limit=message_limit(peer.identity))
        except WireError as error:
            return bad_request(bytes(16), str(error))
        return self._heard(peer, message, None)

    def opened(self, link: HeldLink) -> LinkEnd:
        """Take a held link."""
        self.room.held += 1
        return LinkEnd(self, link)

    @property
    def left_out(self) -> Mapping[str, int]:
        """Return kind of work → how often it was left out under load."""
        found = {work.name.lower(): count for work, count in self._shedder.left_out.items()}
        return found | {"link": self.room.refused, "round": self._steering.stretched}

    # What agents say.

    def _heard(self, peer: Peer, message: AgentToServer, end: LinkEnd | None) -> Answer:
        identity: Identity = peer.identity
        record = self._book.find(message.instance_uid)
        uid = record.uid if record is not None else str(uuid.UUID(bytes=message.instance_uid))
        if message.connection_settings_request.opamp.HasField("certificate_request"):
            return self._credentials.answer(uid, peer, message)
        rejoins = identity.rejoins and identity.uid == uid
        if rejoins:
            # By its certificate it is one of ours; its key is looked at before anything that it says.
            identity = replace(identity, caller=IdentityKind.AGENT)
        if identity.caller not in PLAIN_OPAMP:
            raise Refused(UNKNOWN)
        problem = explain_impostor(identity, uid, record)
        if problem:
            _log.warning("%s spoke as %s from %s", identity.uid or identity.token, uid, peer.address)
        problem = problem or explain_unfit(message, identity)
        if problem:
            return bad_request(message.instance_uid, problem)
        if record is None:
            if message.HasField("agent_disconnect"):
                return quiet(message.instance_uid)
            if message.flags & REQUEST_INSTANCE_UID and identity.caller is IdentityKind.STOCK:
                return rename(message.instance_uid, self._new_uid())
        if record is None or rejoins:
            return self._meet(peer, message, end)
        return self._take(record, peer, message, end, bytes if end is None else encode_frame)

    async def _meet(self, peer: Peer, message: AgentToServer, end: LinkEnd | None) -> bytes:
        record = await self._book.meet(peer.identity, message.instance_uid, peer)
        answer = self._take(record, peer, message, end, bytes)
        return answer if isinstance(answer, bytes) else await answer

    def _take(
        self, record: Record, peer: Peer, message: AgentToServer, end: LinkEnd | None, wrap: Wrap
    ) -> Answer:
        """Take note of what a known agent says, and answer; an answer that is a future is wrapped already."""
        refusal = shut_out(record)
        if refusal is not None:
            raise Refused(refusal)
        if message.custom_message.capability in _BESIDE:
            return self._take_beside(record, peer, message, end)
        record.settled = None
        try:
            missing = record.ear.hear(message)
            heard = self.reports.note(record, message)
        except PophamError as error:
            return bad_request(record.key, str(error))
        record.contact(self._clock.now(), peer.address)
        self._dirty[record.key] = record
        record.edition += heard.changed
        self.reports.tell(record, changed=heard.changed)
        say: Callable[[], bytes]
        if message.HasField("agent_disconnect"):
            if end is not None:
                end.forget(record)
            say = partial(quiet, record.key)
        else:
            if record.via:
                self.relaying.came(record)
            say = partial(
                self._answer,
                record,
                peer,
                full=missing is Missing.FULL_STATE,
                hello=heard.hello,
                held=end is not None,
            )
            if end is not None and record.link is not end.link:
                end.associate(record)
                say = self.invitations.following(say, record, end.link)
        self.counts.results += heard.results
        if heard.bundle or heard.durable is not None:
            return self._answer_later(record, heard, say)
        if record.saved != record.edition:
            return answer_after(self._book, record, lambda: wrap(say()))
        return say()

    def _take_beside(self, record: Record, peer: Peer, message: AgentToServer, end: LinkEnd | None) -> Answer:
        """Answer a message that says something beside reports: nothing else is in it, or in its answer."""
        full = record.ear.hear(message) is Missing.FULL_STATE
        record.contact(self._clock.now(), peer.address)
        self._dirty[record.key] = record
        if message.custom_message.capability == PROXY:
            return self.relaying.woken(record)
        return self.streams.hear(record, message, end.link if end is not None else None, full=full)

    async def _answer_later(self, record: Record, heard: Heard, say: Callable[[], bytes]) -> bytes:
        """Answer once results are durable, and a bundle that the agent was asked for was looked at."""
        try:
            await self.reports.durable(record, heard)
        except (TrustError, NotFoundError) as error:
            return bad_request(record.key, str(error))
        return say()

    def _answer(self, record: Record, peer: Peer, *, full: bool, hello: bool, held: bool) -> bytes:
        wanted, visited = self._book.wanted(record.group), bool(peer.uid)
        to = self._telling.destinations(record, wanted, peer, held=held)
        ordered = is_ordered(record, visited=visited)
        what = plan(record, wanted, full_state=full, hello=hello, to=to, ordered=ordered)
        what = self._steering.direct(what, record, held=held or visited)
        if what.empty:
            if record.orders is None or record.orders.empty:
                record.settled = wanted
            return head(record)
        if (what.bundle or what.settings) and self._shedder.sheds(Work.POLICY):
            # A later heartbeat brings it: offers follow from digests.
            what = replace(what, bundle=False, settings=False)
            if held:
                self._news.owe(record)
        if held and what.bundle and what.orders:
            # They have a message of their own: here there may be no room for them.
            what = replace(what, orders=False)
            self._news.order([record.uid])
        return self._telling.render(what, record, peer, held=held)

    # Links.

    def unlinked(self, end: LinkEnd) -> None:
        """Take note that a held link is gone."""
        self._backlog.release_link(end)
        self.room.held -= 1
        for record in end.records.values():
            end.forget(record)
        end.records.clear()

    def drop(self, uid: str, reason: str) -> None:
        """Close an agent's held link, if there is one: it was refused or revoked."""
        record = self._book.record(uid)
        if record is not None and record.link is not None:
            record.link.close(1008, reason)

    def verify_links(self) -> None:
        """Close the links of those whose credentials serve no more: a token was revoked."""
        for record in self._book.records():
            if record.link is not None:
                try:
                    self._book.identify(record.link.peer)
                except Refused as error:
                    record.link.close(1008, error.refusal.body)

    # News.

    def changed(self, groups: Iterable[str]) -> None:
        """Take note that what these groups are to have has changed; agents on links are told, and proxies."""
        self.relaying.changed(names := tuple(groups))
        self._news.changed(names)

    def tell(self, uid: str) -> None:
        """Tell one agent what it should be told now, if a link is held."""
        record = self._book.record(uid)
        if record is not None:
            self._telling.tell(record)

    def check_in(self, uid: str) -> bool:
        """Have one agent asked for a round now; False if no link is held."""
        record = self._book.record(uid)
        if record is None or record.link is None:
            return False
        self._news.ask(record)
        return True

    def wake(self, record: Record) -> bool:
        """Tell a Proxy Manager that there is something to relay; False if no link is held."""
        return self._telling.wake(record)

    def tell_orders(self, uids: Iterable[str]) -> None:
        """Take note that something is ordered of these agents; those on links are told, in this order."""
        self._news.order(uids)

    async def publish(self) -> None:
        """Tell links about changes, in slices, and new ones how far streams are, until cancelled."""
        async with asyncio.TaskGroup() as telling:
            telling.create_task(self._news.publish())
            telling.create_task(self.invitations.run())

    async def flush(self, every: float) -> None:
        """Make last contacts durable each ``every`` seconds, until cancelled; then once more."""
        await self._contacts.flush(every)

    async def flush_now(self) -> None:
        """Make last contacts durable."""
        await self._contacts.flush_now()

    def hear(self, end: LinkEnd, data: bytes) -> Answer:
        """Answer one message of a held link, both with the WebSocket header; a report may have to wait."""
        self.counts.heard += 1
        peer = end.link.peer
        try:
            peer.identity = self._book.identify(peer)
        except Refused as error:
            return _shut(end, error)
        quick = self._heartbeats.answer(peer, data, end.link)
        if quick:
            return encode_frame(quick)
        return self._backlog.keep(end, data) if self._backlog.takes(end, data) else self._hear(end, data)

    def _hear(self, end: LinkEnd, data: bytes) -> Answer:
        peer = end.link.peer
        try:
            peer.identity = self._book.identify(peer)
            answer = self._heard(peer, parse_agent(decode_frame(data)), end)
        except WireError as error:
            return encode_frame(bad_request(bytes(16), str(error)))
        except Refused as error:
            return _shut(end, error)
        if isinstance(answer, bytes):
            return encode_frame(answer)
        return answer if isinstance(answer, asyncio.Future) else self._framed(end, answer)

    async def _framed(self, end: LinkEnd, answer: Awaitable[bytes]) -> bytes:
        try:
            return encode_frame(await answer)
        except Refused as error:
            return _shut(end, error)


def _shut(end: LinkEnd, error: Refused) -> bytes:
    """Close the link of an agent that may not speak; there is no answer."""
    end.link.close(1008, error.refusal.body[:120])
    return b""
