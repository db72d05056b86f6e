"""What a Manager is asked about the API tokens of people and programs."""

from __future__ import annotations

from typing import Any

from popham.client.transport import Transport, segment


class GrantCalls(Transport):
    """API tokens: making them, looking at them, revoking them."""

    def grants(self) -> list[dict[str, Any]]:
        """Return all API tokens, the newest first; never their secrets."""
        return self._items("/grants")

    def create_grant(self, **fields: Any) -> dict[str, Any]:
        """Make an API token; ``fields`` are name, role, groups, operations, lifetime (seconds)."""
        return self._call("POST", "/grants", body=fields)

    def revoke_grant(self, token: str) -> None:
        """Make an API token useless, by its id."""
        self._call("DELETE", f"/grants/{segment(token)}")
