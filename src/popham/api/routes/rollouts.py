"""Rollouts: changes that reach a few agents first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from popham.api.bodies import ReasonRequest, ResumeRequest, Rollouts
from popham.api.depends import Granted, Service
from popham.manager.rollout_views import RolloutView

router = APIRouter(prefix="/rollouts", tags=["rollouts"])


async def read_reason(body: ReasonRequest | None = None) -> str:
    """Return why somebody steps in, if they say so."""
    return body.reason if body else ""


Id = Annotated[str, Path(description="Name of the rollout, such as r12.", max_length=32)]
Reason = Annotated[str, Depends(read_reason)]


@router.get("", response_model=Rollouts)
async def list_rollouts(
    grant: Granted,
    service: Service,
    open: Annotated[bool, Query(description="Only those that are not over.")] = False,  # noqa: A002, FBT002 - the query's name and default
) -> dict[str, tuple[RolloutView, ...]]:
    """Return the newest rollouts, or the newest of those that are not over; older ones by name only."""
    return {"items": await service.rollouts(grant, open_only=open)}


@router.post("/halt", response_model=Rollouts)
async def halt_rollouts(
    grant: Granted, service: Service, reason: Reason
) -> dict[str, tuple[RolloutView, ...]]:
    """Halt every rollout that runs or is paused; returns those it halted."""
    return {"items": await service.halt_rollouts(grant, reason)}


@router.get("/{name}")
async def get_rollout(grant: Granted, service: Service, name: Id) -> RolloutView:
    """Return one rollout: its waves, how its cohort is doing, what went wrong and who is waited for."""
    return await service.rollout(grant, name)


@router.post("/{name}/pause")
async def pause_rollout(grant: Granted, service: Service, name: Id, reason: Reason) -> RolloutView:
    """Keep the cohort as it is: nothing widens until the rollout is resumed."""
    return await service.pause_rollout(grant, name, reason)


@router.post("/{name}/resume")
async def resume_rollout(
    grant: Granted, service: Service, name: Id, body: ResumeRequest | None = None
) -> RolloutView:
    """Go on with a rollout that is paused or halted, with the wave that held, or begin the first of one that is held.

    Only one that is held takes other waves: 409 `conflict.begun`.
    """
    terms = body.rollout.terms() if body and body.rollout else None
    return await service.resume_rollout(grant, name, terms)


@router.post("/{name}/halt")
async def halt_rollout(grant: Granted, service: Service, name: Id, reason: Reason) -> RolloutView:
    """Stop: nobody new begins, and who has the new content goes back to the old."""
    return await service.halt_rollout(grant, name, reason)


@router.post("/{name}/promote")
async def promote_rollout(grant: Granted, service: Service, name: Id) -> RolloutView:
    """Give the new content to all agents now; the rollout is over."""
    return await service.promote_rollout(grant, name)


@router.post("/{name}/undo")
async def undo_rollout(grant: Granted, service: Service, name: Id) -> RolloutView:
    """Make the definitions hold again that held before; 409 if somebody has edited them since."""
    return await service.undo_rollout(grant, name)
