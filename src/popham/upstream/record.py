"""What an upstream has in memory: one record per agent, and what each group is to have."""

from __future__ import annotations

import json
import logging
import sys
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from popham.errors import PophamError
from popham.link.visits import AWAITED, KEPT, LAPSED
from popham.model.communication import CommunicationSettings, Dialer
from popham.model.fleet import Admission, AgentKind
from popham.model.names import canonical
from popham.model.rollout import RolloutRef
from popham.model.status import STATE_TYPE, StateRecord
from popham.net.seam import HeldLink
from popham.opamp.session import Ear
from popham.trust.dsse import Envelope
from popham.upstream.orders import Orders
from popham.upstream.relayed import Relayed

if TYPE_CHECKING:
    from popham.upstream.destinations import Destinations

_log = logging.getLogger(__name__)

UNSET, APPLIED, APPLYING, FAILED = range(4)
"""OpAMP's RemoteConfigStatuses and ConnectionSettingsStatuses."""
NO_OBJECTS = sha256(canonical({})).digest()
"""Hash of a configuration without objects."""
STOCK_PROMISE = 30.0
"""Seconds a stock agent is expected to keep at first. Source: OpAMP's default heartbeat."""
_INTERVALS = 10


def _encoded_parts(text: bytes) -> tuple[bytes, ...]:
    """Return what stands in every base64 text of bytes that have ``text`` in them, by where in a triple it begins."""
    found = []
    for before in range(3):
        whole = b64encode(b" " * before + text)
        left, right = -(-before * 8 // 6), (before + len(text)) * 8 // 6
        found.append(whole[left:right])
    return tuple(found)


_AWAITS_DIAL = (
    *_encoded_parts(f'"dialer":"{Dialer.MANAGER}"'.encode()),
    *_encoded_parts(f'"fallback":"{KEPT}"'.encode()),
)


@dataclass(frozen=True, slots=True)
class ConfigObject:
    """One configuration object for stock agents."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Within:
    """Communication settings of a group, on one side of a rollout.

    Attributes:
        default: The location that holds where no other does.
        settings: Location → its settings.
    """

    default: str
    settings: Mapping[str, CommunicationSettings]

    def at(self, location: str) -> CommunicationSettings:
        """Return the settings of a location, or of the default where there is none of that name."""
        return self.settings.get(location) or self.settings[self.default]

    @property
    def is_visited(self) -> bool:
        """Whether the Manager is to dial in some location, at some time."""
        return any(Dialer.MANAGER in one.dialers for one in self.settings.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the agents of one group are to have, ready to be sent.

    Attributes:
        group: Name of the group.
        serial, version, content_digest: Of its bundle.
        envelope: The bundle, signed.
        blobs: Digest → policy body, of every body the bundle names.
        objects: What stock agents get: key → configuration object.
        objects_digest: SHA-256 over ``objects``, 32 bytes; empty if there are none.
        communication: Settings of the default location.
        guarded: Digests of the bodies that hold secrets, where ``minimum_serial`` is not 0; else empty.
        minimum_serial: Serial that must be in force on an agent before it is given these; 0 for none.
        within: Settings of each location; None where only those of the default are known.
        candidate, rollout: Settings of those on the candidate side, and who that is; None without a rollout.
        is_visited: Whether the Manager is to dial in some location, at some time, on either side.
        offers: Encoded offers of all this, once they were needed: (own, held, guarded left out) → bytes.
        settings: Digests of offers of connection settings, once they were needed: where to → 32 bytes.
    """

    group: str
    serial: int
    version: int
    content_digest: str
    envelope: bytes
    blobs: Mapping[str, bytes]
    objects: Mapping[str, ConfigObject]
    objects_digest: bytes
    communication: CommunicationSettings
    guarded: frozenset[str] = frozenset()
    minimum_serial: int = 0
    within: Within | None = None
    candidate: Within | None = None
    rollout: RolloutRef | None = None
    is_visited: bool = False
    offers: dict[tuple[bool, bool, bool], bytes] = field(default_factory=dict, compare=False, repr=False)
    settings: dict[Destinations, bytes] = field(default_factory=dict, compare=False, repr=False)

    def settings_for(self, uid: str, candidate: str = "") -> Within:
        """Return the settings that are to hold for an agent, in each location; ``candidate`` as in its assignment."""
        if self.candidate is not None and self.rollout is not None and self.rollout.has(uid, candidate):
            return self.candidate
        return self.within or Within("", {"": self.communication})

    def guards(self, record: Record) -> bool:
        """Return whether an agent is not given bodies with secrets yet.

        What was in force by orders of another group says nothing of this one's serials.
        """
        if not self.guarded:
            return False
        state = record.state
        return state is None or state.group != self.group or state.applied_serial < self.minimum_serial


@dataclass(frozen=True, slots=True)
class RemoteStatus:
    """What a stock agent says of an offer, by its hash; ``status`` as in OpAMP, 0 to 3."""

    digest: bytes = b""
    status: int = 0
    error: str = ""


def stock_digest(objects_digest: bytes, held: bytes) -> bytes:
    """Return the hash that a stock agent's status should name; empty if nothing needs to be offered.

    Args:
        objects_digest: Hash of its group's objects; empty if there are none.
        held: What its status names.  An agent that holds something is offered
            the configuration without objects once its policies are withdrawn.
    """
    return objects_digest or (NO_OBJECTS if held else b"")


@dataclass(slots=True, eq=False)
class Record:
    """One agent, as an upstream remembers it between and across links.

    Attributes:
        uid: instance_uid as a UUID string.
        key: instance_uid as 16 bytes.
        public_key: DER; empty for stock agents.
        former_key: DER of the key that it had before, which serves for asking again for the certificate of this one.
        assignment: Newest signed assignment; empty for stock agents.
        envelope: Of the newest verified state record; empty if there is none.
        described: What it says of itself, as JSON; texts are smaller than dictionaries.
        remote: For stock agents.
        contacted: Unix seconds of the last message that it brought itself, or of a later one that was written down; see
            :attr:`last_contact`.
        own_promise: Seconds from one contact with its upstream to the next; see :attr:`promise`.
        via: uids of the Proxy Managers that it is behind, the one next to this upstream first; none if it comes here.
        relay: What the first of them says of when it was heard of; None if it comes here, or nothing was said yet.
        link: The held link, if one is open now.
        settings_told: Digest of the connection settings last offered (stock agents).
        settings_heartbeat: Seconds of the heartbeat in them; 0 before the first, and where they have none.
        settings: What it said of them.
        intervals: Seconds between its last contacts (stock agents); None until one is known.
        quiet: Prebuilt answer to a heartbeat with nothing new.
        settled: What there was nothing to say about when it was last looked at; None if
            something changed since.
        lacks: Digests of bodies that it wants brought, since it does not dial.
        certificate_until: Unix seconds at which its certificate ends; 0 if it has none, or that is not known.
        dialer: Who opens connections by its assignment; None for what its group's settings say.
        orders: What is ordered of it; None for nothing.  Whoever adds to it takes ``settled`` away.
        candidate: The rollout whose candidate it uses by its assignment; empty for none.
        want_state: Its state record is to be signed anew, with the newest nonce; until one came that has the nonce it was
            handed last. Whoever sets it takes ``settled`` away.
        state_nonce: The nonce that was handed to it when that was last asked, hexadecimal.
        claimed: Version of a bundle of its that is being looked at by those above; it is not asked for that again.
        edition: Rises when something changes that must be durable.
        saved: Newest edition that is.
    """

    uid: str
    key: bytes
    name: str
    group: str
    kind: AgentKind = AgentKind.UNKNOWN
    admission: Admission = Admission.NEW
    public_key: bytes = b""
    former_key: bytes = b""
    assignment: bytes = b""
    assignment_seq: int = 0
    ear: Ear = field(default_factory=Ear)
    envelope: bytes = b""
    described: str = "{}"
    remote: RemoteStatus = RemoteStatus()
    contacted: float | None = None
    own_promise: float = STOCK_PROMISE
    via: tuple[str, ...] = ()
    relay: Relayed | None = None
    address: str = ""
    link: HeldLink | None = None
    settings_told: bytes = b""
    settings_heartbeat: float = 0.0
    settings: RemoteStatus = RemoteStatus()
    quiet: bytes = b""
    settled: Wanted | None = None
    intervals: deque[float] | None = None
    lacks: tuple[str, ...] = ()
    certificate_until: float = 0.0
    dialer: Dialer | None = None
    orders: Orders | None = None
    candidate: str = ""
    want_state: bool = False
    state_nonce: str = ""
    claimed: int = 0
    edition: int = 0
    saved: int = 0
    _state: StateRecord | None = None

    @property
    def last_contact(self) -> float | None:
        """Return when it was heard of last, in unix seconds: here, or by the proxy that it is behind; None for never."""
        if self.relay is None:
            return self.contacted
        return max(self.relay.last_contact, self.contacted or 0.0)

    @last_contact.setter
    def last_contact(self, at: float | None) -> None:
        self.contacted = at

    @property
    def promise(self) -> float:
        """Return the seconds from one contact to the next: its own, and those of the proxies in between."""
        return self.own_promise if self.relay is None else self.own_promise + self.relay.roll.proxy.promise

    @promise.setter
    def promise(self, seconds: float) -> None:
        self.own_promise = seconds

    @property
    def is_linked(self) -> bool:
        """Whether it holds a link, to this upstream or to the proxy that it is at."""
        return self.link is not None or (self.relay is not None and self.relay.is_linked)

    @property
    def state(self) -> StateRecord | None:
        """Return the newest verified state record; read when it is first asked for, as most never are."""
        # Other threads read it too, and meanwhile a newer one may be noted.
        envelope, found = self.envelope, self._state
        if found is not None or not envelope:
            return found
        try:
            payload = Envelope.parse(envelope, types=(STATE_TYPE,)).payload
            found = _slim(StateRecord.from_payload(payload), self.uid)
        except PophamError as error:
            # It was verified before it was kept. The agent is asked for another.
            _log.warning("the state kept of %s cannot be read: %s", self.uid, error)
            if self.envelope is envelope:
                self.envelope = b""
            return self._state
        if self.envelope is envelope:
            self._state = found
        if self.envelope is not envelope:
            # Whatever stands there now, the newer envelope says what holds.
            self._state = None
            return self.state
        return found

    def note_state(self, state: StateRecord, envelope: bytes) -> None:
        """Keep a verified state record, and the envelope it came in."""
        slim = _slim(state, self.uid)
        # In this order: see ``state``.
        self.envelope = envelope
        self._state, self.own_promise = slim, state.promise
        if state.nonce and state.nonce == self.state_nonce:
            self.want_state = False

    @property
    def awaits_dial(self) -> bool:
        """Whether it says that upstream dials, or still has to; nothing else is read for that, as mostly it never is."""
        if self._state is not None:
            return self._state.dialer == Dialer.MANAGER or self._state.fallback == KEPT
        return any(part in self.envelope for part in _AWAITS_DIAL)

    @property
    def awaits_visit(self) -> bool:
        """Whether it has said since this upstream started that it waits for a visit, or missed it."""
        return self._state is not None and self._state.fallback in {AWAITED, LAPSED}

    @property
    def description(self) -> dict[str, str]:
        """Return what it says of itself."""
        found: dict[str, str] = json.loads(self.described)
        return found

    def note_description(self, said: Mapping[str, str]) -> bool:
        """Keep what it says of itself; returns whether that is new."""
        text = json.dumps(dict(said), sort_keys=True)
        if text == self.described:
            return False
        self.described = text
        return True

    def contact(self, now: float, address: str) -> None:
        """Note a contact; for stock agents, learn what to expect from the longest of ten intervals."""
        if self.kind is AgentKind.STOCK:
            self._learn(now)
        self.contacted = now
        self.address = address

    def settings_offered(self, told: bytes, heartbeat: float) -> None:
        """Note an offer of connection settings: nobody is missed who follows it without a word."""
        self.settings_told, self.settings_heartbeat = told, heartbeat
        self.own_promise = max(self.own_promise, heartbeat)

    def _learn(self, now: float) -> None:
        """Expect the heartbeat that was accepted, else the longest of the last ten intervals."""
        if self.intervals is None:
            # What was expected until now counts too, or a burst at the start would promise a second.
            # The silence before does not: perhaps it was this upstream that was down.
            self.intervals = deque([self.own_promise], maxlen=_INTERVALS)
        elif self.contacted is not None:
            self.intervals.append(now - self.contacted)
        longest = max(1.0, max(self.intervals))  # noqa: PLW3301  # unpacking costs as much as the rest
        if not self.settings_told:
            self.own_promise = max(longest, self.settings_heartbeat)
            return
        answered = self.settings.digest == self.settings_told
        if answered and self.settings.status == APPLIED:
            self.own_promise = self.settings_heartbeat or longest
        elif answered and self.settings.status == FAILED:
            self.own_promise = longest
        else:
            self.own_promise = max(longest, self.settings_heartbeat)


def _slim(state: StateRecord, uid: str) -> StateRecord:
    """Return a state record as it is kept: equal texts once for all agents, and without facts."""
    return state.slim(uid, sys.intern)
