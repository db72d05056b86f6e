"""What a Manager is asked about Proxy Managers."""

from __future__ import annotations

from typing import Any

from popham.client.transport import Transport, segment


class ProxyCalls(Transport):
    """Proxy Managers: looking at them, and deleting their definitions."""

    def proxies(self) -> list[dict[str, Any]]:
        """Return all Proxy Managers."""
        return self._items("/proxies")

    def proxy(self, name: str) -> dict[str, Any]:
        """Return one Proxy Manager, with its status and path."""
        return self._call("GET", f"/proxies/{segment(name)}")

    def delete_proxy(self, name: str) -> None:
        """Delete a definition; its agent stays, and speaks for nobody any more."""
        self._call("DELETE", f"/proxies/{segment(name)}")
