"""Agents: who they are, whether they are in touch, whether they belong to the fleet."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from popham.api.bodies import AgentPage, CheckInRequest, CheckIns
from popham.api.depends import Cursor, Granted, Limit, Ref, Service
from popham.manager.views import AgentView, CheckIn, Page

router = APIRouter(tags=["agents"])


@router.get("/agents", response_model=AgentPage)
async def list_agents(
    grant: Granted,
    service: Service,
    group: Annotated[str | None, Query(description="Only the agents of this group.", max_length=256)] = None,
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Page:
    """Return agents by uid, a page at a time.

    Answers 404 not_found.group if there is no such group.
    """
    return await service.agents(grant, group=group, after=cursor, limit=limit)


@router.get("/agents/{ref}")
async def get_agent(grant: Granted, service: Service, ref: Ref) -> AgentView:
    """Return one agent with detail: policies and their origin, error, facts.

    Answers 404 not_found.agent, or 409 conflict.ambiguous if several have the name.
    """
    return await service.agent(grant, ref)


@router.post("/agents/{ref}/accept")
async def accept_agent(grant: Granted, service: Service, ref: Ref) -> AgentView:
    """Accept an agent: it receives its group's policies."""
    return await service.accept(grant, ref)


@router.post("/agents/{ref}/refuse")
async def refuse_agent(grant: Granted, service: Service, ref: Ref) -> AgentView:
    """Refuse an agent that is new: it receives nothing."""
    return await service.refuse(grant, ref)


@router.post("/agents/{ref}/revoke")
async def revoke_agent(grant: Granted, service: Service, ref: Ref) -> AgentView:
    """Revoke an accepted agent: nothing more is given to it, and its link is closed."""
    return await service.revoke(grant, ref)


@router.post("/check-ins", response_model=CheckIns)
async def check_in(grant: Granted, service: Service, body: CheckInRequest) -> dict[str, tuple[CheckIn, ...]]:
    """Ask agents for a round: at once over a held link, else the answer says when it is due."""
    return {"items": await service.check_in(grant, body.agents, group=body.group, everyone=body.all)}
