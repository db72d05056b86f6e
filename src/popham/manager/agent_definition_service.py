"""What people can do about visits and lists of other systems: say where agents are found, who dials them, and import."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from popham.manager.agent_definitions import (
    delete_agent_definition,
    find_definition,
    view_definition,
)
from popham.manager.agent_service import PAGE_MAX
from popham.manager.agentlist import ListTaker
from popham.manager.dialing import dial_agent
from popham.manager.distribute_ini import DistributionTaker
from popham.manager.draft_service import DraftService
from popham.manager.grant import Grant, Permission, require
from popham.manager.import_views import DistributionView
from popham.manager.views import AgentDefinitionView, AgentView, ImportView, Page
from popham.model.agentlist import read_agentlist
from popham.model.cell import Dialer
from popham.model.distribute_ini import Folder, read_distribution
from popham.model.names import ROOT_GROUP
from popham.store.rows import AgentDefinitionRow
from popham.store.seam import Reading


class AgentDefinitionService(DraftService):
    """The part of the service that is about where and how agents are dialled."""

    async def agent_definitions(self, grant: Grant, *, after: str = "", limit: int = 500) -> Page:
        """Return a page of agents' definitions by name, those above ``after``; never their passwords."""
        require(grant, Permission.READ)
        limit = max(1, min(limit, PAGE_MAX))

        def work(tx: Reading) -> Page:
            rows = tx.agent_definitions(after=after, limit=limit + 1)
            views = tuple(self._view_definition(tx, row) for row in rows[:limit])
            return Page(items=views, cursor=views[-1].name if len(rows) > limit else "")

        return await self._store.read(work)

    async def agent_definition(self, grant: Grant, name: str) -> AgentDefinitionView:
        """Return one definition without its passwords; raises NotFoundError ``not_found.agent_definition``."""
        require(grant, Permission.READ)
        return await self._store.read(lambda tx: self._view_definition(tx, find_definition(tx, name)))

    def _view_definition(self, tx: Reading, row: AgentDefinitionRow) -> AgentDefinitionView:
        return view_definition(tx, row, self._links.visit_of_definition(row.name))

    async def delete_agent_definition(self, grant: Grant, name: str) -> None:
        """Delete a definition; errors as :func:`popham.manager.agent_definitions.delete_agent_definition`."""
        require(grant, Permission.APPLY)
        now = self._clock.now()
        await self._write(lambda tx: delete_agent_definition(tx, grant, name, now=now))
        self._links.definitions_changed([name])

    async def import_agentlist(
        self, grant: Grant, text: str, *, source: str = "agentlist.cfg", dry_run: bool = False
    ) -> ImportView:
        """Make definitions of the entries of a list, once; wrong lines are told, and the others work.

        Args:
            grant: Who imports; a dry run asks for less.
            text: Of the file.
            source: Its name, for messages.
            dry_run: Only tell what would be.

        Raises:
            DefinitionError: ``definition.agent``: there would be too many; what came before stays.
        """
        require(grant, Permission.PLAN if dry_run else Permission.APPLY)
        listed = await asyncio.to_thread(read_agentlist, text, source)
        taker = ListTaker(self._store, self._clock, self._links.definitions_changed)
        return await taker.take(listed, grant=grant, dry_run=dry_run)

    async def import_distribution(
        self, grant: Grant, folders: Sequence[Folder], *, under: str = ROOT_GROUP, dry_run: bool = False
    ) -> DistributionView:
        """Make groups of the Distribute.ini of folders, and put their hosts into them; what is wrong is told.

        Args:
            grant: Who imports; a dry run asks for less.
            folders: One for each policy distribution group.
            under: The group above those that are made.
            dry_run: Only tell what would be.

        Raises:
            DefinitionError: ``definition.size``: they are too many, or too large.
            NotFoundError, DefinitionSetError, ConflictError: As :meth:`DistributionTaker.take`.
        """
        for permission in (Permission.PLAN,) if dry_run else (Permission.APPLY, Permission.ADMIT):
            require(grant, permission)
        found = await asyncio.to_thread(read_distribution, folders)
        taker = DistributionTaker(
            self._store,
            self._clock,
            self._keys.director,
            carry_out=self._carry_out,
            changed=self._links.agent_changed,
        )
        return await taker.take(found, grant=grant, under=under, dry_run=dry_run)

    async def dial(
        self, grant: Grant, ref: str, *, dialer: Dialer | None, may_dial: bool = False
    ) -> AgentView:
        """Say who dials an agent; arguments and errors as :func:`popham.manager.dialing.dial_agent`."""
        require(grant, Permission.ADMIT)
        now, director = self._clock.now(), self._keys.director
        row = await self._write(
            lambda tx: dial_agent(
                tx,
                grant,
                ref,
                director,
                dialer=dialer,
                may_dial=may_dial,
                at_proxy=lambda uid: bool(self._links.relayed.via(uid)),
                now=now,
            )
        )
        self._links.agent_changed(row.uid)
        return await self._store.read(lambda tx: self._view(tx, row))
