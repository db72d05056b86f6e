"""What a Manager is asked about the data of agents."""

from __future__ import annotations

from typing import Any

from popham.client.transport import Transport


class DataCalls(Transport):
    """Data of agents: how it comes in."""

    def intake(self) -> list[dict[str, Any]]:
        """Return the intake of each stream."""
        return self._items("/intake")
