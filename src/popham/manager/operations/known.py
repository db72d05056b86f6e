"""Who is known to whoever keeps operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from popham.upstream.record import Record, Wanted


class Known(Protocol):
    """Who is known, and what groups are to have."""

    def record(self, uid: str) -> Record | None:
        """Return what is known of one agent."""
        ...

    def wanted(self, group: str) -> Wanted | None:
        """Return what a group's agents are to have."""
        ...

    async def refresh(self, groups: Iterable[str] | None) -> None:
        """Read again what these groups (None: all) are to have."""
        ...


class Nobody:
    """Knows no agent: for commands that run beside a stopped Manager; its next start takes up what was ordered."""

    def record(self, uid: str) -> Record | None:  # noqa: ARG002  # the form of Known
        """Return None."""
        return None

    def wanted(self, group: str) -> Wanted | None:  # noqa: ARG002  # the form of Known
        """Return None."""
        return None

    async def refresh(self, groups: Iterable[str] | None) -> None:
        """Do nothing."""
