"""What a Manager is asked about the summary window."""

from __future__ import annotations

from typing import Any

from popham.client.transport import Transport, segment


class SummaryCalls(Transport):
    """The summary window: agents, groups, and what came of an agent's values over time."""

    def summaries(self, *, group: str | None = None, selector: str = "") -> list[dict[str, Any]]:
        """Return the rows of all agents, or those of one group, or with such labels."""
        asked = {"group": group or "", "selector": selector}
        return list(self._pages("/summary", {key: value for key, value in asked.items() if value}))

    def summary(self, ref: str) -> dict[str, Any]:
        """Return the row of one agent by name or uid, with all its values."""
        return self._call("GET", f"/summary/{segment(ref)}")

    def group_summaries(self) -> list[dict[str, Any]]:
        """Return a row for each group that has agents."""
        return self._items("/group-summaries")

    def rolled(
        self, ref: str, *, level: str, item: str = "", since: float | None = None
    ) -> list[dict[str, Any]]:
        """Return one agent's values in windows of ``level`` (10m, 1h or 1d), the oldest first."""
        query = {"level": level, "item": item, "since": "" if since is None else f"{since:.3f}"}
        return self._items(
            f"/summary/{segment(ref)}/rollups", query={key: value for key, value in query.items() if value}
        )
