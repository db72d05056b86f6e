"""What lets a proxy visit: a key of its own, made once on this machine, and the newest statement about it.

Rules:

1. The key never leaves this machine.  Where it is lost, or damaged, another one is made, and told to the Manager.
2. A statement is believed by the fleet's TUF metadata, if it is for this proxy and this key.  It counts until it ends;
   the one that came last counts, whatever clock it was made by.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from popham.clock import Clock
from popham.errors import TrustError
from popham.model.names import DEFAULT_TENANT
from popham.trust.keys import SigningKey
from popham.trust.tuf import TrustedTuf
from popham.trust.visitor import Visitor, open_visitor

_log = logging.getLogger(__name__)


def keep_key(path: Path) -> SigningKey:
    """Return the visitor's key at ``path``, readable by this user only; it is made where there is none.

    Raises:
        OSError: It cannot be written.
    """
    if path.exists():
        try:
            return SigningKey.load(path)
        except TrustError as error:
            _log.warning("this proxy makes a new key to visit with: %s", error)
    key = SigningKey.create()
    key.save(path)
    return key


class VisitorPermit:
    """Whether this proxy may visit, by which key, and what it shows for that.

    Attributes:
        key: Signs its requests.
        problem: Why the last statement that came was not believed; empty if it was.
    """

    def __init__(
        self,
        key: SigningKey,
        *,
        uid: str,
        tuf: Callable[[], TrustedTuf],
        clock: Clock,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """Have no statement yet.

        Args:
            key: This proxy's, from :func:`keep_key`.
            uid: instance_uid of this proxy.
            tuf: Returns the metadata that is trusted now: says who the director is.
            clock: Wall time: says when a statement is over.
            tenant: Whose agents are visited.
        """
        self.key = key
        self.problem = ""
        self._uid, self._tuf, self._clock, self._tenant = uid, tuf, clock, tenant
        self._envelope = b""
        self._visitor: Visitor | None = None

    @property
    def visitor(self) -> Visitor | None:
        """What the newest statement says; None before the first."""
        return self._visitor

    @property
    def holds(self) -> bool:
        """Whether this proxy may visit now."""
        return self.left > 0

    @property
    def left(self) -> float:
        """Seconds for which it may; not more than 0 if it may not."""
        return self._visitor.expires - self._clock.now() if self._visitor else 0.0

    def statement(self) -> bytes:
        """Return the newest statement, as it is shown; empty before the first."""
        return self._envelope

    def take(self, envelope: bytes) -> bool:
        """Take a statement that came, which is the newest; return whether it is believed, and another one than before."""
        try:
            found = self._open(envelope)
        except TrustError as error:
            self.problem = str(error)
            _log.warning("a visitor statement is not believed: %s", error)
            return False
        self.problem = ""
        if envelope == self._envelope:
            return False
        self._visitor, self._envelope = found, envelope
        return True

    def _open(self, envelope: bytes) -> Visitor:
        """Return a statement that is about this proxy and its key; raises TrustError."""
        found = open_visitor(envelope, tuf=self._tuf(), tenant=self._tenant)
        if (found.uid, found.keyid) != (self._uid, self.key.keyid):
            problem = "a visitor statement is about another proxy, or another key of this one"
            raise TrustError(
                "audience", problem, "Nothing: the Manager makes one for the key that it is told"
            )
        return found
