"""What people define: groups and policies, and the files that define them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from popham.api.bodies import (
    ApplyRequest,
    CopyRequest,
    DistributionRequest,
    Exported,
    Groups,
    History,
    Policies,
    RollbackRequest,
)
from popham.api.depends import Granted, Name, Service
from popham.manager.apply_views import ApplyResult
from popham.manager.definitions import Terms
from popham.manager.import_views import DistributionView
from popham.manager.views import DifferenceView, FileView, GroupView, PolicyView, RevisionView
from popham.model.definition import SourceFile

groups = APIRouter(prefix="/groups", tags=["groups"])
policies = APIRouter(prefix="/policies", tags=["policies"])
router = APIRouter()


@router.post("/apply", tags=["definitions"])
async def apply(
    grant: Granted,
    service: Service,
    body: ApplyRequest,
    dry_run: Annotated[bool, Query(description="Check and compare only; change nothing.")] = False,  # noqa: FBT002 - a query's default, never passed by place
    force: Annotated[bool, Query(description="Take what is possible and unwise, and warn.")] = False,  # noqa: FBT002 - as above
    hold: Annotated[bool, Query(description="Have agents hold it as a candidate, and not apply it.")] = False,  # noqa: FBT002 - as above
) -> ApplyResult:
    """Make definitions hold, all or none.

    Answers 422 with every error and its `source` and `line`; then nothing has changed.
    Answers 409 `conflict.reach` if it gives new content to many agents, and neither `everyone` nor `rollout` nor `hold` is said.
    A dry run needs the role viewer only; its `base`, sent back, makes the real one fail if anything moved.
    """
    files = [SourceFile(file.name, file.text) for file in body.files]
    terms = Terms(
        message=body.message,
        source=body.as_source,
        take_over=body.take_over,
        prune=body.prune,
        base=body.base,
        everyone=body.everyone,
        rollout=body.terms(hold=hold),
        hold=hold,
        compare=body.compare,
    )
    return await service.apply(grant, files, dry_run=dry_run, force=force, terms=terms)


@router.get("/export", response_model=Exported, tags=["definitions"])
async def export(grant: Granted, service: Service) -> dict[str, tuple[FileView, ...] | tuple[str, ...]]:
    """Return the definitions of all objects, secrets included; applying them changes nothing."""
    files, warnings = await service.export(grant)
    return {"items": files, "warnings": warnings}


@groups.get("", response_model=Groups)
async def list_groups(grant: Granted, service: Service) -> dict[str, tuple[GroupView, ...]]:
    """Return all groups."""
    return {"items": tuple(await service.groups(grant))}


@groups.post("/import")
async def import_distribution(
    grant: Granted,
    service: Service,
    body: DistributionRequest,
    dry_run: Annotated[bool, Query(description="Compare only; change nothing.")] = False,  # noqa: FBT002 - a query's default, never passed by place
) -> DistributionView:
    """Make groups of files named Distribute.ini and put their hosts into them; what is wrong is told.

    Answers 404 not_found.group if there is no group to make them under. A dry run needs the role viewer only.
    """
    return await service.import_distribution(grant, body.folders(), under=body.under, dry_run=dry_run)


@groups.get("/{name}")
async def get_group(grant: Granted, service: Service, name: Name) -> GroupView:
    """Return one group: its own values, and what holds with the group it comes from."""
    return await service.group(grant, name)


@groups.delete("/{name}", status_code=204)
async def delete_group(grant: Granted, service: Service, name: Name) -> None:
    """Delete a group; 409 if it has children or agents."""
    await service.delete_group(grant, name)


@policies.get("", response_model=Policies)
async def list_policies(grant: Granted, service: Service) -> dict[str, tuple[PolicyView, ...]]:
    """Return the heads of all policies."""
    return {"items": tuple(await service.policies(grant))}


@policies.get("/{name}")
async def get_policy(grant: Granted, service: Service, name: Name) -> PolicyView:
    """Return the newest revision of one policy, with its spec."""
    return await service.policy(grant, name)


@policies.delete("/{name}", status_code=204)
async def delete_policy(grant: Granted, service: Service, name: Name) -> None:
    """Delete a policy; 409 while a group assigns it."""
    await service.delete_policy(grant, name)


@policies.get("/{name}/revisions", response_model=History)
async def list_revisions(grant: Granted, service: Service, name: Name) -> dict[str, tuple[RevisionView, ...]]:
    """Return all revisions of a policy, the newest first, and which groups have which now."""
    return {"items": await service.history(grant, name)}


@policies.get("/{name}/difference")
async def compare_revisions(
    grant: Granted,
    service: Service,
    name: Name,
    first: Annotated[
        int | None, Query(ge=1, description="The older one; else that before the other.")
    ] = None,
    second: Annotated[int | None, Query(ge=1, description="The newer one; else the newest.")] = None,
) -> DifferenceView:
    """Return what differs between two revisions, without secrets."""
    return await service.difference(grant, name, first, second)


@policies.post("/{name}/rollback")
async def roll_back(grant: Granted, service: Service, name: Name, body: RollbackRequest) -> PolicyView:
    """Make a new revision with the content of an old one; `rollout` names the rollout that began by it."""
    return await service.roll_back(
        grant,
        name,
        body.to_revision,
        message=body.message,
        take_over=body.take_over,
        everyone=body.everyone,
        rollout=body.terms(),
    )


@policies.post("/{name}/copy", status_code=201)
async def copy_policy(grant: Granted, service: Service, name: Name, body: CopyRequest) -> PolicyView:
    """Make a policy of another name with the same content; no group assigns it yet."""
    return await service.copy_policy(grant, name, body.to)
