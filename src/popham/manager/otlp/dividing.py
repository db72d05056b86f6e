"""Records into payloads: of one agent each, and small enough for a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from popham.manager.intake.made import Portion
from popham.manager.otlp.pieces import write_field
from popham.manager.otlp.reading import Item
from popham.streams.frame import PAYLOAD_LIMIT

_FRAMING: Final = 8
"""Bytes of a tag and a length, at most."""


@dataclass(slots=True)
class _Scope:
    data: bytes
    items: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Part:
    data: bytes
    scopes: list[_Scope] = field(default_factory=list)


@dataclass(slots=True)
class _Payload:
    """A payload as it grows: parts, their scopes, and the items of those; its records, and its bytes at most."""

    parts: list[_Part] = field(default_factory=list)
    count: int = 0
    size: int = 0

    def cost(self, item: Item) -> int:
        """Return by how many bytes an item makes it longer."""
        part = self.parts[-1] if self.parts else None
        size = len(item.data) + _FRAMING
        if part is None or part.data is not item.part:
            return size + len(item.part) + len(item.scope) + 2 * _FRAMING
        if part.scopes[-1].data is not item.scope:
            return size + len(item.scope) + _FRAMING
        return size

    def add(self, item: Item) -> None:
        """Append an item."""
        self.size += self.cost(item)
        self.count += item.count
        if not self.parts or self.parts[-1].data is not item.part:
            self.parts.append(_Part(item.part))
        part = self.parts[-1]
        if not part.scopes or part.scopes[-1].data is not item.scope:
            part.scopes.append(_Scope(item.scope))
        part.scopes[-1].items.append(item.data)

    def encode(self) -> bytes:
        """Return it as a request."""
        found = []
        for part in self.parts:
            scopes = (
                write_field(2, scope.data + b"".join(write_field(2, item) for item in scope.items))
                for scope in part.scopes
            )
            found.append(write_field(1, part.data + b"".join(scopes)))
        return b"".join(found)


def divide(items: Iterable[Item], *, limit: int = PAYLOAD_LIMIT) -> list[Portion]:
    """Return records, in their order, as portions of at most ``limit`` bytes, before they are packed."""
    open_: dict[bytes, _Payload] = {}
    found: list[Portion] = []
    for item in items:
        payload = open_.get(item.uid)
        if payload is None or payload.size + payload.cost(item) > limit:
            if payload is not None:
                found.append(Portion(item.uid, payload.encode(), payload.count))
            payload = open_[item.uid] = _Payload()
        payload.add(item)
    return found + [Portion(uid, payload.encode(), payload.count) for uid, payload in open_.items()]
