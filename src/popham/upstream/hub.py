"""Where reports arrive and directives leave: the hub of all agents of one upstream.

Rules:

1. A heartbeat with nothing new touches memory only and is answered at once.
2. What changes is durable before it is answered.
3. News on a held link is the directive itself, computed from the last report;
   if it is lost, the next heartbeat brings the same.
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
from popham.errors import EnrollmentError, NotFoundError, PophamError, StateError, TrustError, WireError
from popham.model.registry import (
    PLAIN_OPAMP,
    Direction,
    IdentityKind,
    Listener,
    find_message,
    find_route,
    require,
)
from popham.net.seam import Answer, HeldLink, Peer, Refusal, Refused, Request, Response
from popham.opamp.codec import (
    bad_request,
    decode_frame,
    encode_frame,
    parse_agent,
    parse_custom,
)
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as own
from popham.opamp.session import Missing
from popham.opamp.wire import OPAMP_PATH, REQUEST_INSTANCE_UID
from popham.upstream.admission import render_admission
from popham.upstream.backlog import Backlog
from popham.upstream.book import Book, Identity
from popham.upstream.callers import UNKNOWN, explain_impostor, explain_unfit, message_limit, shut_out
from popham.upstream.contacts import Contacts
from popham.upstream.counts import Counts
from popham.upstream.directive import plan, quiet, rename
from popham.upstream.documents import CONTENT_PATH, Documents, refused
from popham.upstream.ends import LinkEnd
from popham.upstream.hearing import note
from popham.upstream.heartbeat import Heartbeats
from popham.upstream.keeping import answer_after
from popham.upstream.news import News
from popham.upstream.record import Record
from popham.upstream.room import Room
from popham.upstream.shedding import Shedder, Work
from popham.upstream.steering import Steering
from popham.upstream.telling import Telling, head

_log = logging.getLogger(__name__)
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
            reported: Told of a record in which something changed that an agent said.
        """
        self._book = book
        self._clock = clock
        self._endpoint = endpoint
        self._documents = Documents(book, trust)
        self.room = room or Room(clock)
        self._steering = steering or Steering()
        self._new_uid = new_uid
        self._reported = reported
        self._contacts = Contacts(book, clock)
        self._dirty = self._contacts.dirty
        self._heartbeats = Heartbeats(book, clock, self._dirty, self._steering)
        self._allowed = {
            held: find_route(Listener.AGENTS, "GET" if held else "POST", OPAMP_PATH).identities
            for held in (False, True)
        }
        self._shedder = shedder or Shedder()
        self.counts = Counts()
        self._telling = Telling(
            book, self.counts, endpoint=endpoint, retry_window=lambda: self.room.retry_window
        )
        self._backlog = Backlog(clock, self._hear)
        self._news = News(
            book, clock, self._backlog, self._shedder, tell=self._telling.tell, ask=self._telling.ask
        )

    # Rounds and links.

    def admit(self, peer: Peer, *, held: bool, uid: bytes) -> Refusal | None:
        """Look who it is; nobody unknown may hold a link."""
        try:
            peer.identity = self._book.identify(peer)
        except Refused as error:
            return error.refusal
        if peer.identity.caller not in self._allowed[held]:
            return UNKNOWN
        if not held:
            return None
        record = self._book.record(peer.identity.uid)
        return shut_out(record) or self.room.refusal(peer, record or self._book.find(uid))

    async def other(self, request: Request) -> Response:
        """Answer another path."""
        refusal = self._shedder.refusal(Work.CONTENT) if request.path.startswith(CONTENT_PATH) else None
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
            return self._credentials(uid, peer, message)
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
        record.settled = None
        try:
            missing = record.ear.hear(message)
            heard = note(record, message)
        except PophamError as error:
            return bad_request(record.key, str(error))
        record.contact(self._clock.now(), peer.address)
        self._dirty[record.key] = record
        record.edition += heard.changed
        if heard.changed or record.lacks:
            self._reported(record)
        if message.HasField("agent_disconnect"):
            self._forget(record, end)
            goodbye = quiet(record.key)
            if record.saved == record.edition:
                return goodbye
            return answer_after(self._book, record, lambda: wrap(goodbye))
        if end is not None and record.link is not end.link:
            self._associate(record, end)
        say = partial(
            self._answer,
            record,
            full=missing is Missing.FULL_STATE,
            hello=heard.hello,
            held=end is not None,
            visited=bool(peer.uid),
        )
        if heard.bundle:
            return self._claimed(record, heard.bundle, say)
        if record.saved != record.edition:
            return answer_after(self._book, record, lambda: wrap(say()))
        return say()

    async def _claimed(self, record: Record, bundle: bytes, say: Callable[[], bytes]) -> bytes:
        """Look at a bundle that the agent was asked for, once what else it said is durable."""
        await answer_after(self._book, record, bytes)
        try:
            await self._book.claim(record, bundle)
        except (TrustError, NotFoundError) as error:
            return bad_request(record.key, str(error))
        self.changed([record.group])
        return say()

    def _answer(self, record: Record, *, full: bool, hello: bool, held: bool, visited: bool) -> bytes:
        wanted = self._book.wanted(record.group)
        to = self._telling.address(record, held=held)
        what = plan(record, wanted, full_state=full, hello=hello, endpoint=to)
        what = self._steering.direct(what, record, held=held or visited)
        if what.empty:
            record.settled = wanted
            return head(record)
        if (what.bundle or what.settings) and self._shedder.sheds(Work.POLICY):
            # A later heartbeat brings it: offers follow from digests.
            what = replace(what, bundle=False, settings=False)
            if held:
                self._news.owe(record)
        return self._telling.render(what, record, held=held)

    async def _credentials(self, uid: str, peer: Peer, message: AgentToServer) -> bytes:
        """Answer a certificate request: enrollment with a token, or renewal of a certificate."""
        record = self._book.record(uid)
        if record is not None and peer.identity.uid == uid:
            record.ear.hear(message)
            record.contact(self._clock.now(), peer.address)
            self._dirty[record.key] = record
        csr = message.connection_settings_request.opamp.certificate_request.csr
        try:
            said = message.custom_message
            if not said.capability:
                hint = "Send 'enroll' or 'renew' of io.popham.trust/1 beside it"
                raise EnrollmentError("proof", "a certificate request came without proof", hint)
            kind = find_message(said.capability, said.type, Direction.UP)
            require(kind, peer.identity.caller)
            request = parse_custom(said)
            if isinstance(request, own.Enroll):
                refusal = self._shedder.refusal(Work.CONTENT)
                if refusal is not None:
                    raise Refused(refusal)
                admitted = await self._book.enroll(peer, message.instance_uid, csr, request)
            elif isinstance(request, own.Renew):
                admitted = await self._book.renew(peer, message.instance_uid, csr, request)
            else:
                raise EnrollmentError("proof", "a certificate request came beside another message")
        except StateError:
            raise
        except PophamError as error:
            _log.warning("certificate request from %s refused: %s", peer.address, error)
            return bad_request(message.instance_uid, str(error))
        return render_admission(message.instance_uid, admitted, self._endpoint())

    # Links.

    def _associate(self, record: Record, end: LinkEnd) -> None:
        if record.link is not None:
            record.link.close(1000, "another link of this agent was opened")
        record.link = end.link
        end.records[record.uid] = record

    def _forget(self, record: Record, end: LinkEnd | None) -> None:
        if end is not None and record.link is end.link:
            record.link = record.settled = None
            record.settings_told = b""  # an offer may have been lost with the link

    def unlinked(self, end: LinkEnd) -> None:
        """Take note that a held link is gone."""
        self._backlog.release_link(end)
        self.room.held -= 1
        for record in end.records.values():
            self._forget(record, end)
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
        """Take note that what these groups are to have has changed; agents on links are told."""
        self._news.changed(groups)

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

    async def publish(self) -> None:
        """Tell links about changes, in slices, until cancelled."""
        await self._news.publish()

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
