"""Who may come in to an agent's service: whose signature holds, and whose nonce is the current one."""

from __future__ import annotations

import asyncio
import base64
import hmac
import random
import re
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from popham.clock import Clock
from popham.downstream.visited import Visited
from popham.errors import VisitError
from popham.net.rate import RoundRate
from popham.net.seam import Request
from popham.net.signing import NONCE_MAX, VISITOR, Asked, Claim, Operation, open_request
from popham.trust.visitor import VISITOR_LIMIT

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a request's body. Source: guarantees SEC-9."""
VISITORS = 16
"""Visitors whose nonce is kept; the one that has been away longest goes first."""
CHECKS = 10.0
"""Signatures checked in a second of those with the current nonce, and as many of all others."""
CHECKS_BURST = 2.0
"""Seconds of that which may come at once."""
SOURCES, SOURCE_CHECKS, SOURCE_BURST = 16, 2.0, 2.5
"""Addresses fall into so many sets; of the others' share each set has so many checks a second, and seconds of burst.

So one address cannot take from all others what a visitor needs that comes for the first time.
"""
FRONTED_CHECKS = 50.0
"""Checks a second of those that come from this machine itself: behind a web server all have its address, strangers too,
and the visitor comes through as long as they are fewer. Source: measured; one check takes 0.4 ms.
"""
QUEUE = 2
"""Requests with the current nonce that may wait for their share; each holds a body."""
SHORTEST = 0.001
"""Seconds of the shortest wait for a share."""
_KEYID = re.compile(r';\s*keyid="([0-9a-f]{64})"')
_NONCE = re.compile(r';\s*nonce="([\x21\x23-\x5b\x5d-\x7e]{1,64})"')
_INPUT_MAX = 2048
_STATEMENT_MAX = VISITOR_LIMIT * 4 // 3 + 4
_HERE = frozenset({"", "::1"})
"""Addresses of who comes over a Unix socket, or from this machine."""


class Unheard(Exception):  # noqa: N818  # control flow of the service
    """Raised where nobody is believed yet; the answer is not signed."""

    def __init__(self, error: VisitError, status: int, retry_after: float = 0.0) -> None:
        self.error, self.status, self.retry_after = error, status, retry_after
        super().__init__(str(error))


