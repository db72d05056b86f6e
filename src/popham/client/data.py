"""What a Manager is asked about the data of agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from popham.client.transport import Transport, segment


class DataCalls(Transport):
    """Data of agents: how it comes in, and what came."""

    def intake(self) -> list[dict[str, Any]]:
        """Return the intake of each stream."""
        return self._items("/intake")

    def logs(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return a page of lines: ``items``, ``cursor`` of the next page, ``after`` for what comes later.

        Args:
            query: ``agent``, ``group``, ``selector``, ``since``, ``until``, ``grep``, ``severity``, ``source``,
                ``newest``, ``after``, ``cursor``, ``limit``; unix seconds, and lists for agents and groups.
        """
        return self._call("GET", "/logs", query=_said(query))

    def metrics(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return which metrics there are; ``query`` as of :meth:`logs`, as far as agents and times."""
        return self._items("/metrics", query=_said(query))

    def metric(self, name: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return one metric over time; ``query`` has ``step`` and ``limit`` too."""
        return self._call("GET", f"/metrics/{segment(name)}", query=_said(query))

    def records(self, stream: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return a page of records of a stream; ``query`` as of :meth:`metrics`, with ``cursor`` and ``limit``."""
        return self._call("GET", f"/data/{segment(stream)}", query=_said(query))


def _said(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a query says, without what it leaves open."""
    return {key: value for key, value in query.items() if value not in (None, "", (), [], False)}
