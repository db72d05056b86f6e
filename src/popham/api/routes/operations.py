"""Operations: one-shot orders, and what came of each at every agent."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import TypeAdapter

from popham.api.depends import Cursor, Granted, Limit, Ref, Service
from popham.api.operation_bodies import OperationPage, OperationRequest, RetryRequest, TargetPage
from popham.manager.operations.views import OperationPlan, OperationView
from popham.manager.views import Page

router = APIRouter(prefix="/operations", tags=["operations"])
_PLAN = TypeAdapter(OperationPlan)
Id = Annotated[str, Path(alias="name", description="Name of the operation, such as op12.", max_length=32)]


@router.post(
    "",
    status_code=201,
    response_model=OperationView,
    responses={200: {"model": OperationPlan, "description": "A dry run: whom it would be for, and why."}},
)
async def order(grant: Granted, service: Service, body: OperationRequest) -> OperationView | Response:
    """Order something of agents, once; with dry_run only say whom it would be for.

    Targets that cannot be served fail at once, with the reason; the others are served. Answers 422
    definition.operation, 404 not_found.group, 403 grant.not_permitted, 409 operation.nobody, operation.targets,
    operation.full, conflict.no_candidate, or conflict.reach: of so many agents at once it needs yes.
    """
    if body.dry_run:
        plan = await service.plan_order(grant, body.kind, body.asked(), args=body.args)
        return Response(_PLAN.dump_json(plan), media_type="application/json")
    return await service.order(
        grant, body.kind, body.asked(), args=body.args, message=body.message, yes=body.yes
    )


@router.get("", response_model=OperationPage)
async def list_operations(
    grant: Granted,
    service: Service,
    kind: Annotated[str, Query(description="Only of this kind.", max_length=64)] = "",
    author: Annotated[str, Query(description="Only ordered by this one.", max_length=256)] = "",
    agent: Annotated[
        str, Query(description="Only ordered of this agent, by name or uid.", max_length=256)
    ] = "",
    open: Annotated[bool, Query(description="Only those that are not over.")] = False,  # noqa: A002, FBT002 - the query's name and default
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Page:
    """Return operations, the newest first, a page at a time."""
    return await service.operations(
        grant, kind=kind, author=author, agent=agent, open_only=open, after=cursor, limit=limit
    )


@router.get("/{name}")
async def get_operation(grant: Granted, service: Service, name: Id) -> OperationView:
    """Return one operation, with how many targets are in which state."""
    return await service.operation(grant, name)


@router.get("/{name}/targets", response_model=TargetPage)
async def list_targets(
    grant: Granted,
    service: Service,
    name: Id,
    state: Annotated[
        str, Query(description="Only in these states, separated by commas.", max_length=256)
    ] = "",
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Page:
    """Return the targets of an operation by uid, a page at a time."""
    states = [one for one in state.split(",") if one]
    return await service.operation_targets(grant, name, states=states, after=cursor, limit=limit)


@router.get(
    "/{name}/targets/{ref}/output",
    response_class=Response,
    responses={
        200: {
            "description": "What it printed or made, as it came.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def get_output(grant: Granted, service: Service, name: Id, ref: Ref) -> Response:
    """Return what an operation printed or made at one agent.

    Answers 404 not_found.output if it has not come, or is not kept any more.
    """
    output = await service.operation_output(grant, name, ref)
    return Response(output, media_type="application/octet-stream")


@router.post("/{name}/cancel")
async def cancel_operation(grant: Granted, service: Service, name: Id) -> OperationView:
    """Cancel an operation wherever it is not over; who was told says what came of it."""
    return await service.cancel_operation(grant, name)


@router.post("/{name}/retry", status_code=201)
async def retry_operation(
    grant: Granted, service: Service, name: Id, body: RetryRequest | None = None
) -> OperationView:
    """Order the same again of the targets in these states: those that failed, expired or are unknown.

    Answers 409 operation.nobody if there are none.
    """
    states, message = (body.states, body.message) if body else ([], "")
    return await service.retry(grant, name, states, message=message)
