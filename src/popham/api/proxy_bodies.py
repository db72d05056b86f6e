"""Answers about Proxy Managers that are no views of the service's."""

from __future__ import annotations

from pydantic import BaseModel

from popham.manager.proxies.views import ProxyView


class Proxies(BaseModel):
    """All Proxy Managers."""

    items: list[ProxyView]
