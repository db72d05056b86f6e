"""Whether the Manager runs, and whether it serves; open to anybody, so they say no more."""

from __future__ import annotations

from fastapi import APIRouter, Request

from popham.api.bodies import Health
from popham.errors import StateError

router = APIRouter(tags=["health"])


@router.get("/livez")
async def is_alive() -> Health:
    """Answer as long as the process runs."""
    return Health(status="ok")


@router.get("/readyz")
async def is_ready(request: Request) -> Health:
    """Answer 200 if the Manager serves, 503 while it starts or drains."""
    if not request.app.state.is_ready():
        raise StateError("not_ready", "the Manager does not serve now", "Ask again later")
    return Health(status="ok")
