"""What a driver asks of the end of a session that it drives."""

from __future__ import annotations

import asyncio
from typing import Protocol

from popham.model.communication import CommunicationSettings


class End(Protocol):
    """The downstream end that a driver drives; all messages are bare protobuf.

    Attributes:
        news: Set by the end when it has something to say, or wants a round now.
        serving: Whether this end's service is there to be visited.
    """

    news: asyncio.Event
    serving: bool

    @property
    def uid(self) -> bytes:
        """instance_uid, 16 bytes."""
        ...

    @property
    def settings(self) -> CommunicationSettings:
        """The communication settings in force."""
        ...

    @property
    def retry_window(self) -> float:
        """Seconds from which upstream wants the first retry drawn; 0 while it has named none."""
        ...

    @property
    def stretch(self) -> float:
        """Seconds by which upstream wants the next round later, within bounds."""
        ...

    def stirred(self) -> bool:
        """Return whether a change was applied, or something failed, since this was last asked."""
        ...

    def opened(self) -> None:
        """Take note of a new held link."""
        ...

    def fall_back(self, code: str) -> None:
        """Take note that this end pulls instead of holding a link, and why; empty if it does not."""
        ...

    def note_unvisited(self, code: str) -> None:
        """Take note that this end dials although it is to be visited, and why; empty if it does not."""
        ...

    def take_change(self) -> bool:
        """Return whether this end has another key since this was last asked, which no open link knows."""
        ...

    def lost(self) -> None:
        """Take note that nothing said and unanswered may have arrived."""
        ...

    def report(self, *, force: bool) -> bytes | None:
        """Return the next message; None if there is nothing new and ``force`` is False."""
        ...

    async def receive(self, data: bytes) -> None:
        """Take one message from upstream, and do what it says.

        Raises:
            PophamError: It is malformed or cannot be believed; the link is then of no use.
            LinkError: What it names could not be fetched, or it asks to stay away.
        """
        ...

    async def rest(self) -> None:
        """Wait a moment for what was begun, so that the next message of a round brings what came of it."""
        ...

    def goodbye(self) -> bytes:
        """Return the last message of all."""
        ...
