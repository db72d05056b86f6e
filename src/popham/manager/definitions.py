"""Apply: from checked definitions to stored objects and signed bundles, all or nothing.

Everything here runs inside one write transaction.  An error leaves it, and
nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from popham.manager.audit import note
from popham.manager.bundles import Bundles
from popham.manager.cautions import find_warnings
from popham.manager.grant import Grant
from popham.manager.merge import discarded, holder, merge
from popham.manager.moves import placement_row
from popham.manager.objects import describe_group, describe_policy, read_heads, row_of
from popham.manager.views import ApplyResult, Change, GroupEffect
from popham.model.communication import CommunicationSettings
from popham.model.definition import Definitions, GroupDefinition, PolicyDefinition
from popham.model.findings import Findings
from popham.model.fleet import LOCATIONS, Group, Tree
from popham.model.names import ROOT_GROUP, canonical, nearest
from popham.model.placement import PLACEMENTS_MAX
from popham.model.policy import Policy
from popham.model.relations import PolicyHead, Stored, check_relations, private
from popham.resolve.resolved import own_locations
from popham.store.rows import BundleRow, PolicyRow, RevisionRow
from popham.store.seam import Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply did: the result for people, the groups that have a new bundle, all groups before and after."""

    result: ApplyResult
    groups: tuple[str, ...]
    before: Tree
    after: Tree


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
    dry_run: bool = False,
) -> Applied:
    """Store what ``definitions`` want, and publish what changes by it.

    Args:
        tx: The transaction; if ``dry_run``, the caller must not commit it.
        definitions: Checked by :func:`popham.model.definition.check`.
        bundles: Signs.
        grant: Who applies, for the audit.
        now: Unix seconds.
        dry_run: Leave signatures out.

    Raises:
        DefinitionSetError: The set does not fit what is stored.
        ConflictError: ``conflict.bundle``; repeat the transaction.
    """
    work = _Applying(tx, definitions, grant, now, before=bundles.groups.read(tx))
    tree = work.check()
    work.put_policies()
    work.put_groups()
    work.put_placements()
    signed: Sequence[BundleRow] = ()
    if work.touched:
        heads = None if definitions.policies else work.stored
        signed = bundles.publish(tx, sorted(work.touched), now=now, tree=tree, heads=heads, dry_run=dry_run)
    result = ApplyResult(
        dry_run=dry_run,
        changes=tuple(work.changes),
        groups=_effects(signed, tx.agent_counts([row.group for row in signed])) if signed else (),
        warnings=find_warnings(definitions, work.before, tree),
    )
    signed_groups = tuple(row.group for row in signed)
    return Applied(result=result, groups=signed_groups, before=Tree(work.before.values()), after=tree)


