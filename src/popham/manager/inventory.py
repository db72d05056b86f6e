"""Groups and policies: what people see of them, and how they are copied and deleted."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from popham.errors import ConflictError, NotFoundError
from popham.manager.audit import note
from popham.manager.bundles import newest, open_row
from popham.manager.grant import Grant
from popham.manager.needs import Needs
from popham.manager.objects import (
    Notes,
    describe_group,
    describe_policy,
    find_group,
    group_of,
    last_revision,
    missing_policy,
    notes_of,
    read_lineage,
)
from popham.manager.views import GroupView, PolicyView
from popham.model.communication import CommunicationSettings
from popham.model.fleet import COMMUNICATION, LOCATIONS, Tree
from popham.model.location import LocationRules, values_as_dict
from popham.model.managed import refuse_edit
from popham.model.names import ROOT_GROUP, check_name
from popham.resolve.lineage import path
from popham.resolve.resolved import (
    Origin,
    resolve_assignments,
    resolve_communication,
    resolve_locations,
)
from popham.store.rows import BundleRow, GroupRow, PolicyRow
from popham.store.seam import Reading, Writing

T = TypeVar("T")


def view_groups(reading: Reading) -> list[GroupView]:
    """Return the views of all groups by path."""
    rows = reading.groups()
    tree = Tree(map(group_of, rows))
    bundles = newest(reading)
    agents = reading.agent_counts()
    views = [_view_group(tree, row, bundles.get(row.name), agents.get(row.name, 0)) for row in rows]
    return sorted(views, key=lambda view: view.path)


def view_group(reading: Reading, name: str) -> GroupView:
    """Return the view of one group.

    Raises:
        NotFoundError: ``not_found.group``.
    """
    row = find_group(reading, name)
    tree = read_lineage(reading, name)
    return _view_group(tree, row, reading.bundle(name), reading.agent_counts([name]).get(name, 0))


def delete_group(
    tx: Writing,
    grant: Grant,
    name: str,
    *,
    now: float,
    source: str = "",
    going: Collection[str] = (),
    needs: Needs | None = None,
) -> None:
    """Delete a group that nothing depends on; its bundles stay, so their numbers are not used again.

    One that is managed elsewhere is deleted as that ``source`` only.  Policies that are ``going`` too
    (``policy/motd``) do not depend on it.  Who deletes several objects reads once what ``needs`` what.

    Raises:
        NotFoundError: ``not_found.group``.
        ConflictError: ``conflict.root``, ``conflict.children``, ``conflict.agents``,
            ``conflict.tokens``, ``conflict.private``, ``conflict.placed``, ``conflict.proxied``,
            ``conflict.rollout`` or ``conflict.managed``.
    """
    needs = needs or _needs(tx, now)
    group = needs.group(name)
    if name == ROOT_GROUP:
        raise ConflictError("root", f"the root {name!r} cannot be deleted")
    refuse_edit(f"group/{name}", group.annotations, source)
    children = needs.below(name)
    if children:
        problem = f"group {name!r} has groups below it: {', '.join(children[:5])}"
        raise ConflictError("children", problem, "Delete or move them first")
    _refuse_in_rollout(tx, name)
    if tx.agents(group=name, limit=1):
        raise ConflictError(
            "agents",
            f"group {name!r} has agents",
            f"Move them: popham move agent X --to GROUP; popham get agents -g {name} lists them",
        )
    token = needs.token_of(name)
    if token:
        problem = f"agents may still join group {name!r} by token {token}"
        raise ConflictError("tokens", problem, f"Revoke it: popham revoke token {token}")
    private = [policy for policy in needs.private_to(name) if f"policy/{policy}" not in going]
    if private:
        problem = f"policy {private[0]!r} is private to group {name!r}"
        raise ConflictError("private", problem, "Delete it first, or leave out its 'private_to'")
    placed = needs.placing_into(name)
    if placed:
        problem = f"placement {placed[0]!r} has agents begin in group {name!r}"
        raise ConflictError("placed", problem, f"Delete it first: popham delete placement {placed[0]}")
    proxies = needs.given_to(name)
    if proxies:
        problem = f"group {name!r} was given to proxy {proxies[0]!r}"
        raise ConflictError("proxied", problem, "Take it out of that definition first")
    tx.delete_group(name)
    needs.drop_group(name)
    note(tx, grant, "group.delete", f"group/{name}", now=now, before=describe_group(group))


def _needs(tx: Reading, now: float) -> Needs:
    return Needs(tx, map(group_of, tx.groups()), now)


def _refuse_in_rollout(reading: Reading, name: str) -> None:
    row = reading.bundle(name)
    rollout = open_row(row).rollout if row else None
    if rollout is not None:
        hint = f"First end it: popham rollout promote {rollout.id}, or popham rollout undo {rollout.id}"
        raise ConflictError("rollout", f"group {name!r} is in rollout {rollout.id}", hint)


def view_policies(reading: Reading) -> list[PolicyView]:
    """Return the views of all policies by name, without their specs."""
    assigned = _assigned(reading)
    return [_view_policy(reading, row, assigned) for row in reading.policies()]


def view_policy(reading: Reading, name: str) -> PolicyView:
    """Return the view of one policy with its spec.

    Raises:
        NotFoundError: ``not_found.policy``.
    """
    row = _find(reading, name)
    body = json.loads(reading.encoded(row.sha256) or b"{}").get("body", {})
    spec: dict[str, Any] = {"type": row.type, **body}
    if row.private_to:
        spec["private_to"] = row.private_to
    tests = notes_of(row).tests
    if tests:
        spec["tests"] = [test.as_dict() for test in tests]
    return replace(_view_policy(reading, row, _assigned(reading)), spec=spec)


def copy_policy(tx: Writing, grant: Grant, source: str, target: str, *, now: float) -> None:
    """Make the shared policy ``target`` with the body and labels of ``source``.

    Raises:
        NotFoundError: ``not_found.policy``.
        DefinitionError: ``target`` cannot be a name.
        ConflictError: ``conflict.exists``.
    """
    row = _find(tx, source)
    check_name(target, "policy")
    if tx.policy(target) is not None:
        raise ConflictError("exists", f"there is a policy {target!r} already", "Choose another name")
    found = tx.revision(source, row.revision)
    if found is None:
        raise NotFoundError("policy", f"policy {source!r} has lost its revision {row.revision}")
    revision = 1 + last_revision(tx, target)
    message = f"copy of {source} {row.revision}"
    tx.add_revision(
        replace(found, name=target, revision=revision, author=grant.actor, at=now, message=message)
    )
    # A copy is nobody's but who made it: neither its source nor its tests are the other's.
    labels = Notes(labels=notes_of(row).labels).encoded()
    copied = replace(row, name=target, revision=revision, private_to="", labels=labels)
    tx.put_policy(copied)
    note(tx, grant, "policy.copy", f"policy/{target}", now=now, after=describe_policy(copied))


def delete_policy(
    tx: Writing, grant: Grant, name: str, *, now: float, source: str = "", needs: Needs | None = None
) -> None:
    """Delete a policy that no group assigns; its revisions stay.

    One that is managed elsewhere is deleted as that ``source`` only; ``needs`` as of :func:`delete_group`.

    Raises:
        NotFoundError: ``not_found.policy``.
        ConflictError: ``conflict.assigned`` or ``conflict.managed``.
    """
    row = _find(tx, name)
    refuse_edit(f"policy/{name}", notes_of(row).annotations, source)
    needs = needs or _needs(tx, now)
    groups = needs.assigning(name)
    if groups:
        problem = f"policy {name!r} is assigned to {', '.join(groups[:5])}"
        raise ConflictError("assigned", problem, f"Withdraw it first: 'policies: {{{row.type}: null}}'")
    tx.delete_policy(name)
    needs.drop_policy(name, row.private_to)
    note(tx, grant, "policy.delete", f"policy/{name}", now=now, before=describe_policy(row))


def _find(reading: Reading, name: str) -> PolicyRow:
    row = reading.policy(name)
    if row is None:
        raise missing_policy(reading, name)
    return row


def _assigned(reading: Reading) -> dict[str, tuple[str, ...]]:
    """Return policy → the groups that assign it themselves, by name."""
    found: dict[str, list[str]] = {}
    for group in map(group_of, reading.groups()):
        for name in group.assigned():
            found.setdefault(name, []).append(group.name)
    return {name: tuple(groups) for name, groups in found.items()}


def _view_policy(reading: Reading, row: PolicyRow, assigned: Mapping[str, tuple[str, ...]]) -> PolicyView:
    newest_revision = reading.revision(row.name, row.revision)
    notes = notes_of(row)
    return PolicyView(
        name=row.name,
        type=row.type,
        revision=row.revision,
        sha256=row.sha256,
        private_to=row.private_to,
        groups=assigned.get(row.name, ()),
        author=newest_revision.author if newest_revision else "",
        changed=newest_revision.at if newest_revision else 0.0,
        labels=dict(notes.labels),
        annotations=dict(notes.annotations),
    )


def _view_group(tree: Tree, row: GroupRow, bundle: BundleRow | None, agents: int) -> GroupView:
    group = tree[row.name]
    communication = resolve_communication(tree, group.name)
    rules = resolve_locations(tree, group.name)
    resolved = {kind: _show(origin, _as_is) for kind, origin in resolve_assignments(tree, group.name).items()}
    resolved[COMMUNICATION] = _show(communication, CommunicationSettings.as_dict)
    resolved[LOCATIONS] = _show(rules, LocationRules.as_dict)
    within = {name: _view_location(tree, group.name, name) for name in rules.value.names}
    return GroupView(
        name=group.name,
        path=path(tree, group.name),
        parent=group.parent,
        inherits=group.inherits,
        exceptions=dict(group.exceptions),
        policies=dict(group.policies),
        communication=group.communication.as_dict() if group.communication else None,
        locations=group.locations.as_dict() if group.locations else None,
        values=values_as_dict(group.values),
        preset=communication.value.preset,
        resolved=resolved,
        within={name: held for name, held in within.items() if held},
        labels=dict(group.labels),
        annotations=dict(group.annotations),
        serial=bundle.serial if bundle else 0,
        version=bundle.version if bundle else 0,
        agents=agents,
        edition=row.edition,
        minimum_serial=group.minimum_serial,
    )


def _view_location(tree: Tree, group: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the items that hold in one location otherwise than in the group."""
    found = {
        kind: _show(origin, _as_is)
        for kind, origin in resolve_assignments(tree, group, name).items()
        if origin.location
    }
    communication = resolve_communication(tree, group, name)
    if communication.location:
        found[COMMUNICATION] = _show(communication, CommunicationSettings.as_dict)
    return found


def _as_is(value: T) -> T:
    return value


def _show(origin: Origin[T], plain: Callable[[T], Any]) -> dict[str, Any]:
    """Return a value with its origin as plain data."""
    hidden = origin.overrides
    return {
        "value": plain(origin.value),
        "group": origin.group,
        "inherited": origin.inherited,
        "overrides": {"group": hidden.group, "value": plain(hidden.value)} if hidden else None,
    }
