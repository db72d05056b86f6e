"""Alerts, and silences."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from popham.api.alert_bodies import AlertPage, SilenceRequest, Silences
from popham.api.depends import Granted, Limit, Service
from popham.manager.alerts.views import SilenceView
from popham.manager.views import Page

router = APIRouter(tags=["data"])


@router.get("/alerts", response_model=AlertPage)
async def list_alerts(
    grant: Granted,
    service: Service,
    agent: Annotated[str, Query(description="Only of this agent, by name or uid.", max_length=256)] = "",
    group: Annotated[
        str | None, Query(description="Only of agents of this group and below.", max_length=256)
    ] = None,
    selector: Annotated[str, Query(description="Only of agents with such labels.", max_length=1024)] = "",
    everything: Annotated[bool, Query(alias="all", description="The recovered too.")] = False,  # noqa: FBT002 - a query
    cursor: Annotated[str, Query(description="Of the page before.", max_length=1024)] = "",
    limit: Limit = 500,
) -> Page:
    """Return a page of alerts, by agent, item and resource."""
    return await service.alerts(
        grant, ref=agent, group=group, selector=selector, everything=everything, after=cursor, limit=limit
    )


@router.get("/silences", response_model=Silences)
async def list_silences(grant: Granted, service: Service) -> dict[str, tuple[SilenceView, ...]]:
    """Return all silences, those that ended lately too."""
    return {"items": await service.silences(grant)}


@router.post("/silences", status_code=201)
async def create_silence(grant: Granted, service: Service, body: SilenceRequest) -> SilenceView:
    """Have nobody told of some alerts for a while; they are kept, and told if they are still open at its end."""
    return await service.create_silence(grant, **body.model_dump())


@router.delete("/silences/{name}")
async def end_silence(
    grant: Granted,
    service: Service,
    name: Annotated[str, Path(description="Name of the silence.", max_length=256)],
) -> SilenceView:
    """End a silence now."""
    return await service.end_silence(grant, name)
