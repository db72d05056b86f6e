"""What a Manager is asked about definitions, groups, placements, tokens and changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from popham.client.transport import Transport, as_files, said, segment


class ObjectCalls(Transport):
    """All objects together, and those that have no part of their own."""

    def apply(
        self,
        files: Sequence[tuple[str, str]],
        *,
        dry_run: bool = False,
        force: bool = False,
        hold: bool = False,
        **terms: Any,
    ) -> dict[str, Any]:
        """Make definitions hold, all or none; ``files`` are (name, YAML text). ``force`` takes what is unwise.

        With ``hold`` agents hold it as a candidate, and do not apply it.
        ``terms`` are message, as_source, take_over, prune, base, compare, and either everyone or rollout (``waves``,
        ``soak``, ``halt_on``); those that say nothing are left out.
        """
        body = {"files": as_files(files), **said(terms)}
        query = {"dry_run": "true" if dry_run else "false"}
        query |= {key: "true" for key, value in (("force", force), ("hold", hold)) if value}
        return self._call("POST", "/apply", body=body, query=query)

    def export(self) -> dict[str, Any]:
        """Return the definitions of all objects under ``items``, and ``warnings``."""
        return self._call("GET", "/export")

    def groups(self) -> list[dict[str, Any]]:
        """Return all groups."""
        return self._items("/groups")

    def group(self, name: str) -> dict[str, Any]:
        """Return one group, with what it inherits and from where."""
        return self._call("GET", f"/groups/{segment(name)}")

    def delete_group(self, name: str) -> None:
        """Delete a group that has no children and no agents."""
        self._call("DELETE", f"/groups/{segment(name)}")

    def import_distribution(
        self, files: Sequence[Mapping[str, Any]], *, under: str, dry_run: bool = False
    ) -> dict[str, Any]:
        """Make groups of files named Distribute.ini; each has ``folder``, ``name``, ``text`` and ``beside``."""
        query = {"dry_run": "true" if dry_run else "false"}
        return self._call("POST", "/groups/import", body={"files": list(files), "under": under}, query=query)

    def placements(self) -> list[dict[str, Any]]:
        """Return the rules that say where agents begin, in their order."""
        return self._items("/placements")

    def delete_placement(self, name: str) -> None:
        """Delete a rule of placement; agents stay where they are."""
        self._call("DELETE", f"/placements/{segment(name)}")

    def tokens(self) -> list[dict[str, Any]]:
        """Return the tokens by which agents join; never their secrets."""
        return self._items("/tokens")

    def create_token(self, **fields: Any) -> dict[str, Any]:
        """Make a token; ``fields`` are kind, group, uses, lifetime (seconds), accepts, cidr."""
        return self._call("POST", "/tokens", body=fields)

    def revoke_token(self, token: str) -> None:
        """Make a token useless; agents that joined by it stay."""
        self._call("DELETE", f"/tokens/{segment(token)}")

    def audit(self) -> Iterator[dict[str, Any]]:
        """Yield every change, oldest first."""
        return self._pages("/audit", {})

    def verify_audit(self, head: str = "") -> dict[str, Any]:
        """Have the chain of the audit followed; ``head`` is a digest that was kept, and must be in it."""
        return self._call("GET", "/audit/verify", query={"head": head} if head else {})
