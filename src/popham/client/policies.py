"""What a Manager is asked about policies and their revisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from popham.client.transport import Transport, said, segment


class PolicyCalls(Transport):
    """Policies: looking at them, their history, going back."""

    def policies(self) -> list[dict[str, Any]]:
        """Return the heads of all policies."""
        return self._items("/policies")

    def policy(self, name: str) -> dict[str, Any]:
        """Return one policy, with its spec."""
        return self._call("GET", f"/policies/{segment(name)}")

    def copy_policy(self, source: str, to: str) -> dict[str, Any]:
        """Make a policy ``to`` with the content of ``source``."""
        return self._call("POST", f"/policies/{segment(source)}/copy", body={"to": to})

    def history(self, name: str) -> list[dict[str, Any]]:
        """Return all revisions of a policy, the newest first."""
        return self._items(f"/policies/{segment(name)}/revisions")

    def difference(self, name: str, first: int | None = None, second: int | None = None) -> dict[str, Any]:
        """Compare two revisions of a policy: by default the newest with the one before."""
        asked = {"first": first, "second": second}
        query = {key: str(value) for key, value in asked.items() if value is not None}
        return self._call("GET", f"/policies/{segment(name)}/difference", query=query)

    def roll_back(
        self,
        name: str,
        revision: int,
        *,
        message: str = "",
        take_over: bool = False,
        everyone: bool = False,
        rollout: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make a new revision with the content of an old one; the last two as of :meth:`Client.apply`."""
        body = {"to_revision": revision, "message": message, "take_over": take_over}
        body |= said({"everyone": everyone, "rollout": rollout})
        return self._call("POST", f"/policies/{segment(name)}/rollback", body=body)

    def delete_policy(self, name: str) -> None:
        """Delete a policy that no group assigns."""
        self._call("DELETE", f"/policies/{segment(name)}")
