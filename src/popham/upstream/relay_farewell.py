"""What a Proxy Manager that is dialled hears when it is none any more: nobody else would tell it.

One that dials is refused, and so hears it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from popham.model.names import canonical
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.relay_below import Below

ENDED: Final = "ended"
"""Key of what is ordered of a proxy that is none any more; anything else that is ordered takes it back."""
LEAVING_MAX: Final = 1024
"""Proxies that are to hear so; beyond that the oldest finds out once its visitor statement is over."""


class Farewells:
    """The proxies that are none any more, until they have heard so."""

    def __init__(self) -> None:
        """Know of none."""
        self._leaving: dict[str, Below] = {}

    def __contains__(self, uid: object) -> bool:
        """Return whether an agent is to hear that it is no proxy any more."""
        return uid in self._leaving

    def __iter__(self) -> Iterator[str]:
        """Yield the uids of those that are."""
        return iter(tuple(self._leaving))

    def add(self, below: Below) -> None:
        """Have a proxy told, as it is dialled next."""
        self._leaving.pop(below.proxy.uid, None)
        self._leaving[below.proxy.uid] = below
        if len(self._leaving) > LEAVING_MAX:
            del self._leaving[next(iter(self._leaving))]

    def say(self, uid: str) -> bytes:
        """Return the message that says so."""
        head = self._leaving[uid].exchange.head(more=False)
        return wire.RelayDown(head=head, orders=canonical({"custody": {}, ENDED: True})).SerializeToString()

    def heard(self, uid: str) -> None:
        """Take note that it was heard, or is not so any more."""
        self._leaving.pop(uid, None)
