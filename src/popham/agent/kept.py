"""What a machine keeps of its orders, read again when its agent starts.

A document that this program cannot read, such as one of a newer Manager after the agent was
downgraded, counts as none: upstream sends another, and the machine stays as it is until then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from popham.agent.in_force import InForce
from popham.agent.records import Trial
from popham.agent.state import AgentState
from popham.errors import StateError, TrustError
from popham.model.bundle import BUNDLE_TYPE
from popham.model.names import DEFAULT_TENANT
from popham.trust.assignment import Assignment
from popham.trust.document import parse_strict
from popham.trust.dsse import Envelope
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import open_assignment, open_bundle

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept here; signatures are checked again, floors are not.

    Attributes:
        assignment: None if there is none.
        newest: The newest bundle accepted, in its default location; None if there is none.
        in_force: The bundle in force, likewise.
        error: Why one of them counts as none although it is there; None if each could be read.
    """

    assignment: Assignment | None = None
    newest: InForce | None = None
    in_force: InForce | None = None
    error: TrustError | None = None


def read_kept(state: AgentState, tuf: TrustedTuf) -> Kept:
    """Return what ``state`` keeps, by the word of ``tuf``.

    Raises:
        StateError: A file is damaged.
    """
    errors: list[TrustError] = []

    def read(name: str, envelope: bytes | None, opened: Callable[[bytes], _T]) -> _T | None:
        try:
            return None if envelope is None else opened(envelope)
        except TrustError as error:
            _log.error("the %s kept here counts as none: %s", name, error)
            errors.append(error)
            return None

    def open_own(envelope: bytes) -> Assignment:
        key = state.identity_key().keyid
        return open_assignment(envelope, tuf=tuf, uid=state.uid, spki_sha256=key, seq_floor=0)

    assignment = read("assignment", state.assignment(), open_own)
    newest = in_force = None
    if assignment is not None:
        named = assignment.candidate
        newest = read("newest bundle", state.bundle(), lambda held: _open(held, tuf, state.uid, named))
        in_force = read("bundle in force", state.last_good(), lambda held: _open(held, tuf, state.uid, named))
        progress = state.progress()
        if in_force is not None:
            resolved, serial = progress.applied_resolved, progress.applied_serial
            in_force = in_force.bringing(resolved, serial=serial, parts=progress.parts)
        part = in_force.only(progress.parts) if in_force else None
        if part is not None and part.held.resolved_digest == progress.applied_resolved:
            in_force = part
    error = errors[0] if errors else None
    return Kept(assignment=assignment, newest=newest, in_force=in_force, error=error)


def _open(envelope: bytes, tuf: TrustedTuf, uid: str, candidate: str = "") -> InForce:
    """Return the bundle in ``envelope``, whatever its group: the assignment may have changed since."""
    try:
        group = parse_strict(Envelope.parse(envelope, types=(BUNDLE_TYPE,)).payload).get("group")
    except ValueError as error:
        raise TrustError("document", f"the bundle is malformed: {error}") from error
    bundle, _ = open_bundle(envelope, tuf=tuf, tenant=DEFAULT_TENANT, group=str(group), floor=None)
    return InForce.of(bundle, uid, envelope, candidate)


def read_proven(state: AgentState, tuf: TrustedTuf, trial: Trial) -> InForce:
    """Return the bundle that an undo goes back to, where it held.

    Raises:
        StateError: ``state.proven``: it is not here. ``state.corrupt``.
        TrustError: It cannot be read.
    """
    envelope = state.proven()
    if envelope is None:
        raise StateError("proven", "what was in force before is not kept here", "Publish it again")
    found = _open(envelope, tuf, state.uid).bringing(trial.proven, parts=trial.parts)
    return found.at(trial.location).only(trial.parts)


def read_former(state: AgentState, tuf: TrustedTuf, trial: Trial) -> InForce | None:
    """Return the bundle that was on trial before, where it held; None if it is not that which ``trial`` names.

    Raises:
        StateError: ``state.corrupt``.
        TrustError: It cannot be read.
    """
    envelope = state.former() if trial.former else None
    found = _open(envelope, tuf, state.uid).bringing(trial.former) if envelope is not None else None
    found = found.at(trial.former_location) if found is not None else None
    # A process may have ended between the two files.
    return found if found is not None and found.held.resolved_digest == trial.former else None
