"""What people can do with a Manager: the one way to it for API, console and commands.

Every method takes a grant first and asks for a permission before anything else;
every change writes its audit row in its own transaction.  Nothing here knows
HTTP, and nothing waits for an agent.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from popham.clock import Clock
from popham.errors import ConflictError, NotFoundError
from popham.manager import grant as grants
from popham.manager import inventory
from popham.manager.agents import admit, every_agent, find_agent
from popham.manager.bundles import Bundles
from popham.manager.definitions import Applied, apply_definitions
from popham.manager.grant import Grant, Permission, require
from popham.manager.keys import ManagerKeys
from popham.manager.links import Links
from popham.manager.measures import Measures
from popham.manager.roster import Roster
from popham.manager.tokens import create_token, revoke_token, view_token
from popham.manager.views import (
    AgentView,
    ApplyResult,
    AuditView,
    CheckIn,
    GroupView,
    NewToken,
    Page,
    PolicyView,
    TokenView,
)
from popham.model.definition import check
from popham.model.documents import SourceFile
from popham.model.fleet import Admission
from popham.model.names import nearest, show
from popham.store.rows import AgentRow
from popham.store.seam import Reading, Store, Writing

T = TypeVar("T")

PAGE_MAX = 1000
"""Items of one page."""
_ATTEMPTS = 5
"""Transactions tried when another process takes the same version of a bundle."""


class _NotCommittedError(Exception):
    """Leaves a transaction that must not be committed, with what it would have done."""

    def __init__(self, applied: Applied) -> None:
        super().__init__("dry run")
        self.applied = applied


class ManagerService:
    """The Manager's methods. One per process; safe to call from many tasks."""

    def __init__(
        self,
        store: Store,
        *,
        keys: ManagerKeys,
        clock: Clock,
        rng: random.Random,
        on_groups_changed: Callable[[Iterable[str]], None],
        links: Links,
        measures: Callable[[], Measures] = Measures,
    ) -> None:
        """Wire the service.

        Args:
            store: The database.
            keys: Sign, and go into join strings.
            clock: Dates changes.
            rng: Draws secrets: ``random.SystemRandom()`` outside tests.
            on_groups_changed: Told the names of groups that have a new bundle,
                once that is durable. Must not wait.
            links: The table of open links.
            measures: Returns what the process measures of itself.
        """
        self._store = store
        self._keys = keys
        self._clock = clock
        self._rng = rng
        self._on_groups_changed = on_groups_changed
        self._links = links
        self._measures = measures
        self._bundles = Bundles(keys.director)

    async def authenticate(self, bearer: str, source: str) -> Grant:
        """Return the grant of an API token used from ``source``.

        Raises:
            GrantError: ``grant.unknown_token`` or ``grant.expired``.
        """
        now = self._clock.now()
        return await self._store.read(lambda tx: grants.authenticate(tx, bearer, source=source, now=now))

    async def apply(self, grant: Grant, files: Sequence[SourceFile], *, dry_run: bool = False) -> ApplyResult:
        """Make the fleet as ``files`` define it, all or nothing; with ``dry_run`` only tell what would change.

        Raises:
            GrantError: Not permitted; a dry run asks for less.
            DefinitionSetError: Something is wrong with the definitions; nothing was changed.
        """
        require(grant, Permission.PLAN if dry_run else Permission.APPLY)
        # Reading YAML takes long for large files; links are served meanwhile.
        definitions = await asyncio.to_thread(check, files)
        now = self._clock.now()

        def work(tx: Writing) -> Applied:
            applied = apply_definitions(tx, definitions, self._bundles, grant=grant, now=now, dry_run=dry_run)
            if dry_run:
                raise _NotCommittedError(applied)
            return applied

        try:
            applied = await self._write(work)
        except _NotCommittedError as planned:
            return planned.applied.result
        if applied.groups:
            self._on_groups_changed(applied.groups)
        return applied.result

    def measure(self, grant: Grant) -> Measures:
        """Return what this Manager measures of itself."""
        require(grant, Permission.READ)
        return self._measures()

    async def agents(
        self, grant: Grant, *, group: str | None = None, after: str = "", limit: int = 500
    ) -> Page:
        """Return a page of agents by uid, those above ``after``.

        Raises:
            NotFoundError: ``group`` does not exist.
        """
        require(grant, Permission.READ)
        limit = max(1, min(limit, PAGE_MAX))

        def work(tx: Reading) -> Page:
            if group is not None:
                _find_group(tx, group)
            roster = Roster(tx, self._links, self._clock.now())
            rows = tx.agents(group=group, after=after, limit=limit + 1)
            views = tuple(roster.view(row) for row in rows[:limit])
            return Page(items=views, cursor=views[-1].uid if len(rows) > limit else "")

        return await self._store.read(work)

    async def agent(self, grant: Grant, ref: str) -> AgentView:
        """Return one agent by name or uid, with its detail.

        Raises:
            NotFoundError: ``not_found.agent``.
            ConflictError: ``conflict.ambiguous``.
        """
        require(grant, Permission.READ)
        return await self._store.read(lambda tx: self._view(tx, find_agent(tx, ref)))

    async def accept(self, grant: Grant, ref: str) -> AgentView:
        """Accept an agent: it is assigned, and given its group's bundle; errors as :meth:`agent`."""
        return await self._admit(grant, ref, Admission.ACCEPTED)

    async def refuse(self, grant: Grant, ref: str) -> AgentView:
        """Refuse an agent that is new; errors as :meth:`agent`, and ``conflict.admission``."""
        return await self._admit(grant, ref, Admission.REFUSED)

    async def revoke(self, grant: Grant, ref: str) -> AgentView:
        """Revoke an accepted agent: nothing more is given to it; errors as :meth:`refuse`."""
        return await self._admit(grant, ref, Admission.REVOKED)

    async def groups(self, grant: Grant) -> tuple[GroupView, ...]:
        """Return all groups by path."""
        require(grant, Permission.READ)
        return tuple(await self._store.read(inventory.view_groups))

    async def group(self, grant: Grant, name: str) -> GroupView:
        """Return one group; raises NotFoundError ``not_found.group``."""
        require(grant, Permission.READ)
        return (await self._store.read(lambda tx: inventory.view_groups(tx, [name])))[0]

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

    async def check_in(
        self, grant: Grant, refs: Sequence[str] = (), *, group: str | None = None, everyone: bool = False
    ) -> tuple[CheckIn, ...]:
        """Ask agents for a round now: those named, those of ``group``, or everyone.

        Agents without a held link are not asked; their answer says when they
        will be heard of anyway.

        Raises:
            NotFoundError: An agent or the group does not exist; nobody was asked.
            ConflictError: ``conflict.ambiguous``; nobody was asked.
        """
        require(grant, Permission.CHECK_IN)

        def work(tx: Reading) -> dict[str, AgentRow]:
            found = {row.uid: row for row in (find_agent(tx, ref) for ref in refs)}
            if group is not None:
                _find_group(tx, group)
            if group is not None or everyone:
                found |= {row.uid: row for row in every_agent(tx, None if everyone else group)}
            return found

        return tuple(map(self._check_in, (await self._store.read(work)).values()))

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

    async def _admit(self, grant: Grant, ref: str, admission: Admission) -> AgentView:
        require(grant, Permission.ADMIT)
        now = self._clock.now()

        def work(tx: Writing) -> AgentRow:
            return admit(tx, grant, ref, admission, self._keys.director, now=now)

        row = await self._write(work)
        self._links.agent_changed(row.uid)
        return await self._store.read(lambda tx: self._view(tx, tx.agent(row.uid) or row))

    def _view(self, reading: Reading, row: AgentRow) -> AgentView:
        return Roster(reading, self._links, self._clock.now()).view(row, detailed=True)

    def _check_in(self, row: AgentRow) -> CheckIn:
        if self._links.check_in(row.uid):
            return CheckIn(uid=row.uid, name=row.name, state="asked", when=None)
        seen = [at for at in (row.last_contact, self._links.last_contact(row.uid)) if at is not None]
        when = max(seen) + row.promise if seen else None
        return CheckIn(uid=row.uid, name=row.name, state="waits", when=when)

    async def _write(self, work: Callable[[Writing], T]) -> T:
        """Write, and once more if another process has just taken the same version of a bundle."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._store.write(work)
            except ConflictError as error:
                if error.code != "conflict.bundle":
                    raise
        return await self._store.write(work)


def _find_group(reading: Reading, name: str) -> None:
    if reading.group(name) is None:
        hint = nearest(name, [row.name for row in reading.groups()])
        raise NotFoundError("group", f"there is no group {show(name)}", hint)
