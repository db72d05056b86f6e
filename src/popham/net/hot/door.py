"""What all connections of one hot listener share."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from popham.net.hot.head import Round, address_of
from popham.net.hot.heads import Heads
from popham.net.hot.stamp import Stamp
from popham.net.hot.strangers import Strangers
from popham.net.hot.wheel import Wheel
from popham.net.peers import Peers
from popham.net.quota import Failures, Quota
from popham.net.rate import RoundRate
from popham.net.seam import Limits, Peer, Refusal, Service

log = logging.getLogger(__name__)
_NOBODY = Refusal(status=401, body="This needs a certificate of an agent, and none was shown.")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Door:
    """The service behind a listener, its bounds, and who stands in it.

    Attributes:
        window: Seconds over which agents are sent away; None while the door is open.
        open: Connections, the oldest first.
        fresh: Those that were never admitted.
        links: Held links.
        keys: Who is behind those that are counted by identity.
        held: The connections of each, the oldest first.
        quota: What one connection may send.
        failures: Who fails to say who it is.
        tasks: Answers that wait for something durable.
        hand_over: Makes the protocol that serves every other path.
        elsewhere: Returns how many connections have been handed over and are open.
        stamp: Heads of answers, with the time.
        peers: Which addresses may connect; all where an entrance has asked already.
        heads: Heads of rounds that were read before.
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
    stamp: Stamp
    peers: Peers = field(default_factory=Peers)
    heads: Heads = field(default_factory=Heads)
    window: float | None = None
    open: dict[Any, asyncio.Transport] = field(default_factory=dict)
    fresh: Strangers[Any, asyncio.Transport] = field(init=False)
    links: set[Any] = field(default_factory=set)
    keys: dict[Any, bytes] = field(default_factory=dict)
    held: dict[bytes, list[Any]] = field(default_factory=dict)
    quota: Quota = field(init=False)
    failures: Failures = field(init=False)
    tasks: set[asyncio.Future[bytes]] = field(default_factory=set)
    answering: int = 0
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Take the bounds."""
        limits = self.limits
        self.fresh = Strangers(self.unadmitted, self.per_address)
        self.quota = Quota(limits)
        self.failures = Failures(limits.failures_per_second)

    @property
    def per_address(self) -> int:
        """Return how many that were not admitted yet may be of one address."""
        return self.limits.strangers_per_address or max(1, self.unadmitted // 2)

    def entered(self, connection: object, transport: asyncio.Transport) -> None:
        """Count one more; past the bounds somebody who was never admitted goes."""
        self.open[connection] = transport
        self.empty.clear()
        address, now = address_of(transport.get_extra_info("peername")), self.loop.time()
        if not self.peers.admits(address, now) or self.failures.blocks(address, now):
            transport.abort()
            return
        crowded_out = self.fresh.add(connection, transport, address)
        if crowded_out is None and len(self.open) + self.elsewhere() > self.limits.connections:
            crowded_out = self.fresh.drop()
        if crowded_out is not None:
            crowded_out.abort()

    def admitted(self, connection: Any, peer: Peer, uid: bytes, *, held: bool) -> None:
        """Take note who is behind a connection; if it has too many, its oldest of the kind goes (SEC-10).

        Who shows a certificate is one agent.  A token is shared by many, so there the uid of the head
        counts; without one, :mod:`popham.net.hot.link` waits only so long for the first message.
        """
        self.fresh.pop(connection)
        key = b"" if connection in self.keys else _key_of(peer, uid, held=held)
        if not key:
            return
        self.keys[connection] = key
        same = self.held.setdefault(key, [])
        same.append(connection)
        if len(same) > self.limits.links_per_identity:
            oldest = same[0]
            self._forget(oldest)
            if held:
                oldest.close(1008, f"this agent holds {self.limits.links_per_identity} newer links")
            elif oldest in self.open:
                self.open[oldest].close()

    def _forget(self, connection: object) -> None:
        key = self.keys.pop(connection, None)
        if key is not None:
            same = self.held[key]
            same.remove(connection)
            if not same:
                del self.held[key]

    def left(self, connection: object) -> None:
        """Count one less."""
        self.fresh.pop(connection)
        self.open.pop(connection, None)
        if self.keys:
            self._forget(connection)
        if not self.open:
            self.empty.set()

    def refusal(self, peer: Peer, *, held: bool, uid: bytes, size: int = 0) -> Refusal | None:
        """Return why a round of ``size`` bytes or an upgrade is not let in, or None."""
        if held and self.window is not None:
            wait = 1.0 + self.rng.random() * self.window
            return Refusal(status=503, retry_after=wait, body="This Manager is restarting.")
        rest = self.quota.ask(peer, 1, size, self.loop.time())
        if rest:
            return Refusal(status=429, retry_after=rest + 1.0, body="This connection asks too much.")
        wait_for_rate = self.rate.admit() if self.rate.per_second > 0 else None
        if wait_for_rate is not None:
            return Refusal(status=503, retry_after=wait_for_rate, body="Too many agents come at once.")
        refusal = self.service.admit(peer, held=held, uid=uid)
        if refusal is not None:
            self.note_refusal(peer, refusal)
        return refusal

    def refusal_of(self, peer: Peer, asked: Round) -> Refusal | None:
        """Return why what a head asks is not let in, or None.

        What is relayed is bounded by who may relay, and by its exchange, one message at a time.
        """
        if not asked.relays:
            return self.refusal(peer, held=False, uid=asked.uid, size=asked.length)
        refusal = _NOBODY if peer.certificate is None else self.service.may_relay(peer)
        if refusal is not None:
            self.note_refusal(peer, refusal)
        return refusal

    def note_refusal(self, peer: Peer, refusal: Refusal) -> None:
        """Count the failure of somebody who could not say who it is."""
        if refusal.status == 401:
            self.failures.note(peer.address, self.loop.time())


def _key_of(peer: Peer, uid: bytes, *, held: bool) -> bytes:
    """Return what stands for an identity and a kind of connection; empty if nobody knows."""
    if peer.certificate is not None:
        said = b"c" + peer.certificate
    elif peer.bearer and uid:
        said = b"t" + uid + peer.bearer.encode()
    else:
        return b""
    return (b"L" if held else b"R") + hashlib.blake2b(said, digest_size=16).digest()


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
