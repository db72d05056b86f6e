"""The audit: every change, who made it, when and from where."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from popham.api.bodies import AuditPage
from popham.api.depends import Granted, Limit, Service
from popham.manager.views import AuditCheck, Page

router = APIRouter(prefix="/audit", tags=["audit"])
Sequence = Annotated[
    str, Query(description="`cursor` of the page before; empty for the first.", pattern=r"^[0-9]{0,18}$")
]

Head = Annotated[
    str,
    Query(
        description="Digest of an entry that was kept elsewhere; empty for none.",
        pattern=r"^([0-9a-f]{64})?$",
    ),
]


@router.get("", response_model=AuditPage)
async def list_changes(grant: Granted, service: Service, cursor: Sequence = "", limit: Limit = 500) -> Page:
    """Return changes, oldest first, a page at a time."""
    return await service.audit(grant, after=int(cursor or 0), limit=limit)


@router.get("/verify")
async def verify(grant: Granted, service: Service, head: Head = "") -> AuditCheck:
    """Follow the chain of the audit: each entry names the digest of the one before."""
    return await service.verify_audit(grant, head=head)
