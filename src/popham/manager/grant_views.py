"""What people see of API tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantView:
    """An API token of a person or program; never its secret. ``state``: usable, expired, revoked."""

    id: str
    name: str
    role: str
    groups: tuple[str, ...]
    operations: tuple[str, ...]
    state: str
    created: float
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGrant:
    """An API token just made; ``secret`` is the token itself, shown this once."""

    grant: GrantView
    secret: str
