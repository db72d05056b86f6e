"""Which Proxy Managers may visit this machine: what their statements say, and what this machine knows of itself.

Rules:

1. A statement is verified once, and known again by its bytes; whether it is for this machine, and holds still, is looked
   at for each request.
2. Time is the latest that is known for certain, so a clock that is behind locks nobody out, and one that is set back
   revives nothing that the director's documents have outlived.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from popham.errors import TrustError
from popham.trust.tuf import TrustedTuf
from popham.trust.visitor import Visitor, open_visitor

_log = logging.getLogger(__name__)
STATEMENTS = 16
"""Statements that are known again; the one that was not shown for longest goes first."""


@dataclass(frozen=True, slots=True)
class Home:
    """What of this machine a statement is compared with.

    Attributes:
        uid: Its instance_uid.
        group: Of its newest assignment; empty if there is none.
        now: The latest time that is known for certain, in unix seconds.
    """

    uid: str
    group: str
    now: float


class Visitors:
    """Believes visitor statements."""

    def __init__(self, tuf: TrustedTuf) -> None:
        """Know none.

        Args:
            tuf: Says who the director is.
        """
        self._tuf = tuf
        self._known: dict[bytes, Visitor] = {}

    def find(
        self, keyid: str, statement: bytes, home: Home | None, *, relays: bool = False
    ) -> Ed25519PublicKey | None:
        """Return the key of that id if ``statement`` lets it visit this machine; None if it does not.

        Args:
            keyid: As a request names it.
            statement: Its envelope, from whomever.
            home: This machine; None before it belongs to a fleet: then it has neither group nor a time that is known.
            relays: Whether it comes to relay: that is its upstream's alone, if this machine is a Proxy Manager.
        """
        try:
            found = self._open(statement)
            if found.keyid != keyid:
                return None
            if home is not None:
                found.check_time(home.now)
        except TrustError as error:
            _log.info("a visitor is not believed: %s", error)
            return None
        if home is not None and not found.may_visit(home.uid, home.group):
            _log.info(
                "the Proxy Manager %s was not given this agent, nor its group %s", found.uid, home.group
            )
            return None
        if relays and (home is None or not found.may_relay(home.uid)):
            _log.info("the Proxy Manager %s is not the upstream of this one", found.uid)
            return None
        return found.key

    def _open(self, statement: bytes) -> Visitor:
        found = self._known.pop(statement, None) or open_visitor(statement, tuf=self._tuf)
        while len(self._known) >= STATEMENTS:
            del self._known[next(iter(self._known))]
        self._known[statement] = found
        return found
