"""Drafts: definitions that people prepare on the Manager, and publish as one apply."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from popham.api.depends import Granted, Name, Service
from popham.api.draft_bodies import (
    DraftPlanRequest,
    DraftRequest,
    Drafts,
    Edition,
    PublishRequest,
    RemoveRequest,
)
from popham.manager.apply_views import ApplyResult
from popham.manager.definitions import Terms
from popham.manager.draft_views import DraftPlan, DraftView, Rebased
from popham.manager.drafts import SaveTerms
from popham.model.definition import SourceFile

router = APIRouter(prefix="/drafts", tags=["drafts"])


@router.get("", response_model=Drafts)
async def list_drafts(grant: Granted, service: Service) -> dict[str, tuple[DraftView, ...]]:
    """Return all drafts, without their texts."""
    return {"items": await service.drafts(grant)}


@router.get("/{name}")
async def get_draft(grant: Granted, service: Service, name: Name) -> DraftView:
    """Return one draft with its documents; secrets are shown to those only who may apply it."""
    return await service.draft(grant, name)


@router.put("/{name}")
async def save_draft(grant: Granted, service: Service, name: Name, body: DraftRequest) -> DraftView:
    """Put definitions into a draft, which begins by it if it is not there.

    A document replaces that of the same object. One that somebody else saved is replaced only if `seen`
    names an edition that had it, or with `theirs`; else 409 `conflict.draft` says whose it is.
    """
    files = [SourceFile(file.name, file.text) for file in body.files]
    terms = SaveTerms(
        message=body.message, seen=body.seen, only=body.only, theirs=body.theirs, force=body.force
    )
    return await service.save_draft(grant, name, files, terms=terms)


@router.delete("/{name}", status_code=204)
async def discard_draft(
    grant: Granted,
    service: Service,
    name: Name,
    seen: Annotated[Edition | None, Query(description="Edition that was looked at.")] = None,
    theirs: Annotated[bool, Query(description="Also what somebody else saved, unseen.")] = False,  # noqa: FBT002 - a query's default, never passed by place
) -> None:
    """Forget a draft; 409 `conflict.draft` if it has what somebody else saved."""
    await service.discard_draft(grant, name, seen=seen, theirs=theirs)


@router.post("/{name}/remove")
async def remove_from_draft(grant: Granted, service: Service, name: Name, body: RemoveRequest) -> DraftView:
    """Take documents out of a draft, as for replacing them; without its last one the draft is gone."""
    return await service.remove_from_draft(grant, name, body.documents, seen=body.seen, theirs=body.theirs)


@router.post("/{name}/plan")
async def plan_draft(
    grant: Granted, service: Service, name: Name, body: DraftPlanRequest | None = None
) -> DraftPlan:
    """Return what the publishing of a draft would do, as a dry run of an apply does."""
    body = body or DraftPlanRequest()
    rollout = body.terms(hold=body.hold)
    terms = Terms(take_over=body.take_over, everyone=body.everyone, rollout=rollout, hold=body.hold)
    return await service.plan_draft(grant, name, terms=terms)


@router.post("/{name}/rebase")
async def rebase_draft(grant: Granted, service: Service, name: Name) -> Rebased:
    """Let a draft rest on all objects as they are now, and return which had changed."""
    return await service.rebase_draft(grant, name)


@router.post("/{name}/publish")
async def publish_draft(
    grant: Granted, service: Service, name: Name, body: PublishRequest | None = None
) -> ApplyResult:
    """Apply a draft as one change, after which the draft is gone.

    Answers 409 `conflict.base` if an object has changed since its document came into the draft,
    `conflict.draft` if the draft itself has changed since `seen`, and as an apply does.
    """
    body = body or PublishRequest()
    terms = Terms(
        message=body.message,
        take_over=body.take_over,
        base=body.base,
        everyone=body.everyone,
        rollout=body.terms(hold=body.hold),
        hold=body.hold,
    )
    return await service.publish_draft(grant, name, seen=body.seen, terms=terms)
