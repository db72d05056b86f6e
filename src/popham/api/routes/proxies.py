"""Proxy Managers: who they are, what is at them, and their definitions."""

from __future__ import annotations

from fastapi import APIRouter

from popham.api.depends import Granted, Name, Service
from popham.api.proxy_bodies import Proxies
from popham.manager.proxies.views import ProxyView

router = APIRouter(prefix="/proxies", tags=["agents"])


@router.get("", response_model=Proxies)
async def list_proxies(grant: Granted, service: Service) -> dict[str, tuple[ProxyView, ...]]:
    """Return all Proxy Managers by name."""
    return {"items": await service.proxies(grant)}


@router.get("/{name}")
async def get_proxy(grant: Granted, service: Service, name: Name) -> ProxyView:
    """Return one Proxy Manager, with its status and the path to it."""
    return await service.proxy(grant, name)


@router.delete("/{name}", status_code=204)
async def delete_proxy(grant: Granted, service: Service, name: Name) -> None:
    """Delete a definition: its agent stays, and speaks for nobody any more.

    Answers 409 conflict.visited while definitions of agents name it.
    """
    await service.delete_proxy(grant, name)
