"""What an agent's service asks of whoever is behind it, and what it tells people of those who came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from popham.net.seam import HeldConnection
from popham.streams.frame import Stream
from popham.trust.keys import IdentityKey


class Visited(Protocol):
    """Whoever is behind the service."""

    @property
    def uid(self) -> str:
        """instance_uid as text; empty before birth."""
        ...

    @property
    def identity(self) -> IdentityKey:
        """The key that signs answers."""
        ...

    def find_director(self, keyid: str) -> Ed25519PublicKey | None:
        """Return the fleet's key of that id that may visit; None for nobody's."""
        ...

    def find_visitor(self, keyid: str, statement: bytes, *, relays: bool = False) -> Ed25519PublicKey | None:
        """Return the key of that id that a visitor statement lets visit this agent now; None if it does not.

        Args:
            keyid: As the request names it.
            statement: Envelope of the statement, from whomever; at most ``VISITOR_LIMIT`` bytes.
            relays: Whether it comes to relay, which is for the upstream of a Proxy Manager only.
        """
        ...

    def find_founder(self, keyid: str, documents: bytes, statement: bytes = b"") -> Ed25519PublicKey | None:
        """Return the director's key that a fleet's documents name, where this machine waits to be born into that fleet.

        Nobody has checked who sent them; None if they are not of the fleet that it waits for, or it waits for none.
        With a visitor ``statement`` that this director signed, it is the key of that visitor.
        """
        ...

    async def visited(self, body: bytes) -> bytes:
        """Do what a ServerToAgent says (nothing, if it is empty) and return what is to be reported then."""
        ...

    def report(self) -> bytes:
        """Return what there is to report while an exchange is still worked on."""
        ...

    async def serve(self, link: HeldConnection) -> None:
        """Keep a link that the visitor opened, until it ends."""
        ...

    async def content(self, sha256: str, body: bytes) -> None:
        """Take a body that is what its digest says; with the last one that was lacking, something may be applied."""
        ...

    async def output(self, sha256: str) -> bytes | None:
        """Return an output of an operation that a result named; None if it is not kept any more."""
        ...

    async def stream(self, stream: Stream, standing: bytes, limit: int) -> bytes | None:
        """Return frames of a stream, signed, from where the visitor is; nothing if there is none beyond.

        None if nothing waits in any stream: then the visitor asks for no other.

        Args:
            stream: Which one.
            standing: How far the visitor is with it: a Standing, as it travels.
            limit: Bytes of the frames, at most; whole frames.

        Raises:
            WireError: ``wire.standing``: that is none.
            StreamError: They cannot be read.
        """
        ...

    async def relay(self, body: bytes) -> bytes:
        """Answer what a Manager, or a Proxy Manager above, relays to this Proxy Manager: one message of a relay.

        Raises:
            VisitError: ``visit.operation``: this machine is none.
            WireError: The message is malformed.
        """
        ...

    async def birth(self, documents: bytes) -> bytes:
        """Take a fleet's documents, and return what proves that this machine is to belong to it."""
        ...

    def lost(self) -> None:
        """Take note that what was reported last did not reach the visitor."""
        ...


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who came last, and was believed: key, address (empty over a Unix socket), operation, and when (unix seconds)."""

    keyid: str
    address: str
    operation: str
    at: float


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The last refusal: its code and sentence, who got it, when (unix seconds), and how many there were until then."""

    code: str
    text: str
    address: str
    at: float
    count: int