@dataclass
class _Applying:
    """One apply in progress. ``touched`` are the groups whose bundles may change."""

    tx: Writing
    definitions: Definitions
    grant: Grant
    now: float
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

    def check(self) -> Tree:
        """Return the groups as they are to be; raise everything that is wrong."""
        findings = Findings()
        parents = {name: group.parent for name, group in self.before.items()}
        stored = Stored(parents=parents, policies=self.heads, complete=True)
        check_relations(self.definitions, findings, stored)
        findings.finish()
        for definition in self._parents_first():
            with findings.collect(definition.place.source, definition.place.line):
                self.after[definition.name] = merge(definition, self.before, self.after)
        self._check_private(findings)
        self._check_locations(findings)
        self._check_placements(findings)
        findings.finish()
        return Tree(self.after.values())

    def put_policies(self) -> None:
        """Store the policies, and note the groups that assign one whose content changed."""
        for definition in self.definitions.policies:
            action = self._put_policy(definition)
            self.changes.append(Change(kind="Policy", name=definition.name, action=action))

    def put_groups(self) -> None:
        """Store the groups that changed."""
        for definition in self._parents_first():
            name = definition.name
            old, new = self.before.get(name), self.after[name]
            action = "created" if old is None else "changed"
            if old is not None and describe_group(old) == describe_group(new):
                action = "unchanged"
            else:
                row = self.tx.group(name)
                self.tx.put_group(row_of(new, edition=row.edition + 1 if row else 1))
                self.touched.add(name)
                note(
                    self.tx,
                    self.grant,
                    "apply",
                    f"group/{name}",
                    now=self.now,
                    before=describe_group(old) if old else None,
                    after=describe_group(new),
                )
            lost = discarded(name, self.before, self.after)
            self.changes.append(Change(kind="Group", name=name, action=action, discarded=lost))

    def put_placements(self) -> None:
        """Store the rules of placement that changed; agents stay where they are."""
        for definition in self.definitions.placements:
            name, row = definition.name, self.tx.placement(definition.name)
            fresh = placement_row(definition.rule, row.edition + 1 if row else 1)
            action = "created" if row is None else "changed"
            if row is not None and row.body == fresh.body:
                action = "unchanged"
            else:
                before, after = json.loads(row.body) if row else None, definition.rule.as_dict()
                self.tx.put_placement(fresh)
                note(
                    self.tx,
                    self.grant,
                    "apply",
                    f"placement/{name}",
                    now=self.now,
                    before=before,
                    after=after,
                )
            self.changes.append(Change(kind="Placement", name=name, action=action))

    def _put_policy(self, definition: PolicyDefinition) -> str:
        policy = Policy(name=definition.name, type=definition.type, body=definition.body)
        encoded, sha256 = policy.encoded(), policy.sha256
        old = self.tx.policy(policy.name)
        revision = old.revision if old else 0
        if old is None or old.sha256 != sha256:
            # A policy that was deleted has left its revisions, and their numbers are not used again.
            revision = 1 + (old.revision if old else _last_revision(self.tx, policy.name))
            self.tx.add_revision(
                RevisionRow(
                    name=policy.name,
                    revision=revision,
                    type=policy.type,
                    sha256=sha256,
                    encoded=encoded,
                    author=self.grant.actor,
                    at=self.now,
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
            labels=canonical(dict(definition.labels)).decode(),
        )
        if old is not None and describe_policy(old) == describe_policy(new):
            return "unchanged"
        self.tx.put_policy(new)
        note(
            self.tx,
            self.grant,
            "apply",
            f"policy/{policy.name}",
            now=self.now,
            before=describe_policy(old) if old else None,
            after=describe_policy(new),
        )
        return "created" if old is None else "changed"

    def _parents_first(self) -> Sequence[GroupDefinition]:
        """Return the groups of the set so that each stands after its parent; the relations are checked."""
        waiting = {group.name: group for group in self.definitions.groups}
        done: list[GroupDefinition] = []
        while waiting:
            line = [next(iter(waiting.values()))]
            while line[-1].parent in waiting:
                line.append(waiting[line[-1].parent])
            done.extend(waiting.pop(group.name) for group in reversed(line))
        return done

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

    def _check_placements(self, findings: Findings) -> None:
        """Find the rule that would be one too many."""
        known = {row.name for row in self.tx.placements()} if self.definitions.placements else set()
        for definition in self.definitions.placements:
            known.add(definition.name)
            if len(known) > PLACEMENTS_MAX:
                problem = f"there would be more than {PLACEMENTS_MAX} placements"
                hint = "Name more ranges in one rule, or delete some: popham get placements"
                findings.add(definition.place.wrong("name", "placement", problem, hint))
                return

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


def _last_revision(tx: Writing, name: str) -> int:
    kept = tx.revisions(name)
    return kept[0].revision if kept else 0


def _effects(signed: Sequence[BundleRow], agents: Mapping[str, int]) -> tuple[GroupEffect, ...]:
    return tuple(
        GroupEffect(group=row.group, before=row.serial - 1, after=row.serial, agents=agents.get(row.group, 0))
        for row in signed
    )
