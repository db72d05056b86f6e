"""What the API shows: plain data, computed from rows when somebody asks.

Times are unix seconds; durations are seconds. Names of fields are the names in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from popham.manager.apply_views import Change
from popham.manager.visit_views import VisitView


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
        location: Where it says it is; the default for a stock agent, empty if unknown.
        rules: The conditions that put it there, in words; none in the default location.
        location_since: Since when it is there; None if it was never elsewhere, or unknown.
        labels: Those that hold: the operators' over the agent's own.
        wanted: Serial of the content that is to hold for it, an older one than its group's bundle has while a
            rollout holds that back; 0 if there is none.
        applied: Serial in force on the machine; 0 if none or stock.
        last_contact: None if never seen.
        age: Seconds since the last contact, None if never seen: whatever the agent says of itself is of then.
        age_bound: Seconds that it is not older than; None unless the agent is on time.
        next_contact: Promised; None if unknown.
        since: When the present outcome began; None if unknown.
        certificate_until: None where there is no certificate.
        service: Where its service is, as it says; empty while that is off.
        visit: How this Manager visits it; None if it does not.
        via: Proxy Managers between it and this Manager by name, the one nearest to the Manager first; none where
            they talk to each other.
        behind: In one sentence, that it stays below the Manager's version; empty if it does not, or has not long.
        detail: More for ``describe``: the mode that is ordered, description, policies with their
            origin, labels of operators and agent, error, facts, content digests, the last operations;
            ``rollout`` and how it stands to that, where its group is in one; empty in lists.
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
    location: str = ""
    rules: tuple[str, ...] = ()
    location_since: float | None = None
    age_bound: float | None = None
    service: str = ""
    visit: VisitView | None = None
    via: tuple[str, ...] = ()
    behind: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One value that is to hold for an agent, in words.

    Attributes:
        group, location: Who says so; an empty location stands for all.
        inherited: Whether that is a group above the agent's.
        overrides: What it hides, and of whom; empty if nothing.
        note: What else should be known.
    """

    setting: str
    value: str
    group: str
    location: str
    inherited: bool
    overrides: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedStep:
    """What one group of the lineage says of a setting; ``value`` is empty where it inherits."""

    group: str
    value: str
    inherits: bool
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where the values of one agent come from; ``rules`` are the conditions that put it into its location."""

    name: str
    uid: str
    group: str
    location: str
    rules: tuple[str, ...]
    items: tuple[Explained, ...]
    steps: tuple[ExplainedStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why an agent is where it is: one sentence, the next step, and its three axes."""

    name: str
    uid: str
    presence: str
    link: str
    sync: str
    sentence: str
    step: str
    here: str
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """A group: own values, what holds after inheritance with origins, and its counts.

    ``resolved`` maps an item (policy type, ``communication`` or ``locations``) to ``value``, ``group``
    (origin) and ``inherited``; ``within`` does so for each location in which an item differs.
    ``locations`` is the group's own list, ``values`` what it says itself of single locations.
    ``path`` is the lineage from the root.  From ``minimum_serial`` on its agents are given policies with
    secrets; 0 for at once.
    """

    name: str
    path: str
    parent: str
    inherits: bool
    exceptions: Mapping[str, bool]
    policies: Mapping[str, str]
    communication: Mapping[str, Any] | None
    locations: Mapping[str, Any] | None
    values: Mapping[str, Mapping[str, Any]]
    preset: str
    resolved: Mapping[str, Mapping[str, Any]]
    within: Mapping[str, Mapping[str, Mapping[str, Any]]]
    labels: Mapping[str, str]
    serial: int
    version: int
    agents: int
    edition: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    minimum_serial: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """A policy's head; ``spec`` only where one policy is asked for. ``groups`` assign it themselves.

    ``sha256`` is empty for those who may not see a secret that could be guessed from it.

    ``rollout`` is the name of the rollout that the call began; empty if there is none.
    """

    name: str
    type: str
    revision: int
    sha256: str
    private_to: str
    groups: tuple[str, ...]
    author: str
    changed: float
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] | None = None
    rollout: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionView:
    """One revision of a policy; ``groups`` are those whose bundle has it now, ``newest`` whether it is the policy's.

    ``sha256`` as of :class:`PolicyView`.
    """

    revision: int
    author: str
    at: float
    message: str
    sha256: str
    newest: bool
    groups: tuple[str, ...]
    agents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceView:
    """What differs between two revisions, as a unified diff of definitions; empty if nothing does."""

    before: int
    after: int
    difference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileView:
    """A file of definitions, as an export makes it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementView:
    """A rule that says where agents begin; fields as :class:`popham.model.placement.Placement`."""

    name: str
    order: int
    token: str
    selector: str
    address: tuple[str, ...]
    group: str
    labels: Mapping[str, str]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDefinitionView:
    """Where an agent is visited; fields as :class:`popham.model.agent_definition.AgentDefinition`.

    Attributes:
        url: What is dialled.
        secrets: Which passwords there are; none of them is shown.
        uid, agent: Of the agent that is bound to it, and its name; empty before there is one.
        state: How visits there stand, in words.
        visit: How whoever is there is visited; None if nobody is.
        proxy: The Proxy Manager that visits it; empty for this Manager.
    """

    name: str
    url: str
    address: str
    port: int
    prefix: str
    tls: str
    ca: str
    http_proxy: str
    secrets: tuple[str, ...]
    uid: str
    agent: str
    annotations: Mapping[str, str]
    edition: int
    state: str = ""
    visit: VisitView | None = None
    proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportView:
    """What became of a list of agents: how many definitions, and what is wrong with it.

    Attributes:
        changes: What became of each definition; the first ones.
        findings: Wrong lines, in sentences with file and line; the first ones.
        wrong: How many lines are wrong.
    """

    dry_run: bool
    created: int
    changed: int
    unchanged: int
    deleted: int
    changes: tuple[Change, ...]
    findings: tuple[str, ...]
    wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A token by which agents join; never its secret. ``state``: usable, used up, expired, revoked.

    ``proxy`` is the Proxy definition that it is for; empty for other kinds.
    """

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
    proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token just made; ``secret`` is shown this once: a join string, or a stock agent's bearer token."""

    token: TokenView
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckIn:
    """Answer to a request for a round: ``asked`` over a held link, or ``waits`` until ``when`` (None: unknown)."""

    uid: str
    name: str
    state: str
    when: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """One change; digests in it, and ``hash``, are empty for those who may not see secrets."""

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
class AuditCheck:
    """The chain of the audit is whole: how many ``entries`` it has, and the digest of the newest, the ``head``."""

    entries: int
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a list; ``cursor`` asks for the next part, empty at the end."""

    items: tuple[Any, ...]
    cursor: str = ""
