"""Whether an agent has what it should have, and one sentence why not. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from popham.manager.cohort import takes_part
from popham.manager.overrides import Overrides
from popham.model.bundle import Bundle
from popham.model.fleet import Admission, AgentKind
from popham.model.rollout import RolloutRef
from popham.model.status import (
    UNVISITED,
    Outcome,
    Presence,
    StateRecord,
    SyncState,
    content_state,
    sync_state,
)
from popham.store.rows import AgentRow
from popham.upstream.record import APPLYING, FAILED, Record, Wanted, stock_digest

ACCEPTS_REMOTE_CONFIG = 0x2
"""Bit of OpAMP's AgentCapabilities. Source: OpAMP v0.20, AgentCapabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known of an agent at one moment.

    Attributes:
        row: As stored.
        record: Its newest verified state record; None if it never sent one.
        bundle: Its group's bundle, during a rollout as it holds for this agent; None if there is none.
        config_hash: Hash of what a stock agent should have; empty for nothing.
        presence: Computed.
        connected: Whether a held link is open.
        next_contact: Promised, in unix seconds; None if unknown.
        now: Unix seconds.
        minimum_serial: Serial that its group asks for before it gives bodies with secrets; 0 for none.
        next_visit: When it is visited next, in unix seconds; None if it is not, or that is under way.
        unvisited: Why it dials although it is to be visited, in a sentence; empty if it does not.
        waits: For which Proxy Manager it has to wait, in a sentence; empty if for none.
    """

    row: AgentRow
    record: StateRecord | None
    bundle: Bundle | None
    config_hash: bytes
    presence: Presence
    connected: bool
    next_contact: float | None
    now: float
    minimum_serial: int = 0
    next_visit: float | None = None
    unvisited: str = ""
    waits: str = ""


def judge(sight: Sight) -> tuple[SyncState, str]:
    """Return the sync state, and the sentence behind it where it is not *in sync*."""
    row = sight.row
    if row.admission == Admission.NEW:
        return SyncState.PENDING, f"not accepted yet: popham accept agent {row.name}"
    if row.admission != Admission.ACCEPTED:
        return SyncState.PENDING, f"{row.admission} by an administrator: it is given nothing"
    if row.kind == AgentKind.STOCK:
        return _judge_stock(sight)
    if row.kind != AgentKind.OWN:
        return SyncState.PENDING, "it has not said yet what it is"
    return _judge_own(sight)


def _judge_own(sight: Sight) -> tuple[SyncState, str]:
    bundle, record, row = sight.bundle, sight.record, sight.row
    if bundle is None:
        return SyncState.PENDING, f"group {sight.row.group} has no bundle"
    state = _state(bundle.content_digest, bundle.rollout, record, row.assignment_seq)
    if state is SyncState.IN_SYNC:
        why = ""
    elif content_state(bundle.content_digest, record) is SyncState.IN_SYNC:
        why = _waits(sight)
    elif record is None:
        why = _awaits(sight, "its first report")
    elif state is SyncState.FAILED:
        undone = record.error_code.startswith("policy.undone_")
        why = record.error if undone else f"refused: {record.error or record.error_code}"
    elif record.content_digest == bundle.content_digest and not bundle.download:
        why = f"download is off for group {bundle.group}"
    elif record.content_digest == bundle.content_digest:
        applying = record.outcome is Outcome.APPLYING
        why = (
            _withheld(sight, record)
            or f"{'applying' if applying else 'has, and has not applied yet,'} serial {serial_of(sight)}"
        )
    elif record.error_code.startswith("trust."):
        why = f"refused what came: {record.error}"
    elif record.serial > bundle.serial:
        why = f"holds serial {record.serial}, which is newer than this Manager's {bundle.serial}"
    else:
        why = _has_content(sight, bundle, record) + _awaits(sight, "its answer")
    return state, why


def _state(
    wanted_digest: str, rollout: RolloutRef | None, record: StateRecord | None, assignment: int
) -> SyncState:
    """Return the sync state of one of our agents, whose newest assignment has this number.

    Where the rollout of its group goes by name too, the assignment says which side of the bundle is to hold.
    """
    state = sync_state(wanted_digest, record)
    named = rollout is not None and rollout.named
    behind = named and record is not None and record.assignment < assignment
    return SyncState.PENDING if behind and state is SyncState.IN_SYNC else state


def _waits(sight: Sight) -> str:
    """Return what an agent waits for that has the content of its group's bundle."""
    if sight.record is not None and sight.record.fallback in UNVISITED:
        return sight.unvisited or "its group wants the Manager to dial, which waits"
    return _awaits(sight, "its answer to its assignment")


