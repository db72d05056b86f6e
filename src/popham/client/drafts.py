"""What a Manager is asked about drafts, and told to do with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from popham.client.transport import Transport, as_files, said, segment


class DraftCalls(Transport):
    """Drafts: saving into them, looking at them, planning and publishing them."""

    def drafts(self) -> list[dict[str, Any]]:
        """Return all drafts, without their texts."""
        return self._items("/drafts")

    def draft(self, name: str) -> dict[str, Any]:
        """Return one draft, with its texts."""
        return self._call("GET", f"/drafts/{segment(name)}")

    def save_draft(self, name: str, files: Sequence[tuple[str, str]], **terms: Any) -> dict[str, Any]:
        """Put definitions into a draft; ``files`` are (name, YAML text).

        ``terms`` are message, seen, only, theirs and force; those that say nothing are left out.
        """
        body = {"files": as_files(files), **said(terms)}
        return self._call("PUT", f"/drafts/{segment(name)}", body=body)

    def remove_from_draft(self, name: str, objects: Sequence[str], **terms: Any) -> dict[str, Any]:
        """Take documents (``policy/motd``) out of a draft; ``terms`` are seen and theirs."""
        body = {"documents": list(objects), **said(terms)}
        return self._call("POST", f"/drafts/{segment(name)}/remove", body=body)

    def discard_draft(self, name: str, *, seen: int | None = None, theirs: bool = False) -> None:
        """Forget a draft."""
        query = {"seen": str(seen)} if seen is not None else {}
        self._call("DELETE", f"/drafts/{segment(name)}", query=query | ({"theirs": "true"} if theirs else {}))

    def plan_draft(self, name: str, **terms: Any) -> dict[str, Any]:
        """Return what the publishing of a draft would do; ``terms`` are take_over, everyone and rollout."""
        return self._call("POST", f"/drafts/{segment(name)}/plan", body=said(terms))

    def publish_draft(self, name: str, **terms: Any) -> dict[str, Any]:
        """Apply a draft; ``terms`` are message, seen, base, and those of :meth:`plan_draft`."""
        return self._call("POST", f"/drafts/{segment(name)}/publish", body=said(terms))

    def rebase_draft(self, name: str) -> dict[str, Any]:
        """Let a draft rest on all objects as they are now; returns what had changed."""
        return self._call("POST", f"/drafts/{segment(name)}/rebase")
