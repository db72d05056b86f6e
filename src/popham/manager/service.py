"""What people can do with a Manager: the one way to it for API, console and commands.

Every method takes a grant first and asks for a permission before anything else;
every change writes its audit row in its own transaction.  Nothing here knows
HTTP, and nothing waits for an agent.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from popham.errors import StateError
from popham.manager import inventory
from popham.manager.agent_definition_service import AgentDefinitionService
from popham.manager.agent_service import PAGE_MAX
from popham.manager.alerts.service import AlertService
from popham.manager.data.service import DataService
from popham.manager.digests import hide_in_audit, sees_digests
from popham.manager.grant import Grant, Permission, require
from popham.manager.grant_service import GrantService
from popham.manager.intake.views import IntakeView
from popham.manager.measures import Measures
from popham.manager.operations.service import OperationService
from popham.manager.proxies.service import ProxyService
from popham.manager.summary.service import SummaryService
from popham.manager.tokens import create_token, revoke_token, view_token
from popham.manager.views import (
    AuditCheck,
    AuditView,
    GroupView,
    NewToken,
    Page,
    TokenView,
)
from popham.store.audit import verify_chain
from popham.store.rows import AuditRow
from popham.store.seam import Reading, Writing
from popham.streams.frame import Stream


class ManagerService(
    AgentDefinitionService,
    AlertService,
    DataService,
    GrantService,
    OperationService,
    ProxyService,
    SummaryService,
):
    """The Manager's methods. One per process; safe to call from many tasks."""

    def measure(self, grant: Grant) -> Measures:
        """Return what this Manager measures of itself."""
        require(grant, Permission.READ)
        return self._measures()

    def intake(self, grant: Grant) -> tuple[IntakeView, ...]:
        """Return how the intake of each stream is; empty where nobody serves agents."""
        require(grant, Permission.READ)
        data = self._data
        if data is None:
            return self._intake()
        return tuple(replace(view, kept=data.kept(Stream(view.name))) for view in self._intake())

    async def groups(self, grant: Grant) -> tuple[GroupView, ...]:
        """Return all groups by path."""
        require(grant, Permission.READ)
        return tuple(await self._store.read(inventory.view_groups))

    async def group(self, grant: Grant, name: str) -> GroupView:
        """Return one group; raises NotFoundError ``not_found.group``."""
        require(grant, Permission.READ)
        return await self._store.read(lambda tx: inventory.view_group(tx, name))

    async def delete_group(self, grant: Grant, name: str) -> None:
        """Delete a group that nothing depends on; errors as :func:`popham.manager.inventory.delete_group`.

        A test that would fail by it raises DefinitionSetError: it would stop every apply from then on.
        """
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def work(tx: Writing) -> None:
            inventory.delete_group(tx, grant, name, now=now)
            self._check_stored_tests(tx)

        await self._write(work)

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
        proxy: str = "",
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
                proxy=proxy,
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
        """Return a page of changes, the oldest first, those after ``after``.

        Digests, and the chain that is made of them, are shown to those who may change policies.
        """
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
        shown = views if sees_digests(grant) else tuple(map(hide_in_audit, views))
        return Page(items=shown, cursor=str(views[-1].seq) if len(rows) > limit else "")

    async def verify_audit(self, grant: Grant, *, head: str = "") -> AuditCheck:
        """Follow the chain of the audit from its first entry to its last.

        Args:
            grant: Of those who may see digests.
            head: Digest of an entry that was kept elsewhere, which must be in it; empty if none was.

        Raises:
            StateError: ``state.audit``: an entry was changed, moved or left out; or ``head`` is in none.
        """
        require(grant, Permission.APPLY)
        last: AuditRow | None = None
        found = not head
        while True:
            after = last.seq if last else 0
            rows = await self._store.read(partial(_audit_page, after=after))
            verify_chain(rows, before=last)
            found = found or any(row.hash == head for row in rows)
            last = rows[-1] if rows else last
            if len(rows) < PAGE_MAX:
                break
        if not found:
            problem = "the audit chain has no entry with the digest that was kept"
            raise StateError(
                "audit", problem, "Compare with a backup; the newest entries are missing or changed"
            )
        return AuditCheck(entries=last.seq if last else 0, head=last.hash if last else "")


def _audit_page(tx: Reading, *, after: int) -> list[AuditRow]:
    return tx.audit(after=after, limit=PAGE_MAX)