class Entry:
    """Lets in whoever is believed, and bounds what all others cost."""

    def __init__(self, world: Visited, *, clock: Clock, nonce: Callable[[], str]) -> None:
        """Begin without a nonce.

        Args:
            world: Knows the keys.
            clock: Monotonic time, for shares.
            nonce: Returns a new nonce, at most 64 characters that nobody can guess.
        """
        self._world = world
        self._draw = nonce
        self._nonces: dict[str, str] = {}

        def rate(per_second: float, burst: float) -> RoundRate:
            # It draws nothing: only tokens are taken.
            return RoundRate(per_second, clock=clock, rng=random.Random(0), burst=burst)  # noqa: S311  # as it says

        self._known = rate(CHECKS, CHECKS_BURST)
        self._others = rate(CHECKS, CHECKS_BURST / 2)
        self._sources = [rate(SOURCE_CHECKS, SOURCE_BURST) for _ in range(SOURCES)]
        self._fronted = rate(FRONTED_CHECKS, 1.0)
        self._waiting = 0

    def heeds(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request may be believed, by its headers alone, in whatever case they are looked up."""
        keyid = _claimed(headers)
        # Whether a statement holds is not looked at before there is a share for it.
        founds = headers.get("popham-operation", "") == Operation.BIRTH or bool(_statement(headers))
        return bool(keyid) and (founds or self._world.find_director(keyid) is not None)

    def find(self, keyid: str, headers: Mapping[str, str]) -> Ed25519PublicKey | None:
        """Return the key of who may visit this agent now: the director's, or that of a visitor's statement."""
        key = self._world.find_director(keyid)
        statement = b"" if key is not None else _statement(headers)
        relays = headers.get("popham-operation", "") == Operation.RELAY
        return self._world.find_visitor(keyid, statement, relays=relays) if statement else key

    async def believe(self, asked: Asked, request: Request) -> tuple[Claim, Ed25519PublicKey]:
        """Return what a request says and the key that signed it, once it is known who says it, and to whom.

        Raises:
            Unheard: It is not believed.
        """
        if len(request.body) > BODY_LIMIT:
            problem = f"the request has more than {BODY_LIMIT} bytes"
            raise Unheard(VisitError("too_large", problem, "Send less at a time"), 413)
        hint = request.headers.get("signature-input", "")[:_INPUT_MAX]
        keyid = _claimed(request.headers)
        if not keyid:
            problem = "this is the service of a Popham agent, and the request is not signed"
            raise Unheard(
                VisitError("signature", problem, "Its Manager visits it; people ask the Manager"), 403
            )
        director = self._world.find_director(keyid)
        statement = b"" if director is not None else _statement(request.headers)
        founds = director is None and request.headers.get("popham-operation", "") == Operation.BIRTH
        if director is not None or statement or founds:
            await self._share(keyid, hint, request.peer.address, founds=founds)
        key = self.find(keyid, request.headers)
        if key is None and founds:
            key = self._world.find_founder(keyid, request.body, statement)
        if key is None:
            raise Unheard(_stranger(shows=bool(statement)), 403)
        try:
            return open_request(asked, lambda found: key if found == keyid else None), key
        except VisitError as error:
            raise Unheard(error, 403) from error

    async def _share(self, keyid: str, hint: str, address: str, *, founds: bool) -> None:
        """Take a share of the signatures that are checked; whoever has the current nonce waits for one.

        Raises:
            Unheard: There is none left.
        """
        nonces = _NONCE.findall(hint)
        current = len(nonces) == 1 and self._is_current(keyid, nonces[0])
        if not current:
            wait = self._take(address, founds=founds)
        elif self._waiting < QUEUE:
            self._waiting += 1
            try:
                while (wait := self._known.take()) > 0:  # noqa: ASYNC110  # a share comes with time alone
                    await asyncio.sleep(max(wait, SHORTEST))
            finally:
                self._waiting -= 1
        else:
            wait = 1.0
        if wait > 0:
            problem = "more requests come to this agent than it looks at"
            raise Unheard(
                VisitError("busy", problem, "Come again later", retry_after=max(1.0, wait)), 429, wait
            )

    def _take(self, address: str, *, founds: bool) -> float:
        """Return seconds until there is a share for somebody without the current nonce; 0 if it was taken."""
        if address not in _HERE and not address.startswith("127."):
            return self._sources[set_of(address)].take() or self._others.take()
        # Trust documents cost more to look at than a signature.
        return (self._others if founds else self._fronted).take()

    def current(self, keyid: str) -> str:
        """Return the current nonce of a visitor."""
        return self._nonces.get(keyid) or self._renew(keyid)

    def _is_current(self, keyid: str, nonce: str) -> bool:
        held = self._nonces.get(keyid, "")
        return bool(held) and hmac.compare_digest(held.encode(), nonce.encode())

    def take_nonce(self, claim: Claim) -> bool:
        """Use up the nonce of a request; False if it is not the current one."""
        if not self._is_current(claim.keyid, claim.nonce):
            return False
        self._renew(claim.keyid)
        return True

    def _renew(self, keyid: str) -> str:
        self._nonces.pop(keyid, None)
        while len(self._nonces) >= VISITORS:
            del self._nonces[next(iter(self._nonces))]
        self._nonces[keyid] = fresh = self._draw()[:NONCE_MAX]
        return fresh


def _stranger(*, shows: bool) -> VisitError:
    """Return why somebody is not believed, who ``shows`` a statement or none."""
    if shows:
        problem = "the Proxy Manager that comes may not visit this agent"
        hint = "Give it this agent, or its group, in its definition; and look at the clock of this machine"
    else:
        problem = "the request is signed by nobody of this agent's fleet"
        hint = "Visit it from the Manager that it belongs to, or enroll it again"
    return VisitError("stranger", problem, hint)


def _claimed(headers: Mapping[str, str]) -> str:
    """Return the id of the key by which a request says that it is signed; empty for none."""
    claimed = _KEYID.findall(headers.get("signature-input", "")[:_INPUT_MAX])
    return claimed[0] if len(claimed) == 1 else ""


def _statement(headers: Mapping[str, str]) -> bytes:
    """Return the visitor statement beside a request, which nobody has looked at; nothing if there is none that could be."""
    text = headers.get(VISITOR.lower(), "")
    if not text or len(text) > _STATEMENT_MAX:
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def set_of(address: str) -> int:
    """Return the set that an address falls into; nobody can choose it, since each process has other hashes."""
    return hash(address) % SOURCES
