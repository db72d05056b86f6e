"""How far a ``send`` is at one agent, by what it said. Pure.

Rules:

1. Nothing counts that was said before the send began: the agent has to be heard of since.
2. A send follows what the agent is to have *now*; who has something newer than it had to have is served.
3. What holds an agent back for good, such as a policy that it refused, ends it with the agent's own words.

Source: row F.Y9.
"""

from __future__ import annotations

from collections.abc import Mapping

from popham.errors import OperationError, PophamError
from popham.manager.judgement import ACCEPTS_REMOTE_CONFIG
from popham.model.cell import Dialer
from popham.model.fleet import Admission, AgentKind
from popham.model.operation import OperationState
from popham.model.status import Outcome, Presence, StateRecord, SyncState, content_state, presence
from popham.upstream.record import APPLYING, FAILED, Record, Wanted, stock_digest

Followed = tuple[OperationState, str, str]
"""State, code of why it failed, and a sentence."""
JOINED = "merged with "
"""Stands before the name of an earlier send, whose round serves a later one."""
_SENT: Followed = (OperationState.SENT, "", "")
_APPLIED: Followed = (OperationState.SUCCEEDED, "", "")


def follow(record: Record, wanted: Wanted | None, candidates: Mapping[str, str]) -> Followed:
    """Return how far a send is at an agent that was heard of since it began.

    Args:
        record: The agent.
        wanted: What its group is to have.
        candidates: Location → digest of the resolved policy of a candidate that is to be held there, the default
            location under an empty name; empty if what is sent is to be in force.
    """
    if record.admission is not Admission.ACCEPTED:
        return _failed(OperationError("admission", f"it was {record.admission} by an administrator"))
    if record.kind is AgentKind.STOCK:
        return _follow_stock(record, wanted)
    state = record.state
    if state is None or wanted is None:
        return _SENT
    if candidates:
        return _follow_candidate(state, wanted, candidates)
    return _follow_own(record, state, wanted)


def _follow_own(record: Record, state: StateRecord, wanted: Wanted) -> Followed:
    found = content_state(wanted.content_digest, state)
    if found is SyncState.IN_SYNC:
        return OperationState.SUCCEEDED, "", f"has serial {state.applied_serial}"
    if found is SyncState.FAILED or state.error_code.startswith("trust."):
        return OperationState.FAILED, state.error_code, state.error
    error = _held_back(record, state, wanted) if state.content_digest == wanted.content_digest else None
    if error is not None:
        return _failed(error)
    applying = state.outcome is Outcome.APPLYING
    return OperationState.SENT, "", f"applying serial {state.serial}" if applying else ""


def _held_back(record: Record, state: StateRecord, wanted: Wanted) -> OperationError | None:
    """Return what keeps an agent from having in force what it holds; None if it only takes its time."""
    if state.drifted and state.drift_error:
        return OperationError("drifted", f"what drifted cannot be put back: {state.drift_error}")
    if state.withheld and wanted.guards(record):
        names = ", ".join(state.withheld)
        problem = f"waits for policies {names}: they are given from serial {wanted.minimum_serial} on"
        return OperationError("withheld", f"{problem}, it has {state.applied_serial}")
    if not wanted.settings_for(record.uid).at(state.location).download:
        return OperationError("download", f"download is off for group {record.group}")
    return None


def _follow_candidate(state: StateRecord, wanted: Wanted, candidates: Mapping[str, str]) -> Followed:
    expected = candidates.get(state.location, candidates.get("", ""))
    if expected and expected in {state.candidate, state.applied_resolved}:
        return OperationState.SUCCEEDED, "", "holds the candidate"
    if state.error_code.startswith("trust."):
        return OperationState.FAILED, state.error_code, state.error
    if state.content_digest == wanted.content_digest and state.candidate_error:
        return _failed(OperationError("candidate", state.candidate_error))
    return _SENT


def _follow_stock(record: Record, wanted: Wanted | None) -> Followed:
    held = record.remote.digest
    expected = stock_digest(wanted.objects_digest if wanted else b"", held)
    if not expected:
        return _APPLIED
    if not record.ear.capabilities & ACCEPTS_REMOTE_CONFIG:
        return _failed(OperationError("takes_nothing", "it takes no configuration"))
    if held != expected or record.remote.status == APPLYING:
        return _SENT
    if record.remote.status == FAILED:
        problem = f"refused: {record.remote.error or 'it did not say why'}"
        return _failed(OperationError("refused_config", problem))
    return _APPLIED


def _failed(error: PophamError) -> Followed:
    return OperationState.FAILED, error.code, error.problem


def comes(record: Record, now: float) -> bool:
    """Return whether an agent comes by itself, as it promised to, whatever becomes of visits."""
    if record.link is not None:
        return True
    dials = record.state is not None and record.state.dialer == Dialer.AGENT
    return dials and presence(record.last_contact, record.promise, now) is Presence.ON_TIME


def too_old(version: str) -> OperationError:
    """Return why nothing can be ordered of an agent of this version."""
    return OperationError(
        "generation", f"version {version} of the agent takes no operations", "Upgrade the agent"
    )


def joined_with(text: str) -> str:
    """Return with what a send was merged, in words, by what its target says; empty if with nothing."""
    return text.partition(";")[0] if text.startswith(JOINED) else ""


def join(*parts: str) -> str:
    """Return sentences behind each other; those that are empty are left out."""
    return "; ".join(part for part in parts if part)
