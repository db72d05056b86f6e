"""This end of a held link: what the hub gives to whoever moves the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from popham.net.seam import Answer, HeldLink
from popham.upstream.record import Record

if TYPE_CHECKING:
    from popham.upstream.hub import Hub


class LinkEnd:
    """This end of one held link.

    Attributes:
        records: uid → the agents that speak over it; mostly one.
    """

    __slots__ = ("_hub", "link", "records")

    def __init__(self, hub: Hub, link: HeldLink) -> None:
        self._hub = hub
        self.link = link
        self.records: dict[str, Record] = {}

    def message(self, data: bytes) -> Answer | None:
        """Answer one message."""
        return self._hub.hear(self, data) or None

    def associate(self, record: Record) -> None:
        """Have an agent speak over this link, and over no other."""
        if record.link is not None:
            record.link.close(1000, "another link of this agent was opened")
        record.link = self.link
        self.records[record.uid] = record

    def forget(self, record: Record) -> None:
        """Take note that an agent speaks over this link no more."""
        if record.link is self.link:
            record.link = record.settled = None
            record.settings_told = b""  # an offer may have been lost with the link

    def closed(self, code: int) -> None:  # noqa: ARG002  # the seam's form
        """Take note that the link is gone."""
        self._hub.unlinked(self)
