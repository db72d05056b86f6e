"""The Manager as one that has data and alerts of its own, beside those of agents."""

from __future__ import annotations

from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

MANAGER: Final[UUID] = uuid5(NAMESPACE_URL, "urn:popham:manager")
"""What stands where an agent's uid does."""
NAME: Final = "manager"
"""What people are shown for it."""


def name_of(uid: str) -> str | None:
    """Return the Manager's name if ``uid`` is its own; None for everybody else."""
    return NAME if uid == str(MANAGER) else None
