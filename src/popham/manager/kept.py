"""Agents as the Manager keeps them in memory, made of what the database has."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from popham.manager.overrides import Overrides, read_overrides
from popham.manager.saving import STATUS
from popham.model.fleet import Admission, AgentKind
from popham.opamp.session import Ear
from popham.opamp.wire import SESSION
from popham.store.rows import AgentRow, Kept
from popham.upstream.record import Record, RemoteStatus

_CUSTOM: Mapping[AgentKind, frozenset[str] | None] = {
    AgentKind.UNKNOWN: None,
    AgentKind.OWN: frozenset({SESSION}),
    AgentKind.STOCK: frozenset(),
}
"""What is remembered of custom capabilities, by kind."""
_KINDS: Mapping[str, AgentKind] = {str(kind): kind for kind in AgentKind}
_ADMISSIONS: Mapping[str, Admission] = {str(admission): admission for admission in Admission}
_NO_REMOTE = RemoteStatus()
_NOTHING, _NO_OVERRIDES = "{}", Overrides()


def record_of(row: AgentRow | Kept) -> Record:
    """Return the record of a row; a hundred thousand of them are to take seconds, so nothing is parsed."""
    kind, overrides = _KINDS[row.kind], overrides_of(row.overrides)
    described = row.description != "{}"
    ear = Ear(sequence=row.sequence, capabilities=row.capabilities, described=described)
    ear.custom = _CUSTOM[kind]
    return Record(
        uid=row.uid,
        key=bytes.fromhex(row.uid.replace("-", "")),
        name=row.name,
        group=sys.intern(row.group),
        kind=kind,
        admission=_ADMISSIONS[row.admission],
        public_key=row.public_key,
        former_key=row.former_key,
        assignment=row.assignment,
        assignment_seq=row.assignment_seq,
        ear=ear,
        envelope=row.state,
        described=row.description,
        remote=_remote(row.remote),
        contacted=row.last_contact,
        own_promise=row.promise,
        address=row.address,
        certificate_until=row.certificate_until,
        dialer=overrides.dialer,
        candidate=overrides.candidate,
    )


def _remote(text: str) -> RemoteStatus:
    if text == "{}":
        return _NO_REMOTE
    said = json.loads(text)
    return RemoteStatus(bytes.fromhex(said["hash"]), STATUS.index(said["status"]), said["error"])


def decide(record: Record, row: AgentRow) -> None:
    """Write into a record what others than the agent decide."""
    record.settled = None
    record.admission = Admission(row.admission)
    record.assignment, record.assignment_seq = row.assignment, row.assignment_seq
    record.public_key, record.former_key = row.public_key, row.former_key
    record.certificate_until = row.certificate_until
    overrides = overrides_of(row.overrides)
    record.dialer, record.candidate = overrides.dialer, overrides.candidate


def overrides_of(text: str) -> Overrides:
    """Return what an assignment says of one agent alone, by the text of its row; most have nothing to be read."""
    return _NO_OVERRIDES if text == _NOTHING else read_overrides(text)
