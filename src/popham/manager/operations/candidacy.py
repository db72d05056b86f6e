"""Operations about a candidate: which one, in which group, and that agents are to have it by name from now on.

Source: row F.Y9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from popham.errors import ConflictError
from popham.manager.bundles import open_row
from popham.manager.candidates import assign_candidate, find_candidate, withdraw_candidate
from popham.manager.grant import Grant
from popham.manager.operations.stored import StoredOperation, open_operation
from popham.manager.rollouts import StoredRollout, find_rollout
from popham.model.bundle import Bundle
from popham.model.operation import Kind, OperationState
from popham.store.rows import TargetRow
from popham.store.seam import Reading, Writing
from popham.trust.dsse import Signer

_OPEN: Final = tuple(str(state) for state in OperationState if not state.is_over)
_NAMING: Final = (*_OPEN, str(OperationState.SUCCEEDED))
"""States of targets that have a candidate by name, or are about to."""
_LOOKED: Final = 1000
"""The newest operations of the kind that are looked at."""


def find_within(
    tx: Reading, kind: Kind, args: Mapping[str, Any], groups: Iterable[str]
) -> Mapping[str, Mapping[str, Any]] | None:
    """Return what a candidate is in each group that has one; None for an operation about none.

    For an ``apply`` that is what its documents say; for a ``send`` location → digest of what is to be held, that
    of the default location under an empty name too.

    Args:
        tx: One snapshot.
        kind: Of the operation.
        args: Of it: ``rollout`` names the rollout; empty for the one that each group is in.
        groups: Of its targets.

    Raises:
        NotFoundError: ``not_found.rollout``.
        ConflictError: ``conflict.no_candidate``: none of the groups has one.
    """
    if kind is not Kind.APPLY and not (kind is Kind.SEND and args["no_apply"]):
        return None
    named = find_rollout(tx, args["rollout"]) if args["rollout"] else None
    found: dict[str, Mapping[str, Any]] = {}
    asked = list(groups)
    for group in asked:
        stored = named or find_candidate(tx, group)
        row = tx.bundle(group)
        if stored is None or row is None or group not in stored.groups or not stored.rollout.named:
            continue
        bundle = open_row(row)
        if bundle.candidate is None:
            continue
        found[group] = _digests(bundle) if kind is Kind.SEND else _document(bundle, stored)
    if asked and not found:
        problem = "no group of these agents has a candidate that agents may have by name"
        raise ConflictError("no_candidate", problem, "Publish one: popham send --no-apply")
    return found


def name_candidates(
    tx: Writing,
    director: Signer,
    grant: Grant,
    stored: StoredOperation,
    rows: Sequence[TargetRow],
    *,
    now: float,
) -> list[str]:
    """Have the targets of an ``apply`` use their candidate; return those whose assignment is another by it.

    Raises:
        ConflictError: ``conflict.candidate``: nobody may have it by name any more.
    """
    if stored.kind is not Kind.APPLY:
        return []
    by_rollout: dict[str, list[str]] = {}
    for row in rows:
        if row.open:
            by_rollout.setdefault(stored.args_for(row.group)["rollout"], []).append(row.uid)
    changed = []
    for name, uids in by_rollout.items():
        changed += assign_candidate(tx, director, grant, find_rollout(tx, name), uids, now=now)
    return changed


def withdraw_candidates(
    tx: Writing, director: Signer, grant: Grant, stored: StoredOperation, *, now: float
) -> list[str]:
    """Have the targets of an ``apply`` that is cancelled go without its candidate, those that have not applied it.

    Who has it by another ``apply`` keeps it. Returns those whose assignment is another by it.
    """
    if stored.kind is not Kind.APPLY:
        return []
    by_rollout: dict[str, set[str]] = {}
    for row in tx.targets(stored.number, states=_OPEN):
        by_rollout.setdefault(stored.args_for(row.group)["rollout"], set()).add(row.uid)
    changed: list[str] = []
    for name, uids in by_rollout.items():
        left = uids - _named_by_others(tx, stored, name)
        changed += withdraw_candidate(tx, director, grant, name, sorted(left), now=now)
    return changed


def _named_by_others(tx: Reading, stored: StoredOperation, rollout: str) -> set[str]:
    """Return the agents that have, or are about to have, the candidate of a rollout by another operation."""
    found: set[str] = set()
    for row in tx.operations(limit=_LOOKED, kind=str(Kind.APPLY)):
        other = open_operation(row)
        groups = {group for group, said in other.within.items() if said["rollout"] == rollout}
        if other.number != stored.number and groups:
            rows = tx.targets(other.number, states=_NAMING)
            found |= {one.uid for one in rows if one.group in groups}
    return found


def _document(bundle: Bundle, stored: StoredRollout) -> dict[str, Any]:
    return {"group": bundle.group, "serial": bundle.serial, "rollout": stored.rollout.id}


def _digests(bundle: Bundle) -> dict[str, str]:
    side = bundle.candidate
    if side is None:
        return {}
    found = {name: held.resolved_digest for name, held in side.locations.items()}
    return found | {"": found[side.default_location]}
