"""The intake: what agents sent, as far as it is durable, waits, or was refused."""

from __future__ import annotations

from fastapi import APIRouter

from popham.api.data_bodies import Intakes
from popham.api.depends import Granted, Service
from popham.manager.intake.views import IntakeView

router = APIRouter(prefix="/intake", tags=["data"])


@router.get("", response_model=Intakes)
async def show_intake(grant: Granted, service: Service) -> dict[str, tuple[IntakeView, ...]]:
    """Return the intake of each stream: its queue, its segments, and how far behind their readers are."""
    return {"items": service.intake(grant)}
