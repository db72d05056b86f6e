"""The agent's end of its session: what it says, and what it does with what it hears.

It knows neither mode nor dialer nor transport; :mod:`popham.link.driver` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from popham.agent.credentials import Credentials
from popham.agent.enforcer import Enforcer, Fetch
from popham.agent.hearing import Hearing, Ordered
from popham.agent.records import Standing
from popham.agent.saying import describe
from popham.agent.state import AgentState
from popham.agent.state_record import SENTENCE, make_record
from popham.agent.visitors import Home
from popham.model.communication import CommunicationSettings, Mode
from popham.model.generation import GENERATION
from popham.model.status import Outcome, StateRecord
from popham.opamp.codec import custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import CustomMessage, RemoteConfigStatus, RemoteConfigStatuses
from popham.opamp.schema.popham.v1.popham_pb2 import Report
from popham.opamp.session import Parts
from popham.trust.verify import seal_state

_FACTS, _FACT = 32, 64
"""Facts of a machine, and characters of each: a report has to fit into 8 KiB."""
STRAY = "link.servers"
"""Code of a fallback: no server of the list answers, so the addresses of the join string are dialled."""
_STATUS = {
    Outcome.NONE: RemoteConfigStatuses.RemoteConfigStatuses_UNSET,
    Outcome.APPLYING: RemoteConfigStatuses.RemoteConfigStatuses_APPLYING,
    Outcome.APPLIED: RemoteConfigStatuses.RemoteConfigStatuses_APPLIED,
    Outcome.FAILED: RemoteConfigStatuses.RemoteConfigStatuses_FAILED,
}


class AgentEnd(Hearing):
    """One agent's end of its session with whatever is upstream.

    Attributes:
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
        operations: Ordered | None = None,
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
            operations: Take what is ordered once; None where nothing does.
        """
        super().__init__(
            state,
            enforcer,
            credentials,
            fetch=fetch,
            news=news,
            hold_now=hold_now,
            draw=draw,
            operations=operations,
        )
        self.server = ""
        self.service, self.serving = "", False
        self.unvisited = ""
        self._stray = False
        self._version = version
        self._sealed: tuple[StateRecord, str, bytes] | None = None
        self._stirred = self._stirring()
        self.tell_facts(facts)

    @property
    def uid(self) -> bytes:
        """instance_uid, 16 bytes."""
        return self._session.uid

    @property
    def standing(self) -> Standing:
        """Where the machine is."""
        return self._enforcer.standing

    @property
    def home(self) -> Home:
        """What of this machine a visitor's statement is compared with."""
        assignment = self._enforcer.assignment
        group = assignment.group if assignment is not None else ""
        return Home(self._state.uid, group, self._enforcer.known_time)

    @property
    def candidate_serial(self) -> int:
        """Serial of the candidate that is to be held; 0 for none."""
        return self._enforcer.candidate_serial

    def tell_facts(self, facts: Mapping[str, str]) -> None:
        """Tell these facts of the machine from now on."""
        self._facts = {key[:_FACT]: value[:_FACT] for key, value in sorted(facts.items())[:_FACTS]}
        self._description = describe(self._state.uid, self._version, self._facts)

    def opened(self) -> None:
        """Take note of a new held link."""
        self.fallback = ""
        self._session.opened()
        if self.streams is not None:
            self.streams.opened()

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
        if self.streams is not None:
            self.streams.wake()

    def beside(self, message: CustomMessage) -> bytes:
        """Return a message that says ``message`` alone, beside the reports."""
        return self._session.beside(message)

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
        return Parts(self._description, status, custom(report), self._results())

    def _results(self) -> CustomMessage | None:
        """Return a report of the results that upstream did not name as heard; None if there are none."""
        found = self.operations.results() if self.operations is not None else []
        return custom(Report(generation=GENERATION, results=found)) if found else None

    def record(self, nonce: str | None = None) -> StateRecord:
        """Return the state record as it would be signed now; with another ``nonce``, if one is given."""
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
            paused_at=self.operations.paused_at if self.operations is not None else 0.0,
            nonce=self.nonce if nonce is None else nonce,
        )

    def _state_envelope(self) -> bytes:
        """Return the signed record; signed anew, under a new revision, only if it or the key changed, or it is wanted.

        A new nonce alone changes nothing: it is in the next one.
        """
        record = self.record(self._sealed[0].nonce if self._sealed else None)
        key = self._state.identity_key()
        if self._sealed is None or self._sealed[:2] != (record, key.keyid) or self._state_wanted:
            if self._sealed is None or self._sealed[0].revision == record.revision:
                self._enforcer.revise()
            record = self.record()
            self._sealed = record, key.keyid, seal_state(record, key)
            self._named, self._state_wanted = record.nonce, False
        return self._sealed[2]
