"""Whom certificates of our CA name, read once each; what is believed of them is the book's matter."""

from __future__ import annotations

import hashlib

from popham.clock import Clock
from popham.errors import PophamError
from popham.model.registry import IdentityKind
from popham.net.seam import Refusal, Refused
from popham.trust.identity import PROXY, identity_of
from popham.upstream.book import Identity

SHOWN = 20_000
"""Certificates that are remembered as read; some 500 bytes each. One more than that is read again."""


class Certificates:
    """Certificates that were shown; reading one costs as much as a handshake's share of Python."""

    def __init__(self, trust_domain: str, clock: Clock) -> None:
        """Take those of one fleet."""
        self._trust_domain, self._clock = trust_domain, clock
        self._shown: dict[bytes, Identity] = {}

    def read(self, der: bytes) -> Identity:
        """Return whom a certificate names: its role says whether an agent or a proxy.

        Raises:
            Refused: It is malformed, of another fleet, or has expired.
        """
        key = hashlib.sha256(der).digest()
        shown = self._shown.get(key)
        if shown is None:
            shown = self._read(der)
            if len(self._shown) >= SHOWN:
                del self._shown[next(iter(self._shown))]
            self._shown[key] = shown
        if shown.until <= self._clock.now():
            raise Refused(Refusal(status=401, body="the certificate has expired (trust.expired)"))
        return shown

    def _read(self, der: bytes) -> Identity:
        try:
            found = identity_of(der)
        except PophamError as error:
            raise Refused(Refusal(status=401, body=str(error))) from error
        if found.trust_domain != self._trust_domain:
            raise Refused(Refusal(status=401, body="the certificate is of another fleet (trust.identity)"))
        return Identity(
            caller=IdentityKind.PROXY if found.role == PROXY else IdentityKind.AGENT,
            uid=found.uid,
            public_key=found.public_der,
            since=found.issued,
            until=found.not_after,
        )
