"""The summary window: what is known of agents and groups at a glance, and how old it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from popham.api.depends import Cursor, Granted, Limit, Ref, Service
from popham.api.summary_bodies import GroupSummaries, RolledValues, SummaryPage
from popham.manager.summary.levels import BY_NAME
from popham.manager.summary.rolled import RolledView
from popham.manager.summary.views import GroupSummaryView, SummaryView
from popham.manager.views import Page

router = APIRouter(tags=["data"])
Time = Annotated[float | None, Query(description="Unix seconds.", ge=0, le=1e11)]


@router.get("/summary", response_model=SummaryPage)
async def list_summaries(
    grant: Granted,
    service: Service,
    group: Annotated[str | None, Query(description="Only the agents of this group.", max_length=256)] = None,
    selector: Annotated[str, Query(description="Only agents with such labels.", max_length=1000)] = "",
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Page:
    """Return a page of the summary window, a row for each agent; with how old it is and how old it may be."""
    return await service.summaries(grant, group=group, selector=selector, after=cursor, limit=limit)


@router.get("/group-summaries", response_model=GroupSummaries)
async def list_group_summaries(grant: Granted, service: Service) -> dict[str, tuple[GroupSummaryView, ...]]:
    """Return the summary window with a row for each group that has agents; groups below it have their own."""
    return {"items": await service.group_summaries(grant)}


@router.get("/summary/{ref}")
async def get_summary(grant: Granted, service: Service, ref: Ref) -> SummaryView:
    """Return the row of one agent, with every value of its newest summary."""
    return await service.summary(grant, ref)


@router.get("/summary/{ref}/rollups", response_model=RolledValues)
async def list_rolled(
    grant: Granted,
    service: Service,
    ref: Ref,
    level: Annotated[Literal["10m", "1h", "1d"], Query(description="Length of the windows.")] = "10m",
    since: Time = None,
    until: Time = None,
    item: Annotated[str, Query(description="Only this item; empty for all.", max_length=256)] = "",
) -> dict[str, Sequence[RolledView]]:
    """Return what one agent's summary came to in windows of ten minutes, an hour or a day; the newest 24 by default."""
    found = await service.rolled(grant, ref, level=BY_NAME[level], since=since, until=until, item=item)
    return {"items": found}
