"""Revisions of policies: who made them and why, what differs between two, and the way back to one.

A revision is never changed and its number never used again, also after its policy was deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from popham.errors import NotFoundError, StateError
from popham.manager.audit import note
from popham.manager.bundles import Bundles, newest, open_row
from popham.manager.exported import write_policy
from popham.manager.grant import Grant
from popham.manager.objects import describe_policy, missing_policy, notes_of
from popham.manager.release import Release
from popham.manager.views import DifferenceView, RevisionView
from popham.model.difference import find_difference
from popham.model.fleet import Tree
from popham.model.managed import SOURCE, refuse_edit
from popham.model.rollout import RolloutTerms
from popham.store.rows import BundleRow, PolicyRow, RevisionRow
from popham.store.seam import Reading, Writing


def view_history(reading: Reading, name: str) -> list[RevisionView]:
    """Return all revisions of a policy, the newest first; also of one that was deleted.

    Raises:
        NotFoundError: ``not_found.policy``: there never was one.
    """
    rows = reading.revisions(name)
    if not rows:
        raise missing_policy(reading, name)
    head = reading.policy(name)
    holders = _holders(reading, name, reading.agent_counts())
    return [
        RevisionView(
            revision=row.revision,
            author=row.author,
            at=row.at,
            message=row.message,
            sha256=row.sha256,
            newest=head is not None and row.revision == head.revision,
            groups=tuple(holders.get(row.revision, {})),
            agents=sum(holders.get(row.revision, {}).values()),
        )
        for row in rows
    ]


def view_difference(reading: Reading, name: str, first: int | None, second: int | None) -> DifferenceView:
    """Return what differs between two revisions of a policy, without what either or the newest calls secret.

    Args:
        reading: A snapshot.
        name: Of the policy.
        first: The older one; None for the one before ``second``.
        second: The newer one; None for the newest.

    Raises:
        NotFoundError: ``not_found.policy`` or ``not_found.revision``.
        StateError: ``state.blob``: a body is gone.
    """
    rows = reading.revisions(name)
    new = _find(reading, name, rows[0].revision if second is None and rows else second or 0)
    before = [row.revision for row in rows if row.revision < new.revision]
    if first is None and not before:
        return DifferenceView(before=0, after=new.revision, difference=_differ(reading, None, new, rows[0]))
    old = _find(reading, name, before[0] if first is None else first)
    difference = _differ(reading, old, new, rows[0])
    return DifferenceView(before=old.revision, after=new.revision, difference=difference)


def roll_back(
    tx: Writing,
    bundles: Bundles,
    grant: Grant,
    name: str,
    revision: int,
    *,
    message: str = "",
    take_over: bool = False,
    everyone: bool = False,
    rollout: RolloutTerms | None = None,
    now: float,
) -> tuple[Sequence[BundleRow], str]:
    """Make a new revision with the body of an old one; return the bundles that are new by it, and its rollout.

    With ``rollout`` a few agents have it first; with ``everyone`` it may reach any number at once.

    Whom the policy is for, its labels and its tests stay as they are.  The body that holds already
    makes no revision.

    Raises:
        NotFoundError: ``not_found.policy`` or ``not_found.revision``.
        StateError: ``state.blob``: the body is gone.
        ConflictError: ``conflict.managed``, ``conflict.bundle``, or as for :meth:`Release.publish`.
    """
    head = tx.policy(name)
    if head is None:
        hint = "It was deleted; export an older state, or write it anew" if tx.revision_numbers(name) else ""
        raise missing_policy(tx, name, hint)
    notes = notes_of(head)
    refuse_edit(f"policy/{name}", notes.annotations, take_over=take_over)
    old = _find(tx, name, revision)
    if old.type != head.type:
        problem = (
            f"revision {revision} of policy {name!r} is of type {old.type!r}, from before it was deleted"
        )
        raise NotFoundError("revision", problem, f"Choose one of type {head.type!r}")
    if old.sha256 == head.sha256:
        return (), ""
    _read_body(tx, old)
    why = f"back to revision {revision}" + (f": {message}" if message else "")
    groups = bundles.groups.read(tx)
    release = Release(tx, bundles, grant, groups, now=now, everyone=everyone, terms=rollout, message=why)
    number = head.revision + 1
    tx.add_revision(replace(old, revision=number, author=grant.actor, at=now, message=why))
    kept = {key: value for key, value in notes.annotations.items() if key != SOURCE}
    labels = replace(notes, annotations=kept).encoded()
    new = replace(head, revision=number, sha256=old.sha256, labels=labels)
    tx.put_policy(new)
    after = describe_policy(new) | {"message": why}
    note(tx, grant, "policy.rollback", f"policy/{name}", now=now, before=describe_policy(head), after=after)
    touched = [group.name for group in groups.values() if name in group.assigned()]
    signed = release.publish(touched, tree=Tree(groups.values())) if touched else ()
    return signed, release.rollout


def _find(reading: Reading, name: str, revision: int) -> RevisionRow:
    row = reading.revision(name, revision)
    if row is not None:
        return row
    known = reading.revision_numbers(name)
    if not known:
        raise missing_policy(reading, name)
    problem = f"policy {name!r} has no revision {revision}"
    raise NotFoundError(
        "revision", problem, f"It has {known[-1]} to {known[0]}: see popham history policy {name}"
    )


def _read_body(reading: Reading, row: RevisionRow) -> bytes:
    encoded = row.encoded or reading.encoded(row.sha256)
    if not encoded:
        problem = f"the content of revision {row.revision} of policy {row.name!r} is gone from the store"
        raise StateError("blob", problem, "Choose another revision, or restore the Manager from a backup")
    return encoded


def _differ(reading: Reading, old: RevisionRow | None, new: RevisionRow, newest: RevisionRow) -> str:
    before = f"{new.name}/{old.revision}" if old else "nothing"
    return find_difference(
        _object(reading, old) if old else None,
        _object(reading, new),
        before=before,
        after=f"{new.name}/{new.revision}",
        marks=[_object(reading, newest)] if newest.revision != new.revision else [],
    )


def _object(reading: Reading, row: RevisionRow) -> dict[str, Any]:
    """Return a revision as a definition. Only its body is a revision's; the rest is the policy's."""
    _read_body(reading, row)
    head = PolicyRow(name=row.name, type=row.type, revision=row.revision, sha256=row.sha256)
    return dict(write_policy(reading, head))


def _holders(reading: Reading, name: str, counts: Mapping[str, int]) -> dict[int, dict[str, int]]:
    """Return revision → the groups whose newest bundle has it, in any location, and how many agents it is for.

    During a rollout a group has two; of its agents the share of the wave is to have the candidate.
    """
    found: dict[int, dict[str, int]] = {}
    for group, row in sorted(newest(reading).items()):
        bundle, agents = open_row(row), counts.get(group, 0)
        first = ceil(agents * bundle.rollout.share) if bundle.rollout else 0
        sides = [(bundle.stable, agents - first)]
        if bundle.candidate is not None and first:
            sides.append((bundle.candidate, first))
        for side, number in sides:
            refs = {
                ref.revision for held in side.locations.values() for ref in held.policies if ref.name == name
            }
            for revision in refs:
                held = found.setdefault(revision, {})
                held[group] = held.get(group, 0) + number
    return found
