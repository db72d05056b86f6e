"""What a machine has, and what may be concluded from it.

The state record is the agent's own word, signed by its identity key and
numbered by its own revision.  Presence and sync state are conclusions, always
computed, never stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING as REQUIRED
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Any

from popham.errors import WireError
from popham.model.names import DEFAULT_LOCATION, DEFAULT_TENANT, canonical, parse_json

STATE_TYPE = "application/vnd.popham.state.v1+json"
OVERDUE = 1.5
MISSING = 3.0
"""Multiples of the promised next contact. Source: design, presence."""

UNVISITED = frozenset({"visit.off", "visit.awaited", "visit.kept"})
"""Codes of an agent that dials although it is to be visited, and never was, or the other way round: that order is not
obeyed yet."""

PROMISE_MAX = 8 * 86400.0
"""Seconds. The longest heartbeat and its spread, and a margin."""

_TEXTS = (
    "candidate",
    "candidate_error",
    *("uid", "group", "mode", "dialer", "tenant", "content_digest", "location", "resolved"),
    *("applied_resolved", "applied_digest", "error_code", "error", "agent_version", "fallback", "server"),
    *("drift_path", "drift_error", "service", "nonce"),
)
_NUMBERS = ("revision", "serial", "version", "applied_serial", "assignment", "put_back", "generation")
_LISTS = ("unsupported", "rules", "drifted", "withheld")
_SHARED = (
    *("group", "mode", "dialer", "fallback", "server", "service", "tenant"),
    *("content_digest", "location", "resolved", "applied_resolved"),
)
"""Texts that many agents have in common."""
_TIMES = ("promise", "since", "location_since", "drift_at", "watched_until", "paused_at")


class Presence(StrEnum):
    """Whether an agent gets in touch when it promised to."""

    ON_TIME = "on time"
    OVERDUE = "overdue"
    MISSING = "missing"
    NEVER_SEEN = "never seen"


class SyncState(StrEnum):
    """Whether an agent has what it should have; from digests only."""

    IN_SYNC = "in sync"
    PENDING = "pending"
    FAILED = "failed"
    DRIFTED = "drifted"
    CANNOT = "cannot take it"


class Outcome(StrEnum):
    """How far the newest bundle got on the machine."""

    NONE = "none"
    APPLYING = "applying"
    APPLIED = "applied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRecord:
    """The signed part of a report.

    Attributes:
        uid: The agent's instance_uid, as a UUID string.
        revision: Rises with each change of the record, across restarts.
        group: Group of the assignment it obeys.
        serial: Serial of the newest bundle it accepted; 0 if none.
        version: That bundle's version.
        content_digest: That bundle's content digest; empty if none.
        location: Where the agent is.
        rules: Conditions that held there, in words; none in the default location.
        location_since: Agent's wall time at which it came there, in unix seconds; 0 if it was never elsewhere.
        resolved: Digest of the resolved policy that holds there.
        applied_serial: Serial of the bundle whose policies are in force; 0 if none.
        applied_digest: That bundle's content digest; another than ``content_digest``
            while a newer one is being applied, failed, or came with download off.
        applied_resolved: Digest of the resolved policy that is in force.
        outcome: How far the newest bundle got.
        error_code: Code of the failure; empty unless ``outcome`` is failed.
        error: One sentence; empty unless failed.
        since: Agent's wall time at which ``outcome`` began, in unix seconds.
        promise: Seconds until the next contact, promised at each contact.
        assignment: Sequence number of the assignment it obeys.
        unsupported: Policy types in the bundle that this agent has no applier for.
        facts: Host name, operating system and the like.
        fallback: Code of why ``mode``, or the server, is not the one that was ordered; empty if it is.
        server: URL of the server that it dials; empty from agents that do not say.
        service: Where its service is to be visited: scheme, what it listens on and port, or ``unix``; empty while off.
        drifted: Paths that are not as the policies want them, and are still to be put back; the first few.
        drift_path: The path that was found differing last; empty if none ever was.
        drift_at: Agent's wall time of that, in unix seconds; 0 for never.
        drift_error: Why what drifted could not be put back when that was last tried; empty if it could.
        put_back: How often something was put back on the day (UTC) of ``drift_at``.
        withheld: Policies whose bodies upstream does not give this agent yet.
        watched_until: Agent's wall time at which the health window of what is in force ends; 0 for none.
        generation: That it speaks; 0 from agents that do not say.
        candidate: Digest of the resolved policy of a candidate that it holds, whole and checked, and does not use;
            empty if there is none.
        candidate_error: Why it cannot hold the candidate that its bundle has, in a sentence; empty if it can.
        paused_at: Agent's wall time at which collection was paused; 0 while it is not.
        nonce: The newest nonce of a Proxy Manager that it was handed when this was signed, hexadecimal; empty for none.
    """

    uid: str
    revision: int
    group: str
    promise: float
    mode: str
    dialer: str
    tenant: str = DEFAULT_TENANT
    serial: int = 0
    version: int = 0
    content_digest: str = ""
    location: str = DEFAULT_LOCATION
    rules: tuple[str, ...] = ()
    location_since: float = 0.0
    resolved: str = ""
    applied_serial: int = 0
    applied_digest: str = ""
    applied_resolved: str = ""
    outcome: Outcome = Outcome.NONE
    error_code: str = ""
    error: str = ""
    since: float = 0.0
    assignment: int = 0
    agent_version: str = ""
    unsupported: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    fallback: str = ""
    server: str = ""
    service: str = ""
    drifted: tuple[str, ...] = ()
    drift_path: str = ""
    drift_at: float = 0.0
    drift_error: str = ""
    put_back: int = 0
    withheld: tuple[str, ...] = ()
    watched_until: float = 0.0
    generation: int = 0
    candidate: str = ""
    candidate_error: str = ""
    paused_at: float = 0.0
    nonce: str = ""

    def payload(self) -> bytes:
        """Return the bytes to sign."""
        return canonical(self._values())

    @classmethod
    def from_payload(cls, payload: bytes) -> StateRecord:
        """Return the record in ``payload``; unknown fields are ignored.

        Raises:
            WireError: It is no state record.
        """
        try:
            record = cls(**_fields_of(parse_json(payload)))
            record._check()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WireError("state", f"the state record is malformed: {error!r}") from error
        return record

    @classmethod
    def from_checked(cls, data: Mapping[str, Any]) -> StateRecord:
        """Return the record in ``data``, each known field of which is of its kind; unknown fields are ignored.

        Raises:
            WireError: It is no state record.
        """
        try:
            record = _make(_DEFAULTS | {"facts": {}} | _fields_of(data))
            record._check_promise()  # noqa: SLF001  # of this very class
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WireError("state", f"the state record is malformed: {error!r}") from error
        return record

    def slim(self, uid: str, share: Callable[[str], str]) -> StateRecord:
        """Return this without facts, and with texts that many agents have in common as ``share`` gives them.

        Args:
            uid: The agent's, which is not another text.
            share: Returns an equal text.
        """
        values = self._values()
        for name in _SHARED:
            values[name] = share(values[name])
        values["uid"], values["facts"] = uid, {}
        return _make(values)

    def _values(self) -> dict[str, Any]:
        return dict(zip(_NAMES, _read_all(self), strict=True))

    def _check(self) -> None:
        """Refuse values that would only hurt later, wherever they are read."""
        texts = (getattr(self, name) for name in _TEXTS)
        numbers = [getattr(self, name) for name in _NUMBERS]
        facts = [*self.facts.keys(), *self.facts.values()]
        listed = [text for name in _LISTS for text in getattr(self, name)]
        if not all(isinstance(text, str) for text in (*texts, *listed, *facts)):
            raise TypeError("a text is none")
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise TypeError("a number is none, or out of range")
        times = [getattr(self, name) for name in _TIMES]
        if not all(type(time) in {int, float} and math.isfinite(time) for time in times):
            raise TypeError("a time is none")
        self._check_promise()

    def _check_promise(self) -> None:
        if not 0 < self.promise <= PROMISE_MAX:
            raise ValueError("the promise is out of range")


_NAMES = tuple(StateRecord.__dataclass_fields__)
_DEFAULTS = {
    name: known.default
    for name, known in StateRecord.__dataclass_fields__.items()
    if known.default is not REQUIRED
}
_read_all = attrgetter(*_NAMES)
_WRITES = tuple((name, StateRecord.__dict__[name].__set__) for name in _NAMES)


def _make(values: Mapping[str, Any]) -> StateRecord:
    """Return a record of all these fields, at a third of what its constructor takes. Raises KeyError if one misses."""
    record = object.__new__(StateRecord)
    for name, write in _WRITES:
        write(record, values[name])
    return record


def _fields_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields of a record. Raises KeyError, TypeError, ValueError or AttributeError."""
    fields = StateRecord.__dataclass_fields__
    known = {name: value for name, value in data.items() if name in fields}
    known["outcome"] = Outcome(known["outcome"])
    for name in _LISTS:
        known[name] = tuple(known.get(name, ()))
    return known


