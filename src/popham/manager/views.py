"""What the API shows: plain data, computed from rows when somebody asks.

Times are unix seconds; durations are seconds. Names of fields are the names in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """One machine, as ``popham get agents`` and ``describe agent`` show it.

    Attributes:
        uid: instance_uid.
        kind: own, stock or unknown.
        admission: new, accepted, refused or revoked.
        presence: on time, overdue, missing or never seen.
        connected: Whether a held link is open now.
        sync: in sync, pending, failed, drifted or cannot take it.
        reason: One sentence behind ``sync`` where it is not in sync; else empty.
        mode, dialer: What the agent says is in force; empty if unknown.
        fallback: Code of why the mode is not the one that was ordered; empty if it is.
        wanted: Serial of its group's bundle; 0 if there is none.
        applied: Serial in force on the machine; 0 if none or stock.
        last_contact: None if never seen.
        age: Seconds since the last contact, None if never seen.
        next_contact: Promised; None if unknown.
        since: When the present outcome began; None if unknown.
        certificate_until: None where there is no certificate.
        detail: More for ``describe``: description, policies with their origin,
            error, facts, content digests, capabilities; empty in lists.
    """

    uid: str
    name: str
    group: str
    kind: str
    admission: str
    presence: str
    connected: bool
    sync: str
    reason: str
    mode: str
    dialer: str
    heartbeat: float
    wanted: int
    applied: int
    last_contact: float | None
    age: float | None
    next_contact: float | None
    since: float | None
    first_seen: float
    address: str
    version: str
    labels: Mapping[str, str] = field(default_factory=dict)
    certificate_until: float | None = None
    fallback: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """A group: own values, what holds after inheritance with origins, and its counts.

    ``resolved`` maps an item (policy type, or ``communication``) to ``value``,
    ``group`` (origin) and ``inherited``.  ``path`` is the lineage from the root.
    """

    name: str
    path: str
    parent: str
    inherits: bool
    exceptions: Mapping[str, bool]
    policies: Mapping[str, str]
    communication: Mapping[str, Any] | None
    preset: str
    resolved: Mapping[str, Mapping[str, Any]]
    labels: Mapping[str, str]
    serial: int
    version: int
    agents: int
    edition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """A policy's head; ``spec`` only where one policy is asked for. ``groups`` assign it themselves."""

    name: str
    type: str
    revision: int
    sha256: str
    private_to: str
    groups: tuple[str, ...]
    author: str
    changed: float
    labels: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A token by which agents join; never its secret. ``state``: usable, used up, expired, revoked."""

    id: str
    kind: str
    group: str
    state: str
    uses: int
    uses_left: int
    expires: float
    accepts: bool
    cidr: str
    author: str
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token just made; ``secret`` is shown this once: a join string, or a stock agent's bearer token."""

    token: TokenView
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of an apply: ``action`` is created, changed, unchanged; ``discarded`` lists what inheritance drops."""

    kind: str
    name: str
    action: str
    discarded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEffect:
    """What an apply means for one group: serial before and after, and how many agents it concerns."""

    group: str
    before: int
    after: int
    agents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """What an apply did, or would do."""

    dry_run: bool
    changes: tuple[Change, ...]
    groups: tuple[GroupEffect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckIn:
    """Answer to a request for a round: ``asked`` over a held link, or ``waits`` until ``when`` (None: unknown)."""

    uid: str
    name: str
    state: str
    when: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """One change."""

    seq: int
    at: float
    actor: str
    source: str
    method: str
    object: str
    before: str
    after: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a list; ``cursor`` asks for the next part, empty at the end."""

    items: tuple[Any, ...]
    cursor: str = ""
