"""Visitor statements of Proxy Managers: made when one shows its key, and anew before they end or when its groups change."""

from __future__ import annotations

import base64
import logging
from dataclasses import dataclass
from typing import Final

from popham.clock import Clock
from popham.errors import PophamError
from popham.trust.keys import PublicKey, SigningKey
from popham.trust.visitor import Visitor, seal_visitor
from popham.upstream.record import Record
from popham.upstream.relaying import Scope

_log = logging.getLogger(__name__)
LIFE: Final = 7 * 86400.0
"""Seconds for which a statement holds, at least. Source: design 7, lifetimes."""
HEARTBEATS: Final = 6
"""Heartbeats of the proxy for which it holds in any case. Source: design 7."""
_KEY_LIMIT: Final = 256


@dataclass(frozen=True, slots=True)
class _Made:
    key: str
    scope: Scope
    until: float
    envelope: bytes


class Statements:
    """Keeps the newest statement of each proxy."""

    def __init__(self, director: SigningKey, clock: Clock) -> None:
        """Sign with ``director``."""
        self._director = director
        self._clock = clock
        self._made: dict[str, _Made] = {}

    def find(self, proxy: Record, scope: Scope, key: str) -> bytes:
        """Return the statement of a proxy; empty if its key is none, or it cannot be made.

        Args:
            proxy: The proxy.
            scope: Whom it may visit.
            key: The key by which it signs requests: DER as base64, as it says.
        """
        now, made = self._clock.now(), self._made.get(proxy.uid)
        if made is None or made.key != key or made.scope != scope or now >= made.until:
            made = self._make(proxy, scope, key, now)
            self._made[proxy.uid] = made
        return made.envelope

    def keep(self, proxies: set[str]) -> None:
        """Forget all but these proxies."""
        for gone in self._made.keys() - proxies:
            del self._made[gone]

    def _make(self, proxy: Record, scope: Scope, key: str, now: float) -> _Made:
        life = max(LIFE, HEARTBEATS * proxy.promise)
        try:
            public = PublicKey.from_der(base64.b64decode(key[:_KEY_LIMIT], validate=True))
            visitor = Visitor(
                uid=proxy.uid,
                keyid=public.keyid,
                public_key=public.crypto.public_bytes_raw(),  # type: ignore[union-attr]  # others have none
                groups=tuple(sorted(scope.groups)),
                agents=tuple(sorted(scope.agents)),
                relays=tuple(sorted(scope.relays)),
                issued=int(now),
                expires=int(now + life),
            )
            envelope = seal_visitor(visitor, self._director)
        except (PophamError, ValueError, AttributeError) as error:
            _log.warning("%s cannot visit agents: %s", proxy.name, error)
            envelope = b""
        return _Made(key, scope, now + life / 2, envelope)
