"""What an agent's end hears from its upstream, and what it does about it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from popham.agent.bringing import AWAITED, Bringing
from popham.agent.credentials import Credentials, refuse_private_key
from popham.agent.dialing import FIRST, settings_for
from popham.agent.downloads import Downloads
from popham.agent.enforcer import Enforcer, Fetch
from popham.agent.saying import raise_refusal, read_reference
from popham.agent.state import AgentState
from popham.agent.state_record import SENTENCE
from popham.errors import LinkError, TrustError, WireError
from popham.link.cadence import bound_stretch
from popham.model.communication import CommunicationSettings, Dialer, Mode
from popham.model.generation import GENERATION, check_generations
from popham.model.names import digest
from popham.model.status import Outcome
from popham.opamp.codec import parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentRemoteConfig, ServerToAgent
from popham.opamp.schema.popham.v1 import popham_pb2
from popham.opamp.schema.popham.v1.popham_pb2 import Admission, Directive, Standings
from popham.opamp.session import AgentSession
from popham.opamp.wire import BLOB_KEY, BUNDLE_KEY, OWN_AGENT, PROXY, REFERENCE_TYPE, SESSION, STREAMS, TRUST
from popham.streams.frame import Stream
from popham.trust.verify import check_blob

_log = logging.getLogger(__name__)
_GONE: Final = 404
NONCE_MAX: Final = 32
"""Bytes of a nonce of a Proxy Manager; a longer one is none."""
MOMENT: Final = 5.0
"""Seconds that a round waits for what was begun in it, so that it brings the outcome."""


class Ordered(Protocol):
    """What takes operations; :class:`popham.agent.operations.runner.Operations` does."""

    @property
    def paused_at(self) -> float:
        """When collection was paused, in unix seconds; 0 while it is not."""
        ...

    def take(self, envelopes: Sequence[bytes]) -> None:
        """Take documents of operations. Raises TrustError for one that may not be believed."""
        ...

    def heard(self, named: Sequence[str]) -> None:
        """Take note of results that are durable upstream, as ``nonce:revision``."""
        ...

    def want_outputs(self, digests: Sequence[str]) -> None:
        """Bring these outputs."""
        ...

    def settled(self) -> None:
        """Take note that what is to be in force was seen to."""
        ...

    def results(self) -> list[bytes]:
        """Return sealed results that upstream did not name as heard."""
        ...

    async def rest(self, seconds: float) -> None:
        """Wait until nothing is worked on, no longer than ``seconds``."""
        ...

    def output(self, sha256: str) -> bytes | None:
        """Return an output of an operation; None if it is not kept."""
        ...


class Streams(Protocol):
    """What sends streams; :class:`popham.agent.streams.sending.Sending` does."""

    def opened(self) -> None:
        """Take note of a new held link."""
        ...

    def release(self) -> None:
        """Let everything go that is there."""
        ...

    def wake(self) -> None:
        """Take note that upstream said something, so that other settings may hold, or that a link is gone."""
        ...

    async def hear(self, standings: Sequence[popham_pb2.Standing]) -> None:
        """Take note of how far upstream is, as it said over the held link. Raises WireError."""
        ...

    async def asked(self, stream: Stream, standing: bytes, limit: int) -> bytes | None:
        """Return frames for a visitor that is so far; None if nothing waits. Raises WireError or StreamError."""
        ...


class Hearing:
    """The hearing half of :class:`popham.agent.end.AgentEnd`.

    Attributes:
        news: Set when there is something to say, or a round is wanted now.
        retry_window: Seconds from which upstream wants a first retry drawn; 0 while it has named none.
        stretch: Seconds by which upstream wants the next round later; until its next answer.
        fallback: Code of why this end pulls although it is to hold a link; empty if it does not.
        fetch: Fetches bodies, or has them brought.
        text: The last sentence upstream had for this machine's status page.
        nonce: The newest nonce of a Proxy Manager, hexadecimal; empty before the first.
        operations: Take what is ordered once; None where nothing does.
        streams: Send what there is in streams; None where nothing does.
        woken: Called when upstream has something to relay, where this machine is a Proxy Manager.
    """

    def __init__(
        self,
        state: AgentState,
        enforcer: Enforcer,
        credentials: Credentials,
        *,
        fetch: Fetch,
        news: asyncio.Event,
        hold_now: Callable[[CommunicationSettings], CommunicationSettings],
        draw: Callable[[], float],
        operations: Ordered | None,
    ) -> None:
        """Begin a session where the last one ended; arguments as of :class:`popham.agent.end.AgentEnd`."""
        self.news = news
        self.retry_window = 0.0
        self.stretch = 0.0
        self.fallback = ""
        self.text = self.nonce = self._named = ""
        self.fetch = Bringing(fetch)
        self.operations = operations
        self.streams: Streams | None = None
        self.woken: Callable[[], None] = lambda: None
        self._hold_now = hold_now
        self._downloads = Downloads(draw, news.set)
        self._begun = self._asked = self._offered = False
        self._state = state
        self._walled = bool((join := state.join()) and join.walled)
        self._enforcer = enforcer
        self._credentials = credentials
        # The uid stands in the certificate; nobody upstream can give another.
        key = uuid.UUID(state.uid).bytes
        self._session = AgentSession(key, int(OWN_AGENT), (SESSION, TRUST), adopts=False)
        self._wanted, self._missed = False, b""
        self._bundle_wanted = self._state_wanted = False
        self._mark = -1
        enforcer.brought = self._note_brought
        credentials.wake, credentials.opens = news.set, enforcer.check_assignment

    def take_change(self) -> bool:
        """Return whether this end has another key since this was last asked, which no open link knows."""
        return self._credentials.take_change()

    @property
    def settings(self) -> CommunicationSettings:
        """The communication settings in force; with a certificate that serves for renewal only, those of the first round.

        Nobody lets such an agent hold a link: it has to renew first, by a round of its own.
        """
        in_force = self._in_force()
        if self._credentials.serves:
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

    def check_in(self) -> None:
        """Have a round made now, and what failed tried again."""
        self._enforcer.look_again()
        self._wanted = self._asked = True
        self._downloads.cancel()
        self.news.set()

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
        if message.custom_message.capability == STREAMS:
            await self._hear_standings(message)
            return
        if message.custom_message.capability == PROXY:
            self.woken()  # nothing else is in such a message
            return
        try:
            await self._follow(message)
        except LinkError as error:
            if error.code == AWAITED:
                self.news.set()  # that the bundle itself is to be brought
                return
            if error.status != _GONE:
                raise
            # What was named has been replaced meanwhile; the link is well, and brings what there is now.
            _log.info("what was offered is there no more: %s", error)
            self._ask_anew()
        finally:
            if self.streams is not None:
                self.streams.wake()

    def _ask_anew(self) -> None:
        """Have a round made now where the next one is a heartbeat away; once for each bundle that lacks something."""
        newest = self._state.bundle() or b""
        if newest != self._missed and (self.settings.mode is Mode.PULL or self.fallback):
            self._missed = newest
            self.news.set()

    async def _hear_standings(self, message: ServerToAgent) -> None:
        heard = parse_custom(message.custom_message)
        if self.streams is not None and isinstance(heard, Standings):
            await self.streams.hear(heard.standings)

    async def _follow(self, message: ServerToAgent) -> None:
        try:
            await self._obey(message)
        except TrustError as error:
            self._enforcer.refuse(error)
        if not self._put_off():
            self._asked = False
            await self.settle()
        self._begun = True

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
            if self._enforcer.progress.outcome is Outcome.APPLYING:
                return  # else what lacks is for later: another location, or a candidate
        if self.operations is not None:
            self.operations.settled()

    async def rest(self) -> None:
        """Wait a moment for what was ordered, so that the next report brings what came of it."""
        if self.operations is not None:
            await self.operations.rest(MOMENT)

    def output(self, sha256: str) -> bytes | None:
        """Return an output of an operation; None if it is not kept."""
        return self.operations.output(sha256) if self.operations is not None else None

    def release(self) -> None:
        """Let everything go that is in the streams: a round was made, or somebody wants it now."""
        if self.streams is not None:
            self.streams.release()

    async def stream(self, stream: Stream, standing: bytes, limit: int) -> bytes | None:
        """Return frames for a visitor, as :meth:`Streams.asked`; None where there are no streams."""
        return None if self.streams is None else await self.streams.asked(stream, standing, limit)

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
        if 0 < len(directive.nonce) <= NONCE_MAX:
            self.nonce = directive.nonce.hex()
        if directive.want_state and self.nonce != self._named:
            self._state_wanted = True
            self.news.set()
        if directive.want_bundle:
            self._bundle_wanted = True
            self._session.opened()
            # Upstream asks so by itself, as long as it is behind: nothing that failed is tried again for that.
            self._wanted = True
            self.news.set()
        if directive.check_in:
            self.check_in()
        if self.operations is not None:
            self.operations.heard(directive.heard)
            self.operations.want_outputs(directive.want_outputs)
        if directive.assignment:
            self._enforcer.assign(directive.assignment)
        if self.operations is not None and directive.operations:
            try:
                self.operations.take(directive.operations)
            except TrustError as error:
                # What came beside it is believed, or not, by itself.
                self._enforcer.refuse(error)

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