@dataclass(frozen=True, slots=True)
class Downtime:
    """A span in which this Manager did not serve, in unix seconds."""

    begin: float
    end: float


def presence(
    last_contact: float | None, promise: float, now: float, downtimes: Sequence[Downtime] = ()
) -> Presence:
    """Return whether the agent keeps its promise.

    Args:
        last_contact: Unix seconds; None if it was never seen.
        promise: Seconds from a contact to the next one.
        now: Unix seconds.
        downtimes: Spans that do not count, because nobody could be reached.
    """
    if last_contact is None:
        return Presence.NEVER_SEEN
    silent = now - last_contact
    for down in downtimes:
        silent -= max(0.0, min(down.end, now) - max(down.begin, last_contact))
    if silent <= OVERDUE * promise:
        return Presence.ON_TIME
    return Presence.OVERDUE if silent <= MISSING * promise else Presence.MISSING


def age_bound(
    last_contact: float | None, promise: float, now: float, downtimes: Sequence[Downtime] = ()
) -> float | None:
    """Return the seconds that nothing an agent said is older than; None where nothing bounds it.

    An agent that is on time was heard of within :data:`OVERDUE` of what it promised, the time aside in which nobody
    could be reached.  What it says is looked up when it reports, so nothing is added for collecting.
    Arguments as of :func:`presence`.
    """
    if last_contact is None or presence(last_contact, promise, now, downtimes) is not Presence.ON_TIME:
        return None
    down = (max(0.0, min(one.end, now) - max(one.begin, last_contact)) for one in downtimes)
    return OVERDUE * promise + sum(down)


def sync_state(wanted_digest: str, record: StateRecord | None) -> SyncState:
    """Return whether one of our agents has the content ``wanted_digest``, and is reached as that says."""
    state = content_state(wanted_digest, record)
    waits = record is not None and record.fallback in UNVISITED
    return SyncState.PENDING if waits and state is SyncState.IN_SYNC else state


def content_state(wanted_digest: str, record: StateRecord | None) -> SyncState:
    """Return whether one of our agents has the content ``wanted_digest``, however it is reached."""
    if record is None or record.content_digest != wanted_digest:
        return SyncState.PENDING
    if record.outcome is Outcome.FAILED:
        return SyncState.FAILED
    # v0.1.0 does not say which bundle is in force; there it is the newest, once that is applied.
    newest = record.applied_digest in {"", wanted_digest}
    applied = record.outcome is Outcome.APPLIED and record.applied_resolved == record.resolved
    if not applied or not newest or record.withheld:
        return SyncState.PENDING
    return SyncState.DRIFTED if record.drifted else SyncState.IN_SYNC
