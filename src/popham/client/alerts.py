"""What a Manager is asked about alerts and silences."""

from __future__ import annotations

from typing import Any

from popham.client.transport import Transport, segment


class AlertCalls(Transport):
    """Alerts, and silences."""

    def alerts(
        self, *, ref: str = "", group: str | None = None, selector: str = "", everything: bool = False
    ) -> list[dict[str, Any]]:
        """Return alerts: of one agent, a group and those below, or agents with such labels; the recovered too."""
        asked = {
            "agent": ref,
            "group": group or "",
            "selector": selector,
            "all": "true" if everything else "",
        }
        return list(self._pages("/alerts", {key: value for key, value in asked.items() if value}))

    def silences(self) -> list[dict[str, Any]]:
        """Return all silences."""
        return self._items("/silences")

    def create_silence(self, **fields: Any) -> dict[str, Any]:
        """Have nobody told of some alerts for a while."""
        return self._call("POST", "/silences", body=fields)

    def end_silence(self, name: str) -> dict[str, Any]:
        """End a silence."""
        return self._call("DELETE", f"/silences/{segment(name)}")
