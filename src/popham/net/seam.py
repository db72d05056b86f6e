"""What a listener asks of whoever serves, and what a dialer gives to whoever drives.

Fillings move bytes and know nothing of what they mean; sessions know what
bytes mean and nothing of how they move.  The first filling is aiohttp; the
hot path is another, tested against it.

Rules:

1. ``Service.round`` and ``LinkHandler.message`` may answer at once with bytes
   (memory was enough) or with an awaitable (something must be durable first).
2. Every size, rate and wait has a bound, in :class:`Limits`.
3. A held link is closed by a WebSocket close frame, never by silence.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

FULL = "link.full"
"""Code in the sentence of a refusal: there is no room for a held link, while rounds are welcome."""
Answer = bytes | Awaitable[bytes]
"""Bytes now, or bytes once they may be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one listener or dialer.

    Attributes:
        message: Bytes of one message after decompression, either direction.
            Source: guarantees SEC-9, 4 MiB; OpAMP recommends 64 MiB.
        other: Bytes of the body of a request for another path than ``/v1/opamp`` and those of OTLP; of who shows no
            certificate nothing is read. Source: the largest output of an operation.
        header: Bytes of a request's head.
        header_time: Seconds a head may take. Source: guarantees SEC-2.
        body_time: Seconds a body may take.
        keepalive: Seconds between pings on a held link; two silent ones close it.
        queue: Bytes that may wait for a slow reader of one link. Source: REL-6.
        connections: Open connections in all.
        rounds_per_second: HTTP rounds and upgrades admitted in a second; 0 for no limit.
        links_per_second: TLS handshakes begun in a second; 0 for as many as the loop bears.
        messages_per_second: Messages of one connection; 0 for no limit. Source: SEC-10.
        bytes_per_second: Bytes of one connection; 0 for no limit. Source: SEC-10.
        links_per_identity: Held links of one agent, and HTTP connections likewise. Source: SEC-10.
        strangers_per_address: Connections of one address that were not admitted yet; 0 for half of all.
        failures_per_second: Bad tokens and broken handshakes of one address, before it is not heard
            for a while; 0 for no limit. Source: SEC-8.
    """

    message: int = 4 * 1024 * 1024
    other: int = 1024 * 1024
    header: int = 8 * 1024
    header_time: float = 5.0
    body_time: float = 30.0
    keepalive: float = 45.0
    queue: int = 256 * 1024
    connections: int = 19_000
    rounds_per_second: float = 0.0
    links_per_second: float = 0.0
    messages_per_second: float = 100.0
    bytes_per_second: float = 2 * 1024 * 1024
    links_per_identity: int = 2
    strangers_per_address: int = 0
    failures_per_second: float = 10.0


@dataclass(slots=True, eq=False)
class Peer:
    """The other end of one connection.

    Attributes:
        address: IP address as text, without port; empty over a Unix socket.
        certificate: Client certificate as DER, verified up to our CA; None if it sent none.
        bearer: Token of an ``Authorization: Bearer`` header; empty if none.
        uid, key: Where this end dialled: who signs what comes (empty for one that waits to be born), and the DER of
            the key; both empty otherwise.
        identity: Set by the service once it has looked; a filling never reads it.
        spent: Loop time until which its quota is spent; the filling's own note.
    """

    address: str
    certificate: bytes | None = None
    bearer: str = ""
    uid: str = ""
    key: bytes = b""
    identity: Any = None
    spent: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer before any work: status, and how long to stay away.

    Attributes:
        status: HTTP status, such as 401, 403 or 503.
        retry_after: Seconds for Retry-After; None to leave it out.
        body: One sentence for people, or problem+json.
    """

    status: int
    retry_after: float | None = None
    body: str = ""


class Refused(Exception):  # noqa: N818  # control flow between a service and its listener, no fault
    """Raised by ``Service.round`` or ``other`` to have a :class:`Refusal` answered instead."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for another path than ``/v1/opamp``, its body already read and bounded.

    ``raw_query`` is the query as it stands in the URL, without ``?``: what signatures know.
    """

    method: str
    path: str
    peer: Peer
    query: Mapping[str, str] = field(default_factory=dict)
    raw_query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer to a :class:`Request`. Ranges are the filling's matter."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)


class HeldLink(Protocol):
    """A held link as the serving end sees it."""

    peer: Peer

    def send(self, data: bytes) -> bool:
        """Queue one message; False if the reader is too slow and the link is being closed."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket close code and a reason of at most 123 bytes."""
        ...


class LinkHandler(Protocol):
    """What a service does with one held link."""

    def message(self, data: bytes) -> Answer | None:
        """Take one message; what is returned is sent back, in the order of the messages."""
        ...

    def closed(self, code: int) -> None:
        """Take note that the link is gone; called exactly once."""
        ...


class Service(Protocol):
    """What a listener serves."""

    def admit(self, peer: Peer, *, held: bool, uid: bytes) -> Refusal | None:
        """Decide before any work on a round (``held`` False) or an upgrade (True).

        ``uid`` is the OpAMP-Instance-UID header as 16 bytes, or empty.
        """
        ...

    def round(self, peer: Peer, body: bytes) -> Answer:
        """Answer one AgentToServer that came by HTTP POST to ``/v1/opamp``.

        ``body`` and answer are bare protobuf, already decompressed.

        Raises:
            Refused: At once or from the awaitable: answer this status instead.
        """
        ...

    def may_relay(self, peer: Peer) -> Refusal | None:
        """Return why somebody who has shown a certificate may not relay, before the body is read; None to go on."""
        ...

    def relay(self, peer: Peer, body: bytes) -> Answer:
        """Answer one message of a Proxy Manager that came by HTTP POST to ``/v1/relay``, as :meth:`other` does.

        Whoever fills the seam asks this where it is cheaper; :meth:`may_relay` let its sender in.

        Raises:
            Refused: At once or from the awaitable: answer this status instead.
        """
        ...

    def opened(self, link: HeldLink) -> LinkHandler:
        """Take a held link; messages to and from the handler carry the WebSocket header."""
        ...

    async def other(self, request: Request) -> Response:
        """Answer a request for any other path of the agents' listener."""
        ...


class HeldConnection(Protocol):
    """A held link as the dialling end sees it."""

    async def send(self, data: bytes) -> None:
        """Send one message. Raises LinkError when the link is gone."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield messages until the link ends; raises LinkError if it ended badly."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the link and wait, for a bounded time, until it is closed."""
        ...


class Dialer(Protocol):
    """Opens connections to one upstream."""

    async def exchange(self, body: bytes) -> bytes:
        """POST one message to ``/v1/opamp`` and return the answer's body.

        Raises:
            LinkError: No connection, a refusal (``status``, ``retry_after``), a
                time-out, or an answer over the limit.
        """
        ...

    async def hold(self) -> HeldConnection:
        """Open a WebSocket on ``/v1/opamp``. Raises LinkError as above."""
        ...

    async def fetch(self, path: str, *, limit: int) -> bytes:
        """GET another path of the same listener, a query behind it if there is one; at most ``limit`` bytes."""
        ...

    async def upload(self, path: str, body: bytes, *, limit: int = 0) -> bytes:
        """POST a body to another path, as :meth:`fetch`, and return the answer's; at most ``limit`` bytes."""
        ...

    async def aclose(self) -> None:
        """Close what is open and kept for re-use."""
        ...
