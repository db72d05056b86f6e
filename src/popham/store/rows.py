"""What the store keeps, one class per table.

Times are unix seconds (float) unless a name says otherwise.  Objects that
people define are kept as the canonical JSON of their definition's ``spec``
plus what the Manager added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from popham.model.names import DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A group. ``body`` is JSON: parent, inherits, exceptions, policies, communication, locations, values, labels."""

    name: str
    body: str
    edition: int = 1
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """The head of a policy: its newest revision."""

    name: str
    type: str
    revision: int
    sha256: str
    private_to: str = ""
    labels: str = "{}"
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionRow:
    """One immutable revision of a policy. ``encoded`` is what agents fetch."""

    name: str
    revision: int
    type: str
    sha256: str
    encoded: bytes
    author: str
    at: float
    message: str = ""
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRow:
    """A rule that says where agents begin. ``body`` is JSON: order, token, selector, address, group, labels."""

    name: str
    body: str
    edition: int = 1
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDefinitionRow:
    """Where an agent is visited.

    Attributes:
        body: JSON: the spec, passwords included, and annotations.
        place: ``host:port/prefix``; no two have the same.
        uid: The agent that is bound to it; empty before there is one.
        source: Where it is kept, as its annotation says; empty if it is kept here.
        proxy: The Proxy Manager that visits it, by its definition's name; empty for the Manager.
    """

    name: str
    body: str
    place: str
    uid: str = ""
    edition: int = 1
    source: str = ""
    tenant: str = DEFAULT_TENANT
    proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRow:
    """A definition of a Proxy Manager.

    Attributes:
        body: JSON: the spec and annotations.
        uid: The agent that is this proxy; empty before there is one.
        changed: When the definition was changed last.
        source: Where it is kept, as its annotation says; empty if it is kept here.
    """

    name: str
    body: str
    changed: float
    uid: str = ""
    edition: int = 1
    source: str = ""
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRow:
    """A rollout. ``body`` is JSON: how it goes on, what it is about, and what an undo brings back."""

    number: int
    over: bool
    body: str
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRow:
    """Definitions that somebody prepares. ``body`` is JSON: the documents, and what they rest on."""

    name: str
    body: str
    author: str
    at: float
    edition: int = 1
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    """One machine.

    Attributes:
        uid: instance_uid as a UUID string.
        kind: ``own``, ``stock`` or ``unknown``.
        labels: JSON of what the machine's own configuration calls it.
        operator_labels: JSON of what operators call it; they win.
        overrides: JSON of what its assignment says of this agent alone.
        spki: SHA-256 of the public key, hexadecimal; empty for stock agents.
        public_key: DER of the public key; empty for stock agents.
        certificate_serial: Of the newest certificate issued, hexadecimal.
        assignment: Newest DSSE envelope; empty if none.
        assignment_seq: Its sequence number.
        description: JSON of OpAMP's attributes.
        state: Newest verified state record as a DSSE envelope; empty if none.
        state_revision: Its revision.
        remote: JSON of OpAMP's RemoteConfigStatus, for stock agents.
        promise: Seconds from a contact to the next one.
        address: Last address it came from.
        sequence: OpAMP sequence_num of the last message; -1 if unknown.
        former_key: DER of the public key before the last change of keys; serves to ask for the certificate of the
            new one again, and for nothing else.
    """

    uid: str
    name: str
    group: str
    kind: str
    admission: str
    first_seen: float
    tenant: str = DEFAULT_TENANT
    labels: str = "{}"
    spki: str = ""
    public_key: bytes = b""
    certificate_serial: str = ""
    certificate_until: float = 0.0
    assignment: bytes = b""
    assignment_seq: int = 0
    capabilities: int = 0
    description: str = "{}"
    state: bytes = b""
    state_revision: int = 0
    remote: str = "{}"
    last_contact: float | None = None
    promise: float = 30.0
    address: str = ""
    sequence: int = -1
    token: str = ""
    operator_labels: str = "{}"
    overrides: str = "{}"
    former_key: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """An operation: what was ordered, by whom. ``number`` is that of its name.

    Attributes:
        body: JSON: arguments, what was asked for as targets, lifetime, message, of which it is a retry.
        over: Whether no target is open any more.
    """

    number: int
    kind: str
    author: str
    at: float
    over: bool
    body: str
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """One target of an operation.

    Attributes:
        operation: Number of the operation.
        uid: Of the agent.
        name, group: Of the agent, when it was ordered.
        open: Whether its state is not an end.
        state: As :class:`popham.model.operation.OperationState`.
        nonce: Of its document; empty where there is none.
        revision: Of the newest result heard; 0 before the first.
        code, text: Why it failed, or what it said.
        since: Unix seconds at which it came into this state.
        sent: When it was told; 0 for not yet.
        began, ended: By the machine's clock; 0 for not yet.
        expires: Unix seconds after which nobody begins it.
        output: SHA-256 of its output; empty if there is none.
        length, left_out: Bytes of it, and bytes that the machine did not keep.
        cancelled_by: Who asked to cancel it; empty if nobody did.
    """

    operation: int
    uid: str
    name: str
    group: str
    open: bool
    state: str
    since: float
    expires: float
    nonce: str = ""
    revision: int = 0
    code: str = ""
    text: str = ""
    sent: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    output: str = ""
    length: int = 0
    left_out: int = 0
    cancelled_by: str = ""
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRow:
    """What an operation printed or made at one target; ``at`` is when it came."""

    operation: int
    uid: str
    at: float
    length: int
    data: bytes
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token by which agents may join.

    Attributes:
        kind: ``enrollment`` (own agents; the secret seeds a signing key), ``proxy`` (likewise, for a Proxy
            Manager) or ``stock`` (bearer).
        public: DER of the Ed25519 public key. Stock: SHA-256 of the secret, as bytes.
        uses_left: How many more agents may join; -1 for no limit.
        accepts: Whether an agent that joins is accepted at once.
        cidr: Only from these addresses; empty for any. Comma separated.
        proxy: Name of the Proxy definition that it is for; empty for other kinds.
    """

    id: str
    kind: str
    group: str
    public: bytes
    created: float
    expires: float
    uses_left: int
    uses: int = 0
    accepts: bool = False
    revoked: bool = False
    cidr: str = ""
    author: str = ""
    tenant: str = DEFAULT_TENANT
    proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRow:
    """A signed bundle. The insert of (tenant, group, version) decides which bytes were signed."""

    group: str
    version: int
    serial: int
    content_digest: str
    envelope: bytes
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminRow:
    """A person's or program's API token.

    Attributes:
        role: ``viewer``, ``operator`` or ``admin``.
        secret: SHA-256 of the secret.
        scope: JSON of what limits it: groups, kinds of operations; empty for nothing.
    """

    id: str
    name: str
    role: str
    secret: bytes
    created: float
    expires: float
    revoked: bool = False
    scope: str = "{}"
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One change: who, when, from where, before and after, chained by hashes.

    ``seq``, ``prev`` and ``hash`` are filled by the store.
    """

    at: float
    actor: str
    source: str
    method: str
    object: str
    before: str = ""
    after: str = ""
    seq: int = 0
    prev: str = ""
    hash: str = ""
    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The columns of an agent's row that the agent itself decides; names as in :class:`AgentRow`."""

    uid: str
    kind: str
    capabilities: int
    description: str
    state: bytes
    state_revision: int
    remote: str
    last_contact: float | None
    promise: float
    address: str
    sequence: int


class Kept(NamedTuple):
    """The columns of an agent's row that a Manager keeps in memory; names as in :class:`AgentRow`.

    A start reads all of them, and a tuple takes a fifth of the time of a class.
    """

    uid: str
    name: str
    group: str
    kind: str
    admission: str
    public_key: bytes
    assignment: bytes
    assignment_seq: int
    capabilities: int
    description: str
    state: bytes
    remote: str
    last_contact: float | None
    promise: float
    address: str
    sequence: int
    certificate_until: float
    overrides: str
    former_key: bytes


@dataclass(frozen=True, slots=True)
class Contact:
    """A last contact, written in batches."""

    uid: str
    at: float
    address: str = ""
    promise: float = field(default=30.0)
    sequence: int = -1
