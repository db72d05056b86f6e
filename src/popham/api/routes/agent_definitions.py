"""Where agents are visited, and who dials them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from popham.api.bodies import AgentDefinitionPage, AgentListRequest, DialRequest
from popham.api.depends import Cursor, Granted, Limit, Name, Ref, Service
from popham.manager.views import AgentDefinitionView, AgentView, ImportView, Page

router = APIRouter(tags=["agents"])


@router.get("/agent-definitions", response_model=AgentDefinitionPage)
async def list_agent_definitions(
    grant: Granted, service: Service, cursor: Cursor = "", limit: Limit = 500
) -> Page:
    """Return where agents are visited, by name, a page at a time; never their passwords."""
    return await service.agent_definitions(grant, after=cursor, limit=limit)


@router.get("/agent-definitions/{name}")
async def get_agent_definition(grant: Granted, service: Service, name: Name) -> AgentDefinitionView:
    """Return one definition, without its passwords."""
    return await service.agent_definition(grant, name)


@router.delete("/agent-definitions/{name}", status_code=204)
async def delete_agent_definition(grant: Granted, service: Service, name: Name) -> None:
    """Delete a definition; the agent stays, and is not visited there any more."""
    await service.delete_agent_definition(grant, name)


@router.post("/agent-definitions/import")
async def import_agentlist(
    grant: Granted,
    service: Service,
    body: AgentListRequest,
    dry_run: Annotated[bool, Query(description="Compare only; change nothing.")] = False,  # noqa: FBT002 - a query's default, never passed by place
) -> ImportView:
    """Make definitions of an agentlist.cfg; wrong lines are told, and the others work.

    A dry run needs the role viewer only.
    """
    return await service.import_agentlist(grant, body.text, source=body.name, dry_run=dry_run)


@router.patch("/agents/{ref}/dial")
async def dial_agent(grant: Granted, service: Service, ref: Ref, body: DialRequest) -> AgentView:
    """Say who dials an agent: a new assignment is signed, and told.

    Answers 409 conflict.stock for a stock agent, which dials by itself.
    """
    return await service.dial(grant, ref, dialer=body.dialer(), may_dial=body.may_dial)
