"""The agent's end of its session: what it says, and what it does with what it hears.

It knows neither mode nor dialer nor transport; :mod:`popham.link.driver` does.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from popham.agent.bringing import AWAITED, Bringing
from popham.agent.credentials import Credentials, refuse_private_key
from popham.agent.dialing import FIRST, settings_for
from popham.agent.downloads import Downloads
from popham.agent.enforcer import Enforcer, Fetch
from popham.agent.records import Standing
from popham.agent.saying import describe, raise_refusal, read_reference
from popham.agent.state import AgentState
from popham.agent.state_record import SENTENCE, make_record
from popham.errors import LinkError, TrustError, WireError
from popham.link.cadence import bound_stretch
from popham.model.communication import CommunicationSettings, Dialer, Mode
from popham.model.generation import GENERATION, check_generations
from popham.model.names import digest
from popham.model.status import Outcome, StateRecord
from popham.opamp.codec import custom, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentRemoteConfig,
    RemoteConfigStatus,
    RemoteConfigStatuses,
    ServerToAgent,
)
from popham.opamp.schema.popham.v1.popham_pb2 import Admission, Directive, Report
from popham.opamp.session import AgentSession, Parts
from popham.opamp.wire import BLOB_KEY, BUNDLE_KEY, OWN_AGENT, REFERENCE_TYPE, SESSION, TRUST
from popham.trust.verify import check_blob, seal_state

_log = logging.getLogger(__name__)
_FACTS, _FACT = 32, 64
"""Facts of a machine, and characters of each: a report has to fit into 8 KiB."""
STRAY = "link.servers"
"""Code of a fallback: no server of the list answers, so the addresses of the join string are dialled."""
_GONE = 404
_STATUS = {
    Outcome.NONE: RemoteConfigStatuses.RemoteConfigStatuses_UNSET,
    Outcome.APPLYING: RemoteConfigStatuses.RemoteConfigStatuses_APPLYING,
    Outcome.APPLIED: RemoteConfigStatuses.RemoteConfigStatuses_APPLIED,
    Outcome.FAILED: RemoteConfigStatuses.RemoteConfigStatuses_FAILED,
}


class AgentEnd:
    """One agent's end of its session with whatever is upstream.

    Attributes:
        news: Set when there is something to say, or a round is wanted now.
        retry_window: Seconds from which upstream wants a first retry drawn; 0 while it has named none.
        stretch: Seconds by which upstream wants the next round later; until its next answer.
        fallback: Code of why this end pulls although it is to hold a link; empty if it does not.
        fetch: Fetches bodies, or has them brought.
        text: The last sentence upstream had for this machine's status page.
        server: URL of the server that answered last; empty before the first.
        service, serving: Where this machine's service is to be visited; empty while it is off, and whether it is on.
        unvisited: Code of why this end dials although it is to be visited; empty if it does not.
    """

    def __init__(
        self,
        state: AgentState,
        enforcer: Enforcer,
        credentials: Credentials,
        *,
        facts: Mapping[str, str],
        fetch: Fetch,
        version: str,
        news: asyncio.Event,
        hold_now: Callable[[CommunicationSettings], CommunicationSettings] = lambda ordered: ordered,
        draw: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Begin a session where the last one ended.

        Args:
            state: What this machine keeps.
            enforcer: Keeps the machine on its orders.
            credentials: Renew themselves over this session.
            facts: Told of the machine.
            fetch: Fetches a body.
            version: This program's.
            news: Set when a round is wanted.
            hold_now: Returns what holds at this time, on this link, of the settings that were ordered.
            draw: Random number in [0, 1), for the spread of downloads.
        """
        self.news = news
        self.retry_window = 0.0
        self.stretch = 0.0
        self.fallback = ""
        self.text = ""
        self.server = ""
        self.service, self.serving = "", False
        self.unvisited = ""
        self._stray = False
        self._hold_now = hold_now
        self._downloads = Downloads(draw, news.set)
        self._begun = self._asked = self._offered = False
        self._state = state
        self._walled = bool((join := state.join()) and join.walled)
        self._enforcer = enforcer
        self._credentials = credentials
        self._facts = {key[:_FACT]: value[:_FACT] for key, value in sorted(facts.items())[:_FACTS]}
        self.fetch = Bringing(fetch)
        self._version = version
        key = uuid.UUID(state.uid).bytes
        # The uid stands in the certificate; nobody upstream can give another.
        self._session = AgentSession(key, int(OWN_AGENT), (SESSION, TRUST), adopts=False)
        self._description = describe(state.uid, version, self._facts)
        self._sealed: tuple[StateRecord, bytes] | None = None
        self._wanted = False
        self._bundle_wanted = False
        self._stirred = self._stirring()
        self._mark = -1
        enforcer.brought = self._note_brought

    @property
    def uid(self) -> bytes:
        """instance_uid, 16 bytes."""
        return self._session.uid

    @property
    def settings(self) -> CommunicationSettings:
        """The communication settings in force; with an expired certificate, those of the first round.

        Nobody lets such an agent hold a link: it has to renew first, by a round of its own.
        """
        in_force = self._in_force()
        if not self._credentials.expired:
            return in_force
        if in_force.dialer is Dialer.MANAGER:
            return replace(in_force, mode=Mode.PULL)
        return FIRST

    @property
    def ordered(self) -> CommunicationSettings:
        """The communication settings as they were ordered, for all times and links."""
        ordered = self._enforcer.ordered
        settings = ordered.held.communication if ordered else None
        return settings_for(settings, self._enforcer.assignment, walled=self._walled)

    def _in_force(self) -> CommunicationSettings:
        return self._hold_now(self.ordered)

    @property
    def standing(self) -> Standing:
        """Where the machine is."""
        return self._enforcer.standing

    def check_in(self) -> None:
        """Have a round made now, and what failed tried again."""
        self._enforcer.look_again()
        self._wanted = self._asked = True
        self._downloads.cancel()
        self.news.set()

    def opened(self) -> None:
        """Take note of a new held link."""
        self.fallback = ""
        self._session.opened()

    def fall_back(self, code: str) -> None:
        """Take note that this end pulls instead of holding a link, and why; empty if it does not."""
        self.fallback = code

    def serves(self, service: str) -> None:
        """Take note of where this machine's service is to be visited from now on; empty if it is off."""
        self.service, self.serving = service, bool(service)
        self.news.set()

    def note_unvisited(self, code: str) -> None:
        """Take note that this end dials although it is to be visited, and why; empty if it does not."""
        self.unvisited = code

    def dialled(self, url: str, stray: bool) -> None:
        """Take note of which server answers, and whether it is none of the list that was ordered."""
        self.server, self._stray = url, stray

    def stirred(self) -> bool:
        """Return whether a change was applied, or something failed, since this was last asked."""
        before, self._stirred = self._stirred, self._stirring()
        return self._stirred != before

    def _stirring(self) -> tuple[object, ...]:
        progress = self._enforcer.progress
        # Another location of the same bundle is none: what holds there was known before.
        return progress.applied_serial, progress.error_code, progress.error

    def lost(self) -> None:
        """Take note that what is unanswered may not have arrived."""
        self._session.lost()
        self._credentials.lost()

    def goodbye(self) -> bytes:
        """Return the last message of all."""
        self._downloads.cancel()
        return self._session.goodbye()

    # What it says.

    def report(self, *, force: bool) -> bytes | None:
        """Return the next message; None if there is nothing new and ``force`` is False."""
        request = self._credentials.request()
        if request is not None:
            # It is answered with a certificate alone; the report that was wanted follows it.
            self._wanted = self._wanted or force
            return self._session.request(request)
        wanted, self._wanted = self._wanted, False
        return self._session.message(self._parts(), force=force or wanted)

    def _parts(self) -> Parts:
        newest = self._enforcer.newest
        status = None
        if newest is not None:
            progress = self._enforcer.progress
            status = RemoteConfigStatus(
                last_remote_config_hash=bytes.fromhex(newest.bundle.content_digest),
                status=_STATUS[progress.outcome],
                error_message=progress.error[:SENTENCE],
            )
        report = Report(generation=GENERATION, state=self._state_envelope())
        report.lacks.extend(self.fetch.name())
        if self._bundle_wanted:
            report.bundle = self._state.bundle() or b""
            self._bundle_wanted = False
        return Parts(self._description, status, custom(report))

    def record(self) -> StateRecord:
        """Return the state record as it would be signed now."""
        settings = self._in_force()
        return make_record(
            self._enforcer,
            self._state.uid,
            facts=self._facts,
            version=self._version,
            promise=settings.heartbeat,
            mode=Mode.PULL if self.fallback else settings.mode,
            fallback=self.fallback or self.unvisited or (STRAY if self._stray else ""),
            server=self.server,
            service=self.service,
            dialer=settings.dialer,
        )

    def _state_envelope(self) -> bytes:
        """Return the signed record; signed anew, under a new revision, only if something in it changed."""
        record = self.record()
        if self._sealed is None or self._sealed[0] != record:
            if self._sealed is None or self._sealed[0].revision == record.revision:
                self._enforcer.revise()
                record = self.record()
            self._sealed = record, seal_state(record, self._state.identity_key())
        return self._sealed[1]

    # What it hears.

    def _note_brought(self) -> None:
        """Take note that answers to what was said until now do not speak for the set that came into force."""
        self._mark = self._session.said

    async def receive(self, data: bytes) -> None:
        """Take one message from upstream, and do what it says.

        Raises:
            WireError: It is malformed, or says that ours was.
            LinkError: What it names could not be fetched, or it asks to stay away.
        """
        if not data:
            self._enforcer.heard(answered=self._session.answered > self._mark)
            return
        message = self._session.receive(data)
        self._enforcer.heard(answered=self._session.answered > self._mark)
        if message.HasField("error_response"):
            if not self._credentials.refused(message.error_response.error_message):
                raise_refusal(message.error_response)
            return
        try:
            try:
                await self._obey(message)
            except TrustError as error:
                self._enforcer.refuse(error)
            if not self._put_off():
                self._asked = False
                await self.settle()
            self._begun = True
        except LinkError as error:
            if error.code == AWAITED:
                self.news.set()  # that the bundle itself is to be brought
                return
            if error.status != _GONE:
                raise
            # What was named has been replaced meanwhile; the link is well, and brings what there is now.
            _log.info("what was offered is there no more: %s", error)

    async def settle(self) -> None:
        """Bring into force what is to be; what has to be brought first is named in the next report.

        Raises:
            LinkError: A body could not be fetched.
        """
        try:
            await self._enforcer.settle(self.fetch)
        except LinkError as error:
            if error.code != AWAITED:
                raise
            self.fetch.want(self._enforcer.lacking)
            self.news.set()

    async def bring(self, sha256: str, body: bytes) -> None:
        """Take a body that this end named as lacking; with the last one what it belongs to comes into force.

        Raises:
            VisitError: ``visit.unwanted``: nobody asked for it.
            TrustError: It is not what its digest says.
        """
        if self.fetch.take(sha256, body):
            await self.settle()
        elif self.fetch.unnamed:
            self.news.set()

    def _put_off(self) -> bool:
        """Return whether bodies that a bundle named in pull still wait for their part of the spread."""
        offered, self._offered = self._offered, False
        pulls = self.fetch.dials() and (self.settings.mode is Mode.PULL or bool(self.fallback))
        begins = offered and pulls and self._begun and not self._asked
        if not begins and not self._downloads.waiting:
            return False
        # Asked last, since it reads every body from the disk.
        if not self._enforcer.missing:
            self._downloads.cancel()
            return False
        if begins:
            self._downloads.begin(self.settings.window)
        return self._downloads.waiting

    async def _obey(self, message: ServerToAgent) -> None:
        heard = parse_custom(message.custom_message) if message.HasField("custom_message") else None
        certificate = message.connection_settings.opamp.certificate
        refuse_private_key(certificate)
        self.stretch = 0.0
        if isinstance(heard, Directive):
            self._direct(heard)
        if isinstance(heard, Admission):
            self._credentials.receive(certificate, heard)
            if heard.assignment:
                self._enforcer.assign(heard.assignment)
        if message.HasField("remote_config"):
            await self._take(message.remote_config)

    def _direct(self, directive: Directive) -> None:
        check_generations(directive.generation or GENERATION, GENERATION, Dialer.AGENT)
        if directive.retry_window_seconds > 0:
            self.retry_window = min(max(directive.retry_window_seconds, 1.0), 3600.0)
        self.text = directive.text[:SENTENCE]
        self.stretch = bound_stretch(self.settings.heartbeat, directive.stretch_seconds)
        if directive.assignment:
            self._enforcer.assign(directive.assignment)
        if directive.want_bundle:
            self._bundle_wanted = True
            self._session.opened()
            # Upstream asks so by itself, as long as it is behind: nothing that failed is tried again for that.
            self._wanted = True
            self.news.set()
        if directive.check_in:
            self.check_in()

    async def _take(self, offer: AgentRemoteConfig) -> None:
        held = offer.config.config_map
        if BUNDLE_KEY not in held:
            raise WireError("offer", "an offer has no bundle")
        envelope, newest = held[BUNDLE_KEY].body, self._state.bundle()
        if held[BUNDLE_KEY].content_type == REFERENCE_TYPE:
            envelope = await self._fetch_named(envelope, newest or b"")
        if envelope != newest:
            self.fetch.forget()
        blobs = {
            key.removeprefix(BLOB_KEY): value.body for key, value in held.items() if key.startswith(BLOB_KEY)
        }
        self._enforcer.take(envelope, blobs)
        self._offered = True

    async def _fetch_named(self, body: bytes, newest: bytes) -> bytes:
        sha256, length = read_reference(body)
        if digest(newest) == sha256:
            return newest  # it was on its way when this was said
        envelope = await self.fetch(sha256, length)
        check_blob(envelope, sha256, length)
        return envelope
