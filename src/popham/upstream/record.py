"""What an upstream has in memory: one record per agent, and what each group is to have."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from popham.model.communication import CommunicationSettings
from popham.model.fleet import Admission, AgentKind
from popham.model.names import canonical
from popham.model.status import StateRecord
from popham.net.seam import HeldLink
from popham.opamp.session import Ear

UNSET, APPLIED, APPLYING, FAILED = range(4)
"""OpAMP's RemoteConfigStatuses and ConnectionSettingsStatuses."""
NO_OBJECTS = sha256(canonical({})).digest()
"""Hash of a configuration without objects."""
STOCK_PROMISE = 30.0
"""Seconds a stock agent is expected to keep at first. Source: OpAMP's default heartbeat."""
_INTERVALS = 10


@dataclass(frozen=True, slots=True)
class ConfigObject:
    """One configuration object for stock agents."""

    body: bytes
    content_type: str


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
        assignment: Newest signed assignment; empty for stock agents.
        state: Newest verified state record, and the envelope it came in.
        remote: For stock agents.
        last_contact: Unix seconds of the last message.
        promise: Seconds from a contact to the next one.
        link: The held link, if one is open now.
        settings_told: Digest of the connection settings last offered (stock agents).
        settings_heartbeat: Seconds of the heartbeat in them; 0 before the first.
        settings: What it said of them.
        intervals: Seconds between its last contacts (stock agents); None until one is known.
        quiet: Prebuilt answer to a heartbeat with nothing new.
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
    assignment: bytes = b""
    assignment_seq: int = 0
    ear: Ear = field(default_factory=Ear)
    state: StateRecord | None = None
    envelope: bytes = b""
    description: Mapping[str, str] = field(default_factory=dict)
    remote: RemoteStatus = RemoteStatus()
    last_contact: float | None = None
    promise: float = STOCK_PROMISE
    address: str = ""
    link: HeldLink | None = None
    settings_told: bytes = b""
    settings_heartbeat: float = 0.0
    settings: RemoteStatus = RemoteStatus()
    quiet: bytes = b""
    intervals: deque[float] | None = None
    edition: int = 0
    saved: int = 0

    def contact(self, now: float, address: str) -> None:
        """Note a contact; for stock agents, learn what to expect from the longest of ten intervals."""
        if self.kind is AgentKind.STOCK:
            self._learn(now)
        self.last_contact = now
        self.address = address

    def settings_offered(self, told: bytes, heartbeat: float) -> None:
        """Note an offer of connection settings: nobody is missed who follows it without a word."""
        self.settings_told, self.settings_heartbeat = told, heartbeat
        self.promise = max(self.promise, heartbeat)

    def _learn(self, now: float) -> None:
        """Expect the heartbeat that was accepted, else the longest of the last ten intervals."""
        if self.intervals is None:
            # What was expected until now counts too, or a burst at the start would promise a second.
            # The silence before does not: perhaps it was this upstream that was down.
            self.intervals = deque([self.promise], maxlen=_INTERVALS)
        elif self.last_contact is not None:
            self.intervals.append(now - self.last_contact)
        longest = max(1.0, *self.intervals)
        answered = bool(self.settings_told) and self.settings.digest == self.settings_told
        if answered and self.settings.status == APPLIED:
            self.promise = self.settings_heartbeat
        elif answered and self.settings.status == FAILED:
            self.promise = longest
        else:
            self.promise = max(longest, self.settings_heartbeat)
