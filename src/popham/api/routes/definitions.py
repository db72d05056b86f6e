"""What people define: groups and policies, and the files that define them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from popham.api.bodies import ApplyRequest, CopyRequest, Groups, Policies
from popham.api.depends import Granted, Name, Service
from popham.manager.views import ApplyResult, GroupView, PolicyView
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
) -> ApplyResult:
    """Make definitions hold, all or none.

    Answers 422 with every error and its `source` and `line`; then nothing has changed.
    A dry run needs the role viewer only.
    """
    files = [SourceFile(file.name, file.text) for file in body.files]
    return await service.apply(grant, files, dry_run=dry_run, force=force)


@groups.get("", response_model=Groups)
async def list_groups(grant: Granted, service: Service) -> dict[str, tuple[GroupView, ...]]:
    """Return all groups."""
    return {"items": tuple(await service.groups(grant))}


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


@policies.post("/{name}/copy", status_code=201)
async def copy_policy(grant: Granted, service: Service, name: Name, body: CopyRequest) -> PolicyView:
    """Make a policy of another name with the same content; no group assigns it yet."""
    return await service.copy_policy(grant, name, body.to)
