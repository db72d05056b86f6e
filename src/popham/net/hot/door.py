"""What all connections of one hot listener share."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from popham.errors import LinkError, PophamError
from popham.net.hot.wheel import Wheel
from popham.net.http import FAMILY, STATUS
from popham.net.rate import RoundRate
from popham.net.seam import Limits, Peer, Refusal, Service

log = logging.getLogger(__name__)
_PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


@dataclass(slots=True)
class Door:
    """The service behind a listener, its bounds, and who stands in it.

    Attributes:
        window: Seconds over which agents are sent away; None while the door is open.
        open: Connections, the oldest first.
        fresh: Those that were never admitted.
        links: Held links.
        tasks: Answers that wait for something durable.
        hand_over: Makes the protocol that serves every other path.
        elsewhere: Returns how many connections have been handed over and are open.
        answering: Rounds being answered.
    """

    service: Service
    limits: Limits
    loop: asyncio.AbstractEventLoop
    wheel: Wheel
    rate: RoundRate
    rng: random.Random
    unadmitted: int
    hand_over: Callable[[], asyncio.Protocol]
    elsewhere: Callable[[], int]
    window: float | None = None
    open: dict[Any, asyncio.Transport] = field(default_factory=dict)
    fresh: dict[Any, asyncio.Transport] = field(default_factory=dict)
    links: set[Any] = field(default_factory=set)
    tasks: set[asyncio.Future[bytes]] = field(default_factory=set)
    answering: int = 0
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def entered(self, connection: object, transport: asyncio.Transport) -> None:
        """Count one more; past the bounds the oldest that was never admitted goes."""
        self.open[connection] = self.fresh[connection] = transport
        self.empty.clear()
        if len(self.open) + self.elsewhere() > self.limits.connections or len(self.fresh) > self.unadmitted:
            oldest = next(iter(self.fresh))
            self.fresh.pop(oldest).abort()

    def left(self, connection: object) -> None:
        """Count one less."""
        self.fresh.pop(connection, None)
        self.open.pop(connection, None)
        if not self.open:
            self.empty.set()

    def refusal(self, peer: Peer, *, held: bool, uid: bytes) -> Refusal | None:
        """Return why a round or an upgrade is not let in, or None."""
        if held and self.window is not None:
            wait = 1.0 + self.rng.random() * self.window
            return Refusal(status=503, retry_after=wait, body="This Manager is restarting.")
        wait_for_rate = self.rate.admit()
        if wait_for_rate is not None:
            return Refusal(status=503, retry_after=wait_for_rate, body="Too many agents come at once.")
        return self.service.admit(peer, held=held, uid=uid)


def render_refusal(refusal: Refusal, *extra: str) -> bytes:
    """Return the answer to somebody who is not let in; the connection ends with it."""
    body = refusal.body.encode()
    kind = "application/problem+json" if refusal.body.startswith("{") else "text/plain; charset=utf-8"
    lines = [
        f"HTTP/1.1 {refusal.status} {_PHRASES.get(refusal.status, 'Refused')}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Server: Popham",
        "Connection: close",
        *extra,
    ]
    if refusal.retry_after is not None:
        lines.append(f"Retry-After: {max(1, round(refusal.retry_after))}")
    if refusal.status == 401:
        lines.append("WWW-Authenticate: Bearer")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def explain(error: PophamError) -> Refusal:
    """Return the refusal for a request that failed on purpose."""
    status = STATUS.get(error.code) or next((s for kind, s in FAMILY if isinstance(error, kind)), 500)
    retry_after = error.retry_after if isinstance(error, LinkError) else None
    return Refusal(status=status, retry_after=retry_after, body=str(error))
