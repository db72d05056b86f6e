"""Apply: from checked definitions to stored objects and signed bundles, all or nothing.

Everything here runs inside one write transaction.  An error leaves it, and nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from popham.manager.agent_definitions import check_agents, put_agents
from popham.manager.apply_views import ApplyResult, Change, GroupEffect
from popham.manager.audit import note
from popham.manager.base import check_base, check_reach, concerned, read_state
from popham.manager.bundles import Bundles
from popham.manager.cautions import find_warnings
from popham.manager.exported import Object
from popham.manager.grant import Grant
from popham.manager.guard import add_changed, warn
from popham.manager.merge import discarded, holder, merge, parents_first
from popham.manager.moves import check_placements, placement_row
from popham.manager.objects import (
    Notes,
    describe_group,
    describe_policy,
    last_revision,
    notes_of,
    read_heads,
    row_of,
)
from popham.manager.proxies.definitions import check_proxies, put_proxies
from popham.manager.prune import find_abandoned, prune
from popham.manager.release import Release
from popham.manager.told import check_tests, read_objects
from popham.model.communication import CommunicationSettings
from popham.model.definition import Definitions, PolicyDefinition
from popham.model.findings import Findings
from popham.model.fleet import LOCATIONS, Group, Tree
from popham.model.managed import own, refuse_edit
from popham.model.names import ROOT_GROUP, nearest
from popham.model.policy import Policy
from popham.model.relations import PolicyHead, Stored, check_relations, private
from popham.model.rollout import RolloutTerms
from popham.resolve.resolved import own_locations
from popham.store.rows import BundleRow, PolicyRow, RevisionRow
from popham.store.seam import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply did: the result for people, and all groups before and after.

    ``groups`` are those of which the hub must know: with a new bundle, or another minimum serial.
    ``heads`` are all policies before and after; ``objects`` what a dry run compares, before and after.
    """

    result: ApplyResult
    groups: tuple[str, ...]
    before: Tree
    after: Tree
    heads: tuple[Sequence[PolicyRow], Sequence[PolicyRow]]
    objects: tuple[Mapping[str, Object], Mapping[str, Object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms definitions are applied.

    Attributes:
        message: Why, for the history and the audit; all revisions of one apply have it.
        source: As which source it is made: its objects may be edited, and what is written belongs to it.
        take_over: Take objects of other sources.
        prune: Delete what the source has and the definitions lack.
        base: What a plan rested on: object → digest; refused if it has moved.
        dry_run: Leave signatures out, and keep what can be compared; the transaction must not be committed.
        everyone: Whether it may reach however many agents at once.
        rollout: The waves in which it goes out; None for all at once.
        hold: Whether agents hold it as a candidate, which nobody has before it is said.
        compare: Only say what differs, whoever may edit it; of a dry run.
    """

    message: str = ""
    source: str = ""
    take_over: bool = False
    prune: bool = False
    base: Mapping[str, str] | None = None
    dry_run: bool = False
    everyone: bool = False
    rollout: RolloutTerms | None = None
    hold: bool = False
    compare: bool = False


PLAIN = Terms()
"""The terms of who names none."""


def found_fleet(tx: Writing, bundles: Bundles, *, now: float) -> None:
    """Create the root group with its first bundle, if there is none yet."""
    if tx.group(ROOT_GROUP) is None:
        root = Group(name=ROOT_GROUP, inherits=False, communication=CommunicationSettings())
        tx.put_group(row_of(root, edition=1))
        bundles.publish(tx, [ROOT_GROUP], now=now)


def apply_definitions(
    tx: Writing,
    definitions: Definitions,
    bundles: Bundles,
    *,
    grant: Grant,
    now: float,
    terms: Terms = PLAIN,
) -> Applied:
    """Store what ``definitions`` want, and publish what changes by it.

    Args:
        tx: The transaction; if it is a dry run, the caller must not commit it.
        definitions: Checked by :func:`popham.model.definition.check`.
        bundles: Signs.
        grant: Who applies, for the audit.
        now: Unix seconds.
        terms: As whom, on what, and how far.

    Raises:
        DefinitionSetError: The set does not fit what is stored, or a test fails.
        ConflictError: ``conflict.bundle``; repeat the transaction. ``conflict.base``, ``conflict.managed``;
            or something needs what was to be deleted; or as for :meth:`Release.publish`.
    """
    before = bundles.groups.read(tx)
    release = _release(tx, bundles, grant, before, now, terms)
    looked_at = terms.dry_run or terms.base is not None
    state = read_state(tx, before, definitions, terms.source) if looked_at else None
    if state is not None and terms.base is not None:
        check_base(tx, state, terms.base)
    work = _Applying(tx, definitions, grant, now, terms, before=before)
    work.check()
    old = read_objects(tx, definitions) if terms.dry_run else {}
    obstacles = work.put()
    was, tree = Tree(before.values()), Tree(work.after.values())
    heads = tx.policies() if definitions.policies or terms.prune else work.stored
    check_tests(tx, definitions, tree, heads)
    signed = release.publish(sorted(work.touched), tree=tree, heads=heads) if work.touched else []
    signed_groups = tuple(row.group for row in signed)
    if terms.base is not None:
        check_reach(tx, signed_groups, terms.base)
    warnings = [*obstacles, *release.warnings, *find_warnings(definitions, before, tree)]
    warnings += warn(tx, tree, [*(group.name for group in definitions.groups), *signed_groups])
    result = ApplyResult(
        dry_run=terms.dry_run,
        changes=tuple(work.changes),
        groups=_effects(signed, release.agents),
        warnings=tuple(warnings),
        rollout=release.rollout,
        reach=release.reach,
        asks=release.asks,
    )
    if state is not None and terms.dry_run:
        about = concerned(definitions, tree, signed_groups, terms.source if terms.prune else "")
        result = replace(result, base={one: state.digest(one) for one in sorted(about)})
    objects = (old, read_objects(tx, definitions) if terms.dry_run else {})
    told = add_changed(signed_groups, was, tree)
    return Applied(
        result=result, groups=told, before=was, after=tree, heads=(work.stored, heads), objects=objects
    )


def _release(
    tx: Writing, bundles: Bundles, grant: Grant, before: Mapping[str, Group], now: float, terms: Terms
) -> Release:
    return Release(
        tx,
        bundles,
        grant,
        before,
        now=now,
        everyone=terms.everyone,
        terms=terms.rollout,
        hold=terms.hold,
        message=terms.message,
        dry_run=terms.dry_run,
    )


@dataclass
class _Applying:
    """One apply in progress. ``touched`` are the groups whose bundles may change."""

    tx: Writing
    definitions: Definitions
    grant: Grant
    now: float
    terms: Terms
    before: Mapping[str, Group]
    changes: list[Change] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    after: dict[str, Group] = field(init=False)
    stored: Sequence[PolicyRow] = field(init=False)
    heads: Mapping[str, PolicyHead] = field(init=False)

    def __post_init__(self) -> None:
        self.after = dict(self.before)
        self.stored = self.tx.policies()
        self.heads = read_heads(self.stored)

    def check(self) -> None:
        """Find the groups as they are to be; raise everything that is wrong."""
        findings = Findings()
        parents = {name: group.parent for name, group in self.before.items()}
        stored = Stored(parents=parents, policies=self.heads, complete=True)
        check_relations(self.definitions, findings, stored)
        findings.finish()
        for definition in parents_first(self.definitions):
            with findings.collect(definition.place.source, definition.place.line):
                found = merge(definition, self.before, self.after)
                self.after[definition.name] = self._owned(found)
        self._check_private(findings)
        self._check_locations(findings)
        check_placements(self.tx, self.definitions.placements, findings)
        check_agents(self.tx, self.definitions.agents, findings)
        check_proxies(self.tx, self.definitions, findings)
        findings.finish()

    def put(self) -> list[str]:
        """Store what changed; return what stands in the way of it, in a dry run."""
        self._put_policies()
        self._put_groups()
        self._put_placements()
        agents, proxies = self.definitions.agents, self.definitions.proxies
        self.changes += put_agents(self.tx, agents, own=self._own, edit=self._edit, noted=self._note)
        self.changes += put_proxies(
            self.tx, proxies, now=self.now, own=self._own, edit=self._edit, noted=self._note
        )
        return self._prune() if self.terms.prune else []

    def _prune(self) -> list[str]:
        """Delete what the source has abandoned; return what stands in the way, in a dry run."""
        source = self.terms.source
        abandoned = find_abandoned(self.tx, self.definitions, self.after, source)
        obstacles = []
        done = prune(
            self.tx,
            abandoned,
            self.after,
            grant=self.grant,
            source=source,
            now=self.now,
            dry_run=self.terms.dry_run,
        )
        for change, obstacle in done:
            self.changes.append(change)
            if obstacle:
                obstacles.append(obstacle)
            elif change.kind == "Group":
                del self.after[change.name]
                self.touched.discard(change.name)
        return obstacles

    def _edit(self, about: str, held: Mapping[str, str]) -> None:
        """Return if the apply may edit an object with these annotations."""
        compares = self.terms.compare and self.terms.dry_run
        refuse_edit(about, held, self.terms.source, take_over=self.terms.take_over or compares)

    def _own(self, written: Mapping[str, str], held: Mapping[str, str]) -> dict[str, str]:
        return own(written, held, self.terms.source, take_over=self.terms.take_over)

    def _owned(self, group: Group) -> Group:
        held = self.before[group.name].annotations if group.name in self.before else {}
        return replace(group, annotations=self._own(group.annotations, held))

    def _note(self, about: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        why = {"message": self.terms.message} if self.terms.message else {}
        note(self.tx, self.grant, "apply", about, now=self.now, before=before, after={**after, **why})

    def _put_policies(self) -> None:
        """Store the policies, and note the groups that assign one whose content changed."""
        for definition in self.definitions.policies:
            action = self._put_policy(definition)
            self.changes.append(Change(kind="Policy", name=definition.name, action=action))

    def _put_groups(self) -> None:
        """Store the groups that changed."""
        for definition in parents_first(self.definitions):
            name = definition.name
            old, new = self.before.get(name), self.after[name]
            action = "created" if old is None else "changed"
            if old is not None and describe_group(old) == describe_group(new):
                action = "unchanged"
            else:
                self._edit(f"group/{name}", old.annotations if old else {})
                row = self.tx.group(name)
                self.tx.put_group(row_of(new, edition=row.edition + 1 if row else 1))
                self.touched.add(name)
                self._note(f"group/{name}", describe_group(old) if old else None, describe_group(new))
            lost = discarded(name, self.before, self.after)
            self.changes.append(Change(kind="Group", name=name, action=action, discarded=lost))

    def _put_placements(self) -> None:
        """Store the rules of placement that changed; agents stay where they are."""
        for definition in self.definitions.placements:
            name, row = definition.name, self.tx.placement(definition.name)
            held = json.loads(row.body).get("annotations", {}) if row else {}
            annotations = self._own(definition.annotations, held)
            fresh = placement_row(definition.rule, row.edition + 1 if row else 1, annotations)
            action = "created" if row is None else "changed"
            if row is not None and row.body == fresh.body:
                action = "unchanged"
            else:
                self._edit(f"placement/{name}", held)
                self.tx.put_placement(fresh)
                self._note(f"placement/{name}", json.loads(row.body) if row else None, json.loads(fresh.body))
            self.changes.append(Change(kind="Placement", name=name, action=action))

    def _put_policy(self, definition: PolicyDefinition) -> str:
        policy = Policy(name=definition.name, type=definition.type, body=definition.body)
        encoded, sha256 = policy.encoded(), policy.sha256
        old = self.tx.policy(policy.name)
        held = notes_of(old).annotations if old else {}
        notes = Notes(
            labels=definition.labels,
            annotations=self._own(definition.annotations, held),
            tests=definition.tests,
        )
        revision = old.revision if old else 0
        if old is None or old.sha256 != sha256:
            # A policy that was deleted has left its revisions, and their numbers are not used again.
            revision = 1 + (old.revision if old else last_revision(self.tx, policy.name))
            self.tx.add_revision(
                RevisionRow(
                    name=policy.name,
                    revision=revision,
                    type=policy.type,
                    sha256=sha256,
                    encoded=encoded,
                    author=self.grant.actor,
                    at=self.now,
                    message=self.terms.message,
                )
            )
            assign = (name for name, group in self.after.items() if policy.name in group.assigned())
            self.touched.update(name for name in assign if name in self.before)
        new = PolicyRow(
            name=policy.name,
            type=policy.type,
            revision=revision,
            sha256=sha256,
            private_to=definition.private_to,
            labels=notes.encoded(),
        )
        if old is not None and describe_policy(old) == describe_policy(new):
            return "unchanged"
        self._edit(f"policy/{policy.name}", held)
        self.tx.put_policy(new)
        self._note(f"policy/{policy.name}", describe_policy(old) if old else None, describe_policy(new))
        return "created" if old is None else "changed"

    def _check_locations(self, findings: Findings) -> None:
        """Find values for locations that the group does not have."""
        for definition in self.definitions.groups:
            if definition.name not in self.after:
                continue
            known = own_locations(holder(self.after, definition.name, LOCATIONS)).names
            for location in definition.locations or ():
                if location.name not in known:
                    problem = f"locations: group {definition.name!r} has no location {location.name!r}"
                    hint = nearest(location.name, known)
                    findings.add(definition.place.wrong("locations", "unknown_location", problem, hint))

    def _check_private(self, findings: Findings) -> None:
        """Find private policies that would be assigned elsewhere: by a copy, or because they became private."""
        defined = {group.name: group for group in self.definitions.groups}
        policies = {policy.name: policy for policy in self.definitions.policies}
        owners = {name: head.private_to for name, head in self.heads.items()}
        owners |= {name: policy.private_to for name, policy in policies.items()}
        narrowed = any(policy.private_to for policy in policies.values())
        for group in self.after.values() if narrowed else [self.after[name] for name in defined]:
            for name in sorted(group.assigned()):
                if owners.get(name, "") in {"", group.name}:
                    continue
                problem, hint = private(f"policies of group {group.name!r}", name, owners[name])
                if group.name in defined:
                    findings.add(defined[group.name].place.wrong("policies", "private", problem, hint))
                elif name in policies:
                    findings.add(policies[name].place.wrong("private_to", "private", problem, hint))


def _effects(signed: Sequence[BundleRow], agents: Mapping[str, int]) -> tuple[GroupEffect, ...]:
    return tuple(
        GroupEffect(group=row.group, before=row.serial - 1, after=row.serial, agents=agents[row.group])
        for row in signed
    )
