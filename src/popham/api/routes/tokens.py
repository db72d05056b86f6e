"""Tokens by which agents join."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from popham.api.bodies import TokenRequest, Tokens
from popham.api.depends import Granted, Service
from popham.manager.views import NewToken, TokenView

router = APIRouter(prefix="/tokens", tags=["tokens"])


@router.get("", response_model=Tokens)
async def list_tokens(grant: Granted, service: Service) -> dict[str, tuple[TokenView, ...]]:
    """Return all tokens, never their secrets."""
    return {"items": tuple(await service.tokens(grant))}


@router.post("", status_code=201)
async def create_token(grant: Granted, service: Service, body: TokenRequest) -> NewToken:
    """Make a token; its secret is in this answer only."""
    return await service.create_token(grant, **body.model_dump())


@router.delete("/{id}", status_code=204)
async def revoke_token(
    grant: Granted,
    service: Service,
    token: Annotated[str, Path(alias="id", description="Id of the token.", max_length=256)],
) -> None:
    """Make a token useless; agents that joined by it stay."""
    await service.revoke_token(grant, token)
