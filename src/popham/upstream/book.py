"""What the hub needs of whoever keeps records: the Manager's database, a Proxy Manager's cache."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from popham.model.fleet import Admission
from popham.model.registry import IdentityKind
from popham.net.seam import Peer
from popham.opamp.schema.popham.v1.popham_pb2 import Enroll, Renew
from popham.upstream.record import Record, Wanted

Reading = Callable[[], Awaitable[bytes | None]]
"""Reads a body that is not in memory; None for one that is not here yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who is at the other end.

    Attributes:
        caller: What it proved to be.
        uid: instance_uid of the certificate; empty for stock agents.
        public_key: DER of the certificate's key; empty for stock agents.
        token: Id of the bearer token; empty for our agents.
        group: Group of the bearer token.
        since: Unix seconds at which the certificate was issued.
        until: Unix seconds at which the certificate or token ends.
        edition: What it was found in; looked at anew once there is a newer one.
    """

    caller: IdentityKind
    uid: str = ""
    public_key: bytes = b""
    token: str = ""
    group: str = ""
    since: float = 0.0
    until: float = math.inf
    edition: object = None

    @property
    def rejoins(self) -> bool:
        """Whether it is an agent that is known by another key, and may be believed by its certificate."""
        return self.caller is IdentityKind.NONE and bool(self.uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Answer to an enrollment or renewal. ``certificate`` (PEM) only if accepted."""

    admission: Admission
    certificate: bytes = b""
    ca: bytes = b""
    assignment: bytes = b""
    retry_after: float = 0.0
    text: str = ""


class Book(Protocol):
    """Records, and what groups are to have. Synchronous methods answer from memory."""

    def identify(self, peer: Peer) -> Identity:
        """Return who the peer is.

        Raises:
            Refused: It shows credentials that are wrong, expired or revoked.
        """
        ...

    def record(self, uid: str) -> Record | None:
        """Return what is known of one agent."""
        ...

    def find(self, key: bytes) -> Record | None:
        """Return what is known of one agent, by its instance_uid of 16 bytes."""
        ...

    def records(self) -> Iterable[Record]:
        """Return all records."""
        ...

    def name_of_key(self, keyid: str) -> str:
        """Return the name of the agent whose public key has this SHA-256; empty if there is none."""
        ...

    def wanted(self, group: str) -> Wanted | None:
        """Return what a group's agents are to have; None while there is nothing."""
        ...

    def content(self, sha256: str, group: str) -> bytes | Reading | None:
        """Return a body that the group's bundle names, or the bundle itself, by digest (SEC-12).

        Where it is not in memory: what reads it.
        """
        ...

    async def meet(self, identity: Identity, key: bytes, peer: Peer) -> Record:
        """Return a durable record of an agent seen for the first time, or with another key.

        Raises:
            Refused: It may not join, or its key is not believed.
        """
        ...

    @property
    def forgets(self) -> bool:
        """Whether agents may have other keys than are known here, which their certificates prove."""
        ...

    async def rejoin(self, certificate: bytes, address: str) -> bool:
        """Believe an agent's other key by its certificate (PEM); False if that proves nothing.

        Whoever calls has seen that the key is the agent's, who answered from this address.
        """
        ...

    def keep(self, record: Record, done: Callable[[BaseException | None], None]) -> None:
        """Begin to make what changed in a record durable; ``done`` is told once it is, or why it is not."""
        ...

    async def contacts(self, records: list[Record]) -> None:
        """Make last contacts durable, many at once."""
        ...

    async def enroll(self, peer: Peer, key: bytes, csr: bytes, request: Enroll) -> Admitted:
        """Admit, or not yet, or never. Raises EnrollmentError or TrustError."""
        ...

    async def renew(self, peer: Peer, key: bytes, csr: bytes, request: Renew) -> Admitted:
        """Give a new certificate for an old one. Raises EnrollmentError or TrustError."""
        ...

    async def claim(self, record: Record, bundle: bytes) -> None:
        """Take note of a bundle that is above ours; a genuine one raises ours above it."""
        ...
