"""The seam to the streams of this machine: where everything goes that is collected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from popham.streams.frame import Stream

if TYPE_CHECKING:
    from popham.streams.frame import Cause
    from popham.streams.limits import Limits


class Waiting(Protocol):
    """What waits in one stream."""

    @property
    def epoch(self) -> int:
        """Of which history."""
        ...

    @property
    def next(self) -> int:
        """Offset after the last record."""
        ...

    @property
    def waiting(self) -> int:
        """Records that wait to be sent."""
        ...


class Appends(Protocol):
    """The streams of this machine; :class:`popham.agent.streams.spools.Spools` are these."""

    async def open(self, stream: Stream) -> None:
        """Open a stream, also one that never had a record. Raises StreamError."""
        ...

    async def append(self, stream: Stream, payload: bytes, count: int) -> None:
        """Keep a payload of ``count`` records; returns once it is durable. Raises StreamError."""
        ...

    def lose(self, stream: Stream, count: int, cause: Cause) -> None:
        """Count records that could not be kept."""
        ...

    def view(self, stream: Stream) -> Waiting | None:
        """Return what waits in a stream; None for one that never had a record, unless it was opened."""
        ...

    async def set_limits(self, limits: Mapping[Stream, Limits]) -> None:
        """Keep no more than this; a stream that is not named keeps as much as by default. Raises StreamError."""
        ...
