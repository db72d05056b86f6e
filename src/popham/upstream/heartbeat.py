"""The shortest way of all: a heartbeat with nothing new, answered from memory.

Rules:

1. What is answered here is answered the same by the hub; this way only costs less.
2. Whoever changes anything about an agent takes its ``settled`` away, and the
   hub looks at it anew.
"""

from __future__ import annotations

from popham.clock import Clock
from popham.model.fleet import AgentKind
from popham.model.registry import IdentityKind
from popham.net.seam import HeldLink, Peer
from popham.opamp.codec import read_heartbeat
from popham.opamp.session import Ear
from popham.upstream.book import Book, Identity
from popham.upstream.record import Record
from popham.upstream.steering import Steering

_NEXT = (1, 0)
_AGENT, _PROXY, _STOCK = IdentityKind.AGENT, IdentityKind.PROXY, IdentityKind.STOCK


class Heartbeats:
    """Answers what needs no more than the record of an agent."""

    __slots__ = ("_book", "_clock", "_dirty", "_steering")

    def __init__(self, book: Book, clock: Clock, dirty: dict[bytes, Record], steering: Steering) -> None:
        """Find records in ``book``, and put those whose last contact is to be written into ``dirty``.

        While ``steering`` puts rounds off, those of our agents are the hub's matter.
        """
        self._book = book
        self._clock = clock
        self._dirty = dirty
        self._steering = steering

    def answer(self, peer: Peer, data: bytes, link: HeldLink | None) -> bytes:
        """Return the answer; empty if the hub has to look at it.

        Args:
            peer: Who it is; already identified.
            data: The message; with the WebSocket header if it came over a link.
            link: The held link it came over; None for a round.
        """
        if link is not None and data[:1] != b"\0":
            return b""
        found = read_heartbeat(data, 0 if link is None else 1)
        if found is None:
            return b""
        key, number, capabilities = found
        record = self._book.find(key)
        if record is None or record.link is not link or record.saved != record.edition:
            return b""
        if record.settled is None or record.settled is not self._book.wanted(record.group):
            return b""
        put_off = (
            self._steering.factor > 1.0 and link is None and not peer.uid and record.kind is AgentKind.OWN
        )
        if put_off or not _may_speak(peer.identity, record) or not _follows(record.ear, number, capabilities):
            return b""
        record.contact(self._clock.now(), peer.address)
        self._dirty[key] = record
        return record.quiet


def _may_speak(identity: Identity, record: Record) -> bool:
    """Return whether this is the agent's own certificate, or a token that stands for it."""
    caller = identity.caller
    if caller is _AGENT or caller is _PROXY:
        return identity.uid == record.uid
    return caller is _STOCK and not record.public_key and record.group == identity.group


def _follows(ear: Ear, number: int, capabilities: int) -> bool:
    """Take note of a message that is the next one, or the same again; False if it is neither.

    One with nothing but its uid neither advances nor breaks the sequence.
    """
    if capabilities != ear.capabilities or number - ear.sequence not in _NEXT:
        return not number and not capabilities
    ear.sequence = number
    return True
