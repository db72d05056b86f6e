"""What people can do with definitions: apply, plan, export them, and go through the history of policies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from popham.manager import history, inventory
from popham.manager.apply_views import ApplyResult
from popham.manager.costs import reckon
from popham.manager.definitions import PLAIN, Applied, Terms, apply_definitions
from popham.manager.digests import has_had_secret, sees_digests
from popham.manager.effects import Fleet, find_effects
from popham.manager.exported import export
from popham.manager.grant import Grant, Permission, require
from popham.manager.risks import Bodies, find_risks
from popham.manager.rollout_service import RolloutService
from popham.manager.sampled import Sampled
from popham.manager.told import tell_differences
from popham.manager.views import DifferenceView, FileView, PolicyView, RevisionView
from popham.model.definition import Definitions, check
from popham.model.difference import redact_spec
from popham.model.documents import SourceFile
from popham.model.managed import check_source
from popham.model.rollout import RolloutTerms
from popham.store.rows import BundleRow
from popham.store.seam import Reading, Writing


class _NotCommittedError(Exception):
    """Leaves a transaction that must not be committed, with what it would have done."""

    def __init__(self, applied: Applied) -> None:
        super().__init__("dry run")
        self.applied = applied


class PolicyService(RolloutService):
    """The part of the service that is about definitions."""

    async def apply(
        self,
        grant: Grant,
        files: Sequence[SourceFile],
        *,
        dry_run: bool = False,
        force: bool = False,
        terms: Terms = PLAIN,
    ) -> ApplyResult:
        """Make the fleet as ``files`` define it, all or nothing; with ``dry_run`` only tell what would change.

        ``force`` takes what is possible and unwise, and says so among the warnings.

        Raises:
            GrantError: Not permitted; a dry run asks for less.
            DefinitionSetError: Something is wrong with the definitions, or a test fails; nothing was changed.
            ConflictError: ``conflict.base``, ``conflict.managed``, ``conflict.rollout``, ``conflict.reach``,
                ``conflict.contact``, or as for deleting; nothing was changed.
        """
        require(grant, Permission.PLAN if dry_run else Permission.APPLY)
        check_source(terms.source)
        # Reading YAML takes long for large files; links are served meanwhile.
        definitions = await asyncio.to_thread(check, files, force=force)
        return await self._carry_out(grant, definitions, replace(terms, dry_run=dry_run))

    async def _carry_out(
        self,
        grant: Grant,
        definitions: Definitions,
        terms: Terms,
        *,
        first: Callable[[Writing], None] | None = None,
    ) -> ApplyResult:
        """Apply checked definitions; ``first`` is done before, in the same transaction. Errors as :meth:`apply`."""
        dry_run = terms.dry_run
        now = self._clock.now()

        def work(tx: Writing) -> Applied:
            if first is not None:
                first(tx)
            applied = apply_definitions(tx, definitions, self._bundles, grant=grant, now=now, terms=terms)
            if dry_run:
                raise _NotCommittedError(applied)
            return applied

        try:
            applied = await self._write(work)
        except _NotCommittedError as planned:
            applied = planned.applied
        if applied.groups and not dry_run:
            self._on_groups_changed(applied.groups)
        moved = [
            one.name for one in applied.result.changes if one.kind == "Agent" and one.action != "unchanged"
        ]
        if moved and not dry_run:
            self._links.definitions_changed(moved)
        proxies = [
            one.name for one in applied.result.changes if one.kind == "Proxy" and one.action != "unchanged"
        ]
        if proxies and not dry_run:
            self._links.proxies_changed(proxies)
        return await self._with_costs(applied, definitions, dry_run=dry_run)

    async def _with_costs(self, applied: Applied, definitions: Definitions, *, dry_run: bool) -> ApplyResult:
        """Return the result with what it costs, and of a dry run with what it means for whom.

        That is found on a snapshot, so that no writer waits for it.
        """

        def work(tx: Reading) -> ApplyResult:
            sampled = Sampled(tx)
            costs = reckon(tx, applied.before, applied.after, self._basis(), always=dry_run, sampled=sampled)
            result = replace(applied.result, costs=costs)
            return self._with_effects(tx, applied, definitions, result, sampled) if dry_run else result

        return await self._store.read(work)

    def _with_effects(
        self, tx: Reading, applied: Applied, definitions: Definitions, result: ApplyResult, sampled: Sampled
    ) -> ApplyResult:
        """Return the result of a dry run with what differs, who gets what, and what that risks."""
        before = Fleet(tree=applied.before, heads={row.name: row for row in applied.heads[0]})
        after = Fleet(tree=applied.after, heads={row.name: row for row in applied.heads[1]})
        effects = find_effects(result.groups, before, after, sampled)
        # What the dry run would have stored is not there.
        fresh = {after.heads[one.name].sha256: one.body for one in definitions.policies}
        ask_above = self._bundles.publishing.ask_above
        risks = find_risks(effects.places, result.groups, after.tree, Bodies(tx, fresh), ask_above=ask_above)
        changes = tell_differences(result.changes, *applied.objects, applied.before, applied.after)
        return replace(result, changes=changes, groups=tuple(effects.groups), risks=risks)

    async def export(self, grant: Grant) -> tuple[tuple[FileView, ...], tuple[str, ...]]:
        """Return the definitions of all objects, a file for each, and what they cannot say.

        Secrets stand in them: without these they would define something else.
        """
        require(grant, Permission.APPLY)
        files, warnings = await self._store.read(export)
        return tuple(FileView(name=name, text=text) for name, text in files), tuple(warnings)

    async def policies(self, grant: Grant) -> tuple[PolicyView, ...]:
        """Return all policies by name, without their specs; with digests for those who may change them."""
        require(grant, Permission.READ)
        views = await self._store.read(inventory.view_policies)
        return tuple(views if sees_digests(grant) else (replace(view, sha256="") for view in views))

    async def policy(self, grant: Grant, name: str) -> PolicyView:
        """Return one policy with its spec; raises NotFoundError ``not_found.policy``.

        What its type calls secret is shown to those only who may change it, and so is the digest of a
        policy that ever had a secret.
        """
        require(grant, Permission.READ)
        whole = sees_digests(grant)

        def work(tx: Reading) -> PolicyView:
            view = inventory.view_policy(tx, name)
            if whole or view.spec is None:
                return view
            sha256 = "" if has_had_secret(tx, name) else view.sha256
            return replace(view, spec=redact_spec(view.spec), sha256=sha256)

        return await self._store.read(work)

    async def history(self, grant: Grant, name: str) -> tuple[RevisionView, ...]:
        """Return all revisions of a policy, the newest first; raises NotFoundError ``not_found.policy``.

        Digests are shown as by :meth:`policy`.
        """
        require(grant, Permission.READ)
        whole = sees_digests(grant)

        def work(tx: Reading) -> tuple[RevisionView, ...]:
            views = history.view_history(tx, name)
            hidden = not whole and has_had_secret(tx, name)
            return tuple(replace(view, sha256="") if hidden else view for view in views)

        return await self._store.read(work)

    async def difference(
        self, grant: Grant, name: str, first: int | None = None, second: int | None = None
    ) -> DifferenceView:
        """Compare two revisions; arguments and errors as :func:`popham.manager.history.view_difference`."""
        require(grant, Permission.READ)
        return await self._store.read(lambda tx: history.view_difference(tx, name, first, second))

    async def roll_back(
        self,
        grant: Grant,
        name: str,
        revision: int,
        *,
        message: str = "",
        take_over: bool = False,
        everyone: bool = False,
        rollout: RolloutTerms | None = None,
    ) -> PolicyView:
        """Go back to an old revision by a new one; errors as :func:`popham.manager.history.roll_back`."""
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def work(tx: Writing) -> tuple[PolicyView, Sequence[BundleRow]]:
            signed, begun = history.roll_back(
                tx,
                self._bundles,
                grant,
                name,
                revision,
                message=message,
                take_over=take_over,
                everyone=everyone,
                rollout=rollout,
                now=now,
            )
            return replace(inventory.view_policy(tx, name), rollout=begun), signed

        view, signed = await self._write(work)
        if signed:
            self._on_groups_changed([row.group for row in signed])
        return view

    async def copy_policy(self, grant: Grant, source: str, target: str) -> PolicyView:
        """Copy a policy under another name; errors as :func:`popham.manager.inventory.copy_policy`."""
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def work(tx: Writing) -> PolicyView:
            inventory.copy_policy(tx, grant, source, target, now=now)
            return inventory.view_policy(tx, target)

        return await self._write(work)

    async def delete_policy(self, grant: Grant, name: str) -> None:
        """Delete a policy that no group assigns; raises ConflictError ``conflict.assigned`` otherwise."""
        require(grant, Permission.APPLY)
        now = self._clock.now()
        await self._write(lambda tx: inventory.delete_policy(tx, grant, name, now=now))
