"""API tokens of people and programs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from popham.api.bodies import GrantRequest, Grants
from popham.api.depends import Granted, Service
from popham.manager.grant_views import GrantView, NewGrant

router = APIRouter(prefix="/grants", tags=["grants"])


@router.get("", response_model=Grants)
async def list_grants(grant: Granted, service: Service) -> dict[str, tuple[GrantView, ...]]:
    """Return all API tokens, never their secrets."""
    return {"items": await service.grants(grant)}


@router.post("", status_code=201)
async def create_grant(grant: Granted, service: Service, body: GrantRequest) -> NewGrant:
    """Make an API token; its secret is in this answer only.

    Groups and operations limit the role operator, and no other. Answers 422 grant.scope if they cannot.
    """
    return await service.create_grant(grant, **body.model_dump())


@router.delete("/{id}", status_code=204)
async def revoke_grant(
    grant: Granted,
    service: Service,
    token: Annotated[str, Path(alias="id", description="Id of the API token.", max_length=256)],
) -> None:
    """Make an API token useless, at once.

    Answers 409 conflict.last_admin if no usable token of an admin would be left.
    """
    await service.revoke_grant(grant, token)
