"""The agent behind its service: what a believed visitor reaches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from popham.agent.state import AgentState
from popham.agent.visitors import Home, Visitors
from popham.errors import VisitError
from popham.net.seam import HeldConnection
from popham.streams.frame import Stream
from popham.trust.birth import AlreadyBorn
from popham.trust.keys import IdentityKey
from popham.trust.tuf import TrustedTuf


class Visits(Protocol):
    """What answers a visit; :class:`popham.link.driver.Driver` is one."""

    async def visited(self, body: bytes) -> bytes:
        """Answer one exchange."""
        ...

    def report(self) -> bytes:
        """Return what there is to report while an exchange is still worked on."""
        ...

    async def serve(self, link: HeldConnection) -> None:
        """Keep a link until it ends."""
        ...


class Tells(Protocol):
    """What reports; :class:`popham.agent.end.AgentEnd` is one."""

    @property
    def home(self) -> Home:
        """What of this machine a visitor's statement is compared with."""
        ...

    async def bring(self, sha256: str, body: bytes) -> None:
        """Take a body that was named as lacking."""
        ...

    def output(self, sha256: str) -> bytes | None:
        """Return an output of an operation; None if it is not kept."""
        ...

    async def stream(self, stream: Stream, standing: bytes, limit: int) -> bytes | None:
        """Return frames of a stream, signed, from where a visitor is; None if nothing waits in any stream."""
        ...

    def lost(self) -> None:
        """Take note that what was said and not answered may not have arrived."""
        ...


class AgentWorld:
    """One enrolled agent; implements :class:`popham.downstream.visited.Visited`."""

    def __init__(
        self,
        state: AgentState,
        tuf: TrustedTuf,
        visits: Visits,
        end: Tells,
        *,
        relay: Callable[[bytes], Awaitable[bytes]] | None = None,
    ) -> None:
        """Answer with what these are and say.

        Args:
            state: What this machine keeps.
            tuf: Says who the director is.
            visits: Answers exchanges and keeps links.
            end: Takes bodies, and is told what did not arrive.
            relay: Answers what a visitor relays, where this machine is a Proxy Manager.
        """
        self._state = state
        self._tuf = tuf
        self._visits = visits
        self._end = end
        self._visitors = Visitors(tuf)
        self._relay = relay

    @property
    def uid(self) -> str:
        """instance_uid."""
        return self._state.uid

    @property
    def identity(self) -> IdentityKey:
        """The key that signs answers."""
        return self._state.identity_key()

    def find_director(self, keyid: str) -> Ed25519PublicKey | None:
        """Return the director's key of that id, None if it is another's."""
        return self._tuf.find_director(keyid)

    def find_visitor(self, keyid: str, statement: bytes, *, relays: bool = False) -> Ed25519PublicKey | None:
        """Return the key of a Proxy Manager that may visit this agent by ``statement``; None if it may not."""
        return self._visitors.find(keyid, statement, self._end.home, relays=relays)

    def find_founder(
        self,
        keyid: str,  # noqa: ARG002  # the seam's form
        documents: bytes,  # noqa: ARG002  # likewise
        statement: bytes = b"",  # noqa: ARG002  # likewise
    ) -> Ed25519PublicKey | None:
        """Return None: this machine belongs to a fleet."""
        return None

    async def visited(self, body: bytes) -> bytes:
        """Do what a ServerToAgent says, and return the report."""
        return await self._visits.visited(body)

    def report(self) -> bytes:
        """Return what there is to report while an exchange is still worked on."""
        return self._visits.report()

    async def serve(self, link: HeldConnection) -> None:
        """Keep a link that the visitor opened, until it ends."""
        await self._visits.serve(link)

    async def content(self, sha256: str, body: bytes) -> None:
        """Take a body that was named as lacking. Raises VisitError ``visit.unwanted`` for any other."""
        await self._end.bring(sha256, body)

    async def output(self, sha256: str) -> bytes | None:
        """Return an output that a result names; None if it is not kept any more."""
        return self._end.output(sha256)

    async def stream(self, stream: Stream, standing: bytes, limit: int) -> bytes | None:
        """Return frames of a stream, signed, from where the visitor is; None if nothing waits in any stream."""
        return await self._end.stream(stream, standing, limit)

    async def birth(self, documents: bytes) -> bytes:
        """Raise AlreadyBorn: this machine belongs to a fleet, says which agent it is, and shows its certificate."""
        del documents
        raise AlreadyBorn.of(self.uid, self._state.certificate() or b"")

    async def relay(self, body: bytes) -> bytes:
        """Answer a visitor's message to a Proxy Manager. Raises VisitError ``visit.operation`` where this machine is none."""
        if self._relay is None:
            problem = "this agent is no Proxy Manager, so there is nothing to relay"
            raise VisitError("operation", problem, "Enroll it as one: popham proxy enroll")
        return await self._relay(body)

    def lost(self) -> None:
        """Take note that what was reported last did not reach the visitor."""
        self._end.lost()
