"""What people can do with a Manager: the one way to it for API, console and commands.

Every method takes a grant first and asks for a permission before anything else;
every change writes its audit row in its own transaction.  Nothing here knows
HTTP, and nothing waits for an agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from popham.manager import grant as grants
from popham.manager import inventory
from popham.manager.agent_service import PAGE_MAX, AgentService
from popham.manager.costs import reckon
from popham.manager.definitions import Applied, apply_definitions
from popham.manager.grant import Grant, Permission, require
from popham.manager.measures import Measures
from popham.manager.tokens import create_token, revoke_token, view_token
from popham.manager.views import (
    ApplyResult,
    AuditView,
    Costs,
    GroupView,
    NewToken,
    Page,
    PolicyView,
    TokenView,
)
from popham.model.definition import check
from popham.model.documents import SourceFile
from popham.store.seam import Reading, Writing

T = TypeVar("T")


class _NotCommittedError(Exception):
    """Leaves a transaction that must not be committed, with what it would have done."""

    def __init__(self, applied: Applied) -> None:
        super().__init__("dry run")
        self.applied = applied


class ManagerService(AgentService):
    """The Manager's methods. One per process; safe to call from many tasks."""

    async def authenticate(self, bearer: str, source: str) -> Grant:
        """Return the grant of an API token used from ``source``.

        Raises:
            GrantError: ``grant.unknown_token`` or ``grant.expired``.
        """
        now = self._clock.now()
        return await self._store.read(lambda tx: grants.authenticate(tx, bearer, source=source, now=now))

    async def apply(
        self, grant: Grant, files: Sequence[SourceFile], *, dry_run: bool = False, force: bool = False
    ) -> ApplyResult:
        """Make the fleet as ``files`` define it, all or nothing; with ``dry_run`` only tell what would change.

        ``force`` takes what is possible and unwise, and says so among the warnings.

        Raises:
            GrantError: Not permitted; a dry run asks for less.
            DefinitionSetError: Something is wrong with the definitions; nothing was changed.
        """
        require(grant, Permission.PLAN if dry_run else Permission.APPLY)
        # Reading YAML takes long for large files; links are served meanwhile.
        definitions = await asyncio.to_thread(check, files, force=force)
        now = self._clock.now()

        def work(tx: Writing) -> Applied:
            applied = apply_definitions(tx, definitions, self._bundles, grant=grant, now=now, dry_run=dry_run)
            if dry_run:
                raise _NotCommittedError(applied)
            return applied

        try:
            applied = await self._write(work)
        except _NotCommittedError as planned:
            applied = planned.applied
        if applied.groups and not dry_run:
            self._on_groups_changed(applied.groups)
        return await self._with_costs(applied, always=dry_run)

    async def _with_costs(self, applied: Applied, *, always: bool) -> ApplyResult:
        """Return the result with what it costs; on a snapshot, so that no writer waits for it."""

        def work(tx: Reading) -> Costs | None:
            return reckon(tx, applied.before, applied.after, self._basis(), always=always)

        return replace(applied.result, costs=await self._store.read(work))

    def measure(self, grant: Grant) -> Measures:
        """Return what this Manager measures of itself."""
        require(grant, Permission.READ)
        return self._measures()

    async def groups(self, grant: Grant) -> tuple[GroupView, ...]:
        """Return all groups by path."""
        require(grant, Permission.READ)
        return tuple(await self._store.read(inventory.view_groups))

    async def group(self, grant: Grant, name: str) -> GroupView:
        """Return one group; raises NotFoundError ``not_found.group``."""
        require(grant, Permission.READ)
        return await self._store.read(lambda tx: inventory.view_group(tx, name))

    async def delete_group(self, grant: Grant, name: str) -> None:
        """Delete a group that nothing depends on; errors as :func:`popham.manager.inventory.delete_group`."""
        require(grant, Permission.APPLY)
        now = self._clock.now()
        await self._write(lambda tx: inventory.delete_group(tx, grant, name, now=now))

    async def policies(self, grant: Grant) -> tuple[PolicyView, ...]:
        """Return all policies by name, without their specs."""
        require(grant, Permission.READ)
        return tuple(await self._store.read(inventory.view_policies))

    async def policy(self, grant: Grant, name: str) -> PolicyView:
        """Return one policy with its spec; raises NotFoundError ``not_found.policy``."""
        require(grant, Permission.READ)
        return await self._store.read(lambda tx: inventory.view_policy(tx, name))

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

    async def create_token(
        self,
        grant: Grant,
        *,
        kind: str = "enrollment",
        group: str = "fleet",
        uses: int | None = None,
        lifetime: float | None = None,
        accepts: bool = False,
        cidr: str = "",
    ) -> NewToken:
        """Make a token by which agents join; arguments as :func:`popham.manager.tokens.create_token`."""
        require(grant, Permission.TOKENS)
        now = self._clock.now()
        made = await self._write(
            lambda tx: create_token(
                tx,
                grant,
                self._keys,
                kind=kind,
                group=group,
                uses=uses,
                lifetime=lifetime,
                accepts=accepts,
                cidr=cidr,
                now=now,
                draw=self._rng.randbytes,
            )
        )
        await self._links.tokens_changed()
        return made

    async def tokens(self, grant: Grant) -> tuple[TokenView, ...]:
        """Return all tokens, the newest first, without their secrets."""
        require(grant, Permission.READ)
        now = self._clock.now()
        return await self._store.read(lambda tx: tuple(view_token(row, now) for row in tx.tokens()))

    async def revoke_token(self, grant: Grant, token: str) -> TokenView:
        """Revoke a token; agents that joined by it stay. Raises NotFoundError ``not_found.token``."""
        require(grant, Permission.TOKENS)
        now = self._clock.now()
        view = await self._write(lambda tx: revoke_token(tx, grant, token, now=now))
        await self._links.tokens_changed()
        return view

    async def audit(self, grant: Grant, *, after: int = 0, limit: int = 500) -> Page:
        """Return a page of changes, the oldest first, those after ``after``."""
        require(grant, Permission.READ)
        limit = max(1, min(limit, PAGE_MAX))
        rows = await self._store.read(lambda tx: tx.audit(after=after, limit=limit + 1))
        views = tuple(
            AuditView(
                seq=row.seq,
                at=row.at,
                actor=row.actor,
                source=row.source,
                method=row.method,
                object=row.object,
                before=row.before,
                after=row.after,
                hash=row.hash,
            )
            for row in rows[:limit]
        )
        return Page(items=views, cursor=str(views[-1].seq) if len(rows) > limit else "")
