"""What a Manager is asked about operations, and told to order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from popham.client.transport import Transport, segment


class OperationCalls(Transport):
    """Operations: ordering them, looking at what came of them, cancelling and retrying them."""

    def order(
        self,
        kind: str,
        targets: Mapping[str, Any],
        *,
        args: Mapping[str, Any] | None = None,
        expires: float | None = None,
        message: str = "",
        dry_run: bool = False,
        yes: bool = False,
    ) -> dict[str, Any]:
        """Order an operation, or with ``dry_run`` return its targets and why each is one.

        Args:
            kind: Such as ``check-in``.
            targets: ``agents``, ``groups``, ``selector`` or ``all``.
            args: What the kind needs.
            expires: Seconds after which nobody begins it; None for the Manager's choice.
            message: Why, for those who look at it.
            dry_run: Order nothing.
            yes: It is meant also of so many agents at once that the Manager asks.
        """
        body: dict[str, Any] = {"kind": kind, **targets, "args": dict(args or {}), "dry_run": dry_run}
        if expires is not None:
            body["expires"] = expires
        if message:
            body["message"] = message
        if yes:
            body["yes"] = True
        return self._call("POST", "/operations", body=body)

    def operations(
        self, *, kind: str = "", author: str = "", agent: str = "", open_only: bool = False, limit: int = 0
    ) -> list[dict[str, Any]]:
        """Return operations, the newest first: ``limit`` of them, or all."""
        asked = {"kind": kind, "author": author, "agent": agent, "open": "true" if open_only else ""}
        found = self._pages("/operations", {key: value for key, value in asked.items() if value})
        return list(islice(found, limit or None))

    def operation(self, name: str) -> dict[str, Any]:
        """Return one operation with how many targets are in which state."""
        return self._call("GET", f"/operations/{segment(name)}")

    def targets(self, name: str, *, states: Sequence[str] = (), limit: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the targets of an operation, page by page: the first ``limit``, a page at most, or all."""
        query = {"state": ",".join(states)} if states else {}
        query |= {"limit": str(limit)} if limit else {}
        return islice(self._pages(f"/operations/{segment(name)}/targets", query), limit or None)

    def cancel_operation(self, name: str) -> dict[str, Any]:
        """Cancel an operation wherever it is not over."""
        return self._call("POST", f"/operations/{segment(name)}/cancel")

    def retry_operation(self, name: str, *, states: Sequence[str] = ()) -> dict[str, Any]:
        """Order the same again of the targets in these states; none named: those that failed, expired or are unknown."""
        body = {"states": list(states)} if states else {}
        return self._call("POST", f"/operations/{segment(name)}/retry", body=body)

    def output(self, name: str, agent: str) -> bytes:
        """Return what an operation printed or made at one target."""
        return self._fetch(f"/operations/{segment(name)}/targets/{segment(agent)}/output")
