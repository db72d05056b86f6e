"""Agents: who they are, whether they are in touch, whether they belong to the fleet."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from popham.api.bodies import (
    AgentPage,
    CheckInRequest,
    CheckIns,
    LabelRequest,
    MoveRequest,
    Placements,
)
from popham.api.depends import Cursor, Granted, Limit, Name, Ref, Service
from popham.manager.views import AgentView, CheckIn, Explanation, Page, PlacementView, Why

router = APIRouter(tags=["agents"])


@router.get("/agents", response_model=AgentPage)
async def list_agents(
    grant: Granted,
    service: Service,
    group: Annotated[str | None, Query(description="Only the agents of this group.", max_length=256)] = None,
    selector: Annotated[str, Query(description="Only agents with such labels.", max_length=1024)] = "",
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Page:
    """Return agents by uid, a page at a time.

    Answers 404 not_found.group if there is no such group, 422 definition.selector for what is no selector.
    """
    return await service.agents(grant, group=group, selector=selector, after=cursor, limit=limit)


@router.get("/agents/{ref}")
async def get_agent(grant: Granted, service: Service, ref: Ref) -> AgentView:
    """Return one agent with detail: policies and their origin, error, facts.

    Answers 404 not_found.agent, or 409 conflict.ambiguous if several have the name.
    """
    return await service.agent(grant, ref)


@router.get("/agents/{ref}/explain")
async def explain_agent(
    grant: Granted,
    service: Service,
    ref: Ref,
    setting: Annotated[str, Query(description="One setting only, or a policy type.", max_length=64)] = "",
    location: Annotated[
        str, Query(description="Where it would be; where it is by default.", max_length=64)
    ] = "",
) -> Explanation:
    """Return where each value of an agent comes from, and what it hides.

    Answers 404 not_found.setting or not_found.location.
    """
    return await service.explain(grant, ref, setting=setting, location=location)


@router.get("/agents/{ref}/why")
async def why_agent(grant: Granted, service: Service, ref: Ref) -> Why:
    """Return why an agent is where it is, in one sentence, and the next step."""
    return await service.why(grant, ref)


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


@router.post("/agents/{ref}/move")
async def move_agent(grant: Granted, service: Service, ref: Ref, body: MoveRequest) -> AgentView:
    """Put an agent into another group: a new assignment is signed, and told.

    Answers 409 conflict.stock for a stock agent, which belongs to the group of its token.
    """
    return await service.move(grant, ref, body.group)


@router.patch("/agents/{ref}/labels")
async def label_agent(grant: Granted, service: Service, ref: Ref, body: LabelRequest) -> AgentView:
    """Set labels of an agent, which win over its own, or take them away."""
    return await service.label(grant, ref, body.labels)


@router.get("/placements", response_model=Placements)
async def list_placements(grant: Granted, service: Service) -> dict[str, tuple[PlacementView, ...]]:
    """Return the rules that say where agents begin, in the order in which they are asked."""
    return {"items": await service.placements(grant)}


@router.delete("/placements/{name}", status_code=204)
async def delete_placement(grant: Granted, service: Service, name: Name) -> None:
    """Delete a rule of placement; agents stay where they are."""
    await service.delete_placement(grant, name)


@router.post("/check-ins", response_model=CheckIns)
async def check_in(grant: Granted, service: Service, body: CheckInRequest) -> dict[str, tuple[CheckIn, ...]]:
    """Ask agents for a round: at once over a held link, else the answer says when it is due."""
    asked = await service.check_in(
        grant, body.agents, group=body.group, selector=body.selector, everyone=body.all
    )
    return {"items": asked}
