"""Undoing a rollout: the definitions hold again that held before it, under new and higher numbers.

Rules:

1. Nothing of it may have been edited since; otherwise nothing is undone, and the error says what was.
2. A policy goes back by a new revision that names the old one.
3. What the change created is deleted, unless something needs it meanwhile: then it stays, and the undo says so.
   What it deleted is there again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from popham.errors import ConflictError, StateError
from popham.manager.audit import note
from popham.manager.bundles import Bundles
from popham.manager.grant import Grant
from popham.manager.inventory import delete_group, delete_policy
from popham.manager.needs import Needs
from popham.manager.objects import describe_policy, last_revision, notes_of, read_refs, show_some
from popham.manager.release import Objects, read_rows, row_digest
from popham.manager.rollouts import Former, StoredRollout, describe, open_rollout
from popham.manager.spill import check_spill
from popham.model.bundle import Bundle
from popham.model.fleet import Group, Tree
from popham.model.managed import SOURCE
from popham.model.rollout import RolloutState
from popham.resolve.build import advance, build_side
from popham.store.rows import BundleRow, GroupRow, PlacementRow, PolicyRow
from popham.store.seam import Writing

_NAMED = 5
"""Objects that an error names."""


def undo(
    tx: Writing, bundles: Bundles, grant: Grant, stored: StoredRollout, *, now: float
) -> tuple[StoredRollout, list[BundleRow]]:
    """End a rollout with what held before it; return it, and the bundles that are new.

    Raises:
        ConflictError: ``conflict.changed``: something of it was edited since; ``conflict.rollout``: a group
            would get what is in another rollout; ``conflict.bundle``.
        StateError: ``state.blob``: the body of a policy is gone.
    """
    rows = read_rows(tx)
    _check_unchanged(stored, rows)
    back = _Back(tx, grant, stored, now)
    back.put_policies()
    back.put_groups()
    back.put_placements()
    groups = bundles.groups.read(tx)
    _check_circle(stored, groups)
    kept = back.delete_created(groups)
    groups = bundles.groups.read(tx)
    tree = Tree(groups.values())
    _check_whole(groups, {row.name: row.private_to for row in tx.policies()})
    refs = read_refs(tx)
    others = [open_rollout(row) for row in tx.rollouts(open_only=True) if row.number != stored.number]
    counts = tx.agent_counts() if others else {}

    def allow(found: Sequence[Bundle]) -> None:
        check_spill(others, found, tree, counts)

    def change(bundle: Bundle) -> Bundle:
        after = advance(bundle, build_side(tree, refs, bundle.group), now=now)
        allow([after])
        return after

    signed = [bundles.follow(tx, name, change) for name in sorted(stored.groups)]
    touched = back.touched(groups)
    if touched:
        signed += bundles.publish(tx, sorted(touched), now=now, tree=tree, allow=allow)
    reason = f"{', '.join(kept)} stayed, since something needs it" if kept else ""
    after = replace(
        stored, rollout=stored.rollout.became(RolloutState.UNDONE, reason, now=now, by=grant.actor)
    )
    tx.put_rollout(after.row())
    about = f"rollout/{stored.rollout.id}"
    note(tx, grant, "rollout.undo", about, now=now, before=describe(stored), after=describe(after))
    return after, signed


def _check_unchanged(stored: StoredRollout, rows: Objects) -> None:
    moved = [about for about, former in stored.former.items() if row_digest(rows.get(about)) != former.now]
    if moved:
        raise _changed(stored, moved, "was edited since")


def _check_circle(stored: StoredRollout, groups: Mapping[str, Group]) -> None:
    """Refuse an undo after which groups would inherit in a circle, since others were moved meanwhile."""
    clear: set[str] = {""}
    for group in groups.values():
        line: set[str] = set()
        name = group.name
        while name not in clear and name in groups:
            if name in line:
                raise _changed(stored, [f"group/{name}"], "would inherit from itself")
            line.add(name)
            name = groups[name].parent
        clear |= line


def _check_whole(groups: Mapping[str, Group], policies: Mapping[str, str]) -> None:
    """Refuse an undo after which a group would name what is not there any more, or not for it."""
    for group in groups.values():
        others = [name for name in sorted(group.assigned()) if policies.get(name, "") not in {"", group.name}]
        if others:
            problem = f"policy {others[0]!r} would be private to {policies[others[0]]!r} again, and group {group.name!r} assigns it"
            raise ConflictError("changed", problem, "Apply the definitions that are to hold")
        gone = [f"policy/{name}" for name in sorted(group.assigned()) if name not in policies]
        gone += [f"group/{group.parent}"] * (bool(group.parent) and group.parent not in groups)
        if gone:
            problem = f"group {group.name!r} would need {gone[0]} again, which was deleted since"
            raise ConflictError("changed", problem, "Apply the definitions that are to hold")


def _changed(stored: StoredRollout, moved: list[str], what: str) -> ConflictError:
    problem = f"{show_some(moved, _NAMED)} {what}, so rollout {stored.rollout.id} cannot be undone as a whole"
    hint = f"Stop it: popham rollout halt {stored.rollout.id}; then apply the definitions that are to hold"
    return ConflictError("changed", problem, hint)


class _Back:
    """One undo in progress."""

    def __init__(self, tx: Writing, grant: Grant, stored: StoredRollout, now: float) -> None:
        self._tx, self._grant, self._now = tx, grant, now
        self._former = stored.former
        self._why = f"undo of rollout {stored.rollout.id}"
        self._restored: set[str] = set()

    def _of(self, kind: str) -> list[tuple[str, Former]]:
        prefix = f"{kind}/"
        return [
            (about.removeprefix(prefix), former)
            for about, former in self._former.items()
            if about.startswith(prefix)
        ]

    def _note(self, about: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        said = {**after, "message": self._why}
        note(self._tx, self._grant, "rollout.undo", about, now=self._now, before=before, after=said)

    def touched(self, groups: Mapping[str, Group]) -> set[str]:
        """Return the groups whose bundles may be others by it."""
        found = {name for name, _ in self._of("group") if name in groups}
        policies = {name for name, _ in self._of("policy")}
        return found | {name for name, group in groups.items() if policies & group.assigned()}

    def put_policies(self) -> None:
        """Store the policies that were another, or are gone."""
        for name, former in self._of("policy"):
            if former.was is not None:
                self._put_policy(name, former.was)

    def _put_policy(self, name: str, was: Mapping[str, Any]) -> None:
        head = self._tx.policy(name)
        revision = head.revision if head else 0
        if head is None or head.sha256 != was["sha256"]:
            old = self._tx.revision(name, was["revision"])
            encoded = old.encoded or self._tx.encoded(old.sha256) if old else None
            if old is None or not encoded:
                problem = f"the content of revision {was['revision']} of policy {name!r} is gone"
                raise StateError("blob", problem, "Apply the definitions that are to hold")
            revision = 1 + last_revision(self._tx, name)
            message = f"{self._why}: back to revision {was['revision']}"
            self._tx.add_revision(
                replace(
                    old,
                    revision=revision,
                    encoded=encoded,
                    author=self._grant.actor,
                    at=self._now,
                    message=message,
                )
            )
        row = PolicyRow(
            name=name,
            type=was["type"],
            revision=revision,
            sha256=was["sha256"],
            private_to=was["private_to"],
            labels=was["labels"],
        )
        self._tx.put_policy(row)
        self._note(f"policy/{name}", describe_policy(head) if head else None, describe_policy(row))

    def put_groups(self) -> None:
        """Store the groups that were another, or are gone."""
        for name, former in self._of("group"):
            if former.was is None:
                continue
            row = self._tx.group(name)
            body = str(former.was["body"])
            self._tx.put_group(GroupRow(name=name, body=body, edition=row.edition + 1 if row else 1))
            self._note(f"group/{name}", json.loads(row.body) if row else None, json.loads(body))

    def put_placements(self) -> None:
        """Store the rules of placement as they were."""
        for name, former in self._of("placement"):
            row = self._tx.placement(name)
            if former.was is None:
                self._tx.delete_placement(name)
                self._note(f"placement/{name}", json.loads(row.body) if row else None, {})
                continue
            body = str(former.was["body"])
            edition = row.edition + 1 if row else 1
            self._tx.put_placement(PlacementRow(name=name, body=body, edition=edition))
            self._note(f"placement/{name}", json.loads(row.body) if row else None, json.loads(body))

    def delete_created(self, stored: Mapping[str, Group]) -> list[str]:
        """Delete what the change created; return what stays, since something needs it.  ``stored`` are all groups."""
        created = {name for name, former in self._of("group") if former.was is None}
        policies = [name for name, former in self._of("policy") if former.was is None]
        if not created and not policies:
            return []
        going, kept = {f"policy/{name}" for name in policies}, []
        needs = Needs(self._tx, stored.values(), self._now)
        # Whoever may undo may undo what a source applied.  Leaves first: of two groups the deeper one goes first.
        for name in sorted(created, key=lambda name: (-_depth(needs.groups, name), name)):
            source = needs.group(name).annotations.get(SOURCE, "")
            try:
                delete_group(
                    self._tx, self._grant, name, now=self._now, source=source, going=going, needs=needs
                )
            except ConflictError:
                kept.append(f"group/{name}")
        for name in policies:
            head = self._tx.policy(name)
            source = notes_of(head).annotations.get(SOURCE, "") if head else ""
            try:
                delete_policy(self._tx, self._grant, name, now=self._now, source=source, needs=needs)
            except ConflictError:
                kept.append(f"policy/{name}")
        return kept


def _depth(groups: Mapping[str, Group], name: str) -> int:
    depth, parent = 0, groups[name].parent
    while parent in groups:
        depth, parent = depth + 1, groups[parent].parent
    return depth
