"""What the relay of a proxy asks of those beside it: whoever keeps frames, and whoever speaks with agents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream


class Carrying(Protocol):
    """Where frames of agents wait to go up: a proxy's intake."""

    custody: Mapping[Stream, str]
    on_news: Callable[[], None]

    def next_frames(self, limit: int) -> list[wire.Carried]:
        """Return what is to go up now, in about ``limit`` bytes; each is said once until :meth:`lost`."""
        ...

    @property
    def waits(self) -> bool:
        """Whether there is more of it."""
        ...

    @property
    def held(self) -> int:
        """How many records wait, also those that were said and not heard yet."""
        ...

    def knows(self, uid: bytes) -> bool:
        """Return whether it is known how far the streams of an agent are above."""
        ...

    def lost(self) -> None:
        """Take note that what was said may not have arrived."""
        ...

    def discard(self, uid: bytes, why: str) -> None:
        """Hold nothing more of an agent, and count it under ``why``: nobody above takes it."""
        ...

    def forget(self, uid: bytes) -> None:
        """Take note that an agent went elsewhere."""
        ...

    def stood(self, stood: wire.Stood) -> None:
        """Take note of how far those above are with a stream of an agent. Raises WireError."""
        ...

    def depth(self) -> dict[str, Any]:
        """Return how much waits, by stream."""
        ...


class Downlink(Protocol):
    """What is told of agents is told to them by a hub; :class:`popham.upstream.hub.Hub` is one."""

    def changed(self, groups: Iterable[str]) -> None:
        """Take note that groups are to have something else."""
        ...

    def tell(self, uid: str) -> None:
        """Tell one agent what it should be told now."""
        ...

    def tell_orders(self, uids: Iterable[str]) -> None:
        """Take note that something is ordered of agents."""
        ...

    def drop(self, uid: str, reason: str) -> None:
        """Close an agent's link."""
        ...

    def check_in(self, uid: str) -> bool:
        """Have an agent asked for a round now; False if no link is held."""
        ...
