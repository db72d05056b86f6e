"""Whom an upstream visits, and how: what the visitor needs of whoever keeps definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from popham.model.communication import Mode
from popham.net.visiting import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One agent that is to be visited.

    Attributes:
        uid: Its instance_uid; empty while nobody was found where the definition points.
        name: What people call it.
        place: Where its service is.
        mode: ``pull`` for visits, ``push`` for a link that the upstream holds.
        interval: Seconds from one visit to the next.
        reads: Whether its streams are read by visits although it dials for its orders; then also where it came.
    """

    uid: str
    name: str
    place: Place
    mode: Mode
    interval: float
    reads: bool = False


class Targets(Protocol):
    """Everybody who is to be visited, by a key that stays the same: the uid, or the name of a definition."""

    def read(self) -> Mapping[str, Target]:
        """Return all targets now."""
        ...

    def one(self, key: str) -> Target | None:
        """Return one of them; None if it is not to be visited, or not now."""
        ...

    async def found(self, target: Target, uid: str) -> None:
        """Take note, durably, of which agent is where a definition without an agent points."""
        ...