def _has_content(sight: Sight, bundle: Bundle, record: StateRecord) -> str:
    """Return that the content of a newer bundle is in force already, where its rollout widened or ended; else empty."""
    held = bundle.locations.get(record.location)
    same = held is not None and held.resolved_digest == record.applied_resolved
    if not same or record.group != bundle.group or record.applied_serial != serial_of(sight):
        return ""
    return f"has serial {record.applied_serial} already, by a rollout that went on since; "


def _withheld(sight: Sight, record: StateRecord) -> str:
    """Return which policies an agent is not given yet; empty if it has what it needs to apply all."""
    if not record.withheld:
        return ""
    names = ", ".join(record.withheld)
    if record.applied_serial >= sight.minimum_serial:
        return f"waits for policies {names}: it is given them when it asks at its next contact"
    return (
        f"waits for policies {names}: they are given from serial {sight.minimum_serial} on, "
        f"it has {record.applied_serial}"
    )


def has_candidate(bundle: Bundle, row: AgentRow, record: StateRecord | None) -> bool:
    """Return whether the candidate of a rollout is to hold for an agent; not for one that knows none."""
    if row.kind != AgentKind.OWN or record is None or not takes_part(record.agent_version):
        return False
    return bundle.is_candidate(row.uid, Overrides.of(row).candidate)


def serial_of(sight: Sight) -> int:
    """Return the serial of the content that is to hold for an agent: an older one on a rollout's stable side."""
    bundle = sight.bundle
    if bundle is None:
        return 0
    if bundle.rollout is None or has_candidate(bundle, sight.row, sight.record):
        return bundle.serial
    return bundle.rollout.stable_serial


def _judge_stock(sight: Sight) -> tuple[SyncState, str]:
    remote = json.loads(sight.row.remote)
    held = str(remote.get("hash", ""))
    wanted = stock_digest(sight.config_hash, bytes.fromhex(held)).hex()
    if not wanted:
        return SyncState.IN_SYNC, ""
    if not sight.row.capabilities & ACCEPTS_REMOTE_CONFIG:
        return SyncState.CANNOT, "it takes no configuration"
    if held != wanted:
        return SyncState.PENDING, _awaits(sight, "its answer")
    status = remote.get("status", "")
    if status == "FAILED":
        return SyncState.FAILED, f"refused: {remote.get('error') or 'it did not say why'}"
    if status == "APPLYING":
        return SyncState.PENDING, "applying its configuration"
    return SyncState.IN_SYNC, ""


def _awaits(sight: Sight, what: str) -> str:
    """Return what is waited for, and when that is to be expected."""
    if sight.waits:
        return sight.waits
    if sight.connected:
        return f"told over its held link; waits for {what}"
    if sight.next_visit is not None and not sight.unvisited:
        return f"waits for its visit in {show_span(sight.next_visit - sight.now)}"
    if sight.presence is Presence.NEVER_SEEN or sight.next_contact is None:
        return f"never seen; waits for {what}"
    if sight.presence is Presence.ON_TIME and sight.next_contact > sight.now:
        return f"waits for its heartbeat in {show_span(sight.next_contact - sight.now)}"
    late = show_span(sight.now - sight.next_contact)
    on_time = sight.presence is Presence.ON_TIME
    return (
        f"waits for its heartbeat, due {late} ago"
        if on_time
        else f"{sight.presence}: its heartbeat was due {late} ago"
    )


def show_span(seconds: float) -> str:
    """Return a span for people, rounded to its largest unit: ``4m``, ``2h``."""
    for unit, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{int(seconds // unit)}{letter}"
    return f"{max(0, int(seconds))}s"


def judge_record(record: Record, wanted: Wanted | None) -> SyncState:
    """Return the sync state of an agent as it is in memory; the same as :func:`judge` of its row."""
    if record.admission is not Admission.ACCEPTED or record.kind is AgentKind.UNKNOWN:
        return SyncState.PENDING
    if record.kind is AgentKind.OWN:
        seq = record.assignment_seq
        pending = SyncState.PENDING
        return _state(wanted.content_digest, wanted.rollout, record.state, seq) if wanted else pending
    held = record.remote.digest
    expected = stock_digest(wanted.objects_digest if wanted else b"", held)
    if not expected:
        return SyncState.IN_SYNC
    if not record.ear.capabilities & ACCEPTS_REMOTE_CONFIG:
        return SyncState.CANNOT
    if held != expected or record.remote.status == APPLYING:
        return SyncState.PENDING
    return SyncState.FAILED if record.remote.status == FAILED else SyncState.IN_SYNC
