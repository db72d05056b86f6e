"""What people ask about the summary window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from popham.manager.agent_service import AgentService
from popham.manager.agents import find_agent
from popham.manager.grant import Grant, Permission, require
from popham.manager.summary.levels import Level
from popham.manager.summary.rolled import RolledView
from popham.manager.summary.views import GroupSummaryView, SummaryView
from popham.manager.views import Page
from popham.store.data_rows import AlertRow, SummaryRow
from popham.store.seam import Reading

WINDOWS: Final = 24
"""Windows that are shown where nobody says since when."""


class SummaryService(AgentService):
    """The part of the service that is about the summary window."""

    async def summaries(
        self,
        grant: Grant,
        *,
        group: str | None = None,
        selector: str = "",
        after: str = "",
        limit: int = 500,
    ) -> Page:
        """Return a page of the window by uid; arguments and errors as :meth:`agents`."""
        page = await self.agents(grant, group=group, selector=selector, after=after, limit=limit)
        alerts = await self._store.read(_open_alerts)
        return Page(items=await self._window.rows(page.items, alerts), cursor=page.cursor)

    async def summary(self, grant: Grant, ref: str) -> SummaryView:
        """Return one agent's row by name or uid, with all its values; errors as :meth:`agent`."""
        agent = await self.agent(grant, ref)

        def work(tx: Reading) -> tuple[list[AlertRow], SummaryRow | None]:
            return tx.alerts(uid=agent.uid), tx.summary(agent.uid)

        alerts, row = await self._store.read(work)
        (found,) = await self._window.rows([agent], alerts, row)
        return found

    async def rolled(
        self,
        grant: Grant,
        ref: str,
        *,
        level: Level,
        since: float | None = None,
        until: float | None = None,
        item: str = "",
    ) -> Sequence[RolledView]:
        """Return an agent's values over time, the oldest first; errors as :meth:`agent`.

        Args:
            grant: Of those who may read.
            ref: Name or uid.
            level: Of which windows.
            since: From when on; None for the newest :data:`WINDOWS`.
            until: Up to when; None for now.
            item: Of this item alone; empty for all.
        """
        require(grant, Permission.READ)
        row = await self._store.read(lambda tx: find_agent(tx, ref))
        end = self._clock.now() if until is None else until
        begin = end - WINDOWS * level.seconds if since is None else since
        if self._rollups is None:
            return ()
        return await self._rollups.ask(level, row.uid, since=begin, until=end, item=item)

    async def group_summaries(self, grant: Grant) -> tuple[GroupSummaryView, ...]:
        """Return a row for each group that has agents, by name."""
        require(grant, Permission.READ)
        return await self._window.groups(await self._store.read(_open_alerts))


def _open_alerts(tx: Reading) -> list[AlertRow]:
    return tx.alerts()
