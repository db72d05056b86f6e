"""Renews the agent's certificate over whatever link there is, long before it ends, and changes its key.

Rules:

1. A new key is durable before anybody hears of it, and is used only together with its certificate and assignment.
2. Its request is proven by the key in use, and repeated, with the same new key, until it is answered: an answer
   that was lost may have changed the key upstream.
3. One that is refused is not forgotten either, for the same reason: the next request, in turn, asks for a
   certificate of the key in use.  An answer to that one says that upstream knows no other.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import TrustError
from popham.model.generation import GENERATION
from popham.opamp.codec import custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentToServer,
    CertificateRequest,
    ConnectionSettingsRequest,
    OpAMPConnectionSettingsRequest,
    TLSCertificate,
)
from popham.opamp.schema.popham.v1.popham_pb2 import Admission, Renew
from popham.trust.identity import load_certificate, make_csr, read_identity
from popham.trust.issuer import check_issued
from popham.trust.keys import IdentityKey
from popham.trust.renewal import renewal_time, sign_renewal

_log = logging.getLogger(__name__)
RETRY = 3600.0
"""Seconds after which a refused renewal is asked for again."""


class Credentials:
    """Knows when to renew, asks once per link, and keeps what comes.

    Attributes:
        due: Wall time of the next request, in unix seconds.
        wake: Called when there is something to ask for now.
        opens: Checks an assignment for the key of an id; raises TrustError.
    """

    def __init__(
        self,
        state: AgentState,
        clock: Clock,
        draw: Callable[[], float],
        renewed: Callable[[], None],
    ) -> None:
        """Plan the renewal of the certificate that is kept.

        Args:
            state: Has key and certificate.
            clock: Wall time, which certificates are about.
            draw: Random number in [0, 1): agents enrolled together renew apart.
            renewed: Called when a new certificate is kept and connections should show it.
        """
        self._state = state
        self._clock = clock
        self._draw = draw
        self._renewed = renewed
        self._asked: IdentityKey | None = None
        self._until = math.inf
        self.wake: Callable[[], None] = lambda: None
        self.opens: Callable[[bytes, str], object] = lambda _envelope, _keyid: None
        self._rotating: asyncio.Future[None] | None = None
        self._changed = False
        self._old_next = False  # whether the key in use is asked for before the new one is again
        self._unsure = state.next_key() is not None
        self.due = self._clock.now() if self._unsure else self._plan()

    def _plan(self) -> float:
        certificate = self._state.certificate()
        if certificate is None:
            return math.inf
        identity = read_identity(load_certificate(certificate))
        self._until = identity.not_after
        return renewal_time(identity.not_before, identity.not_after, self._draw())

    @property
    def expired(self) -> bool:
        """Whether the certificate is past its end, and serves for renewal only."""
        return self._until <= self._clock.now()

    @property
    def serves(self) -> bool:
        """Whether the certificate serves for more than renewal, as far as is known here.

        Upstream may know the new key already, where the answer that said so was lost.
        """
        return not self.expired and not self._unsure

    def take_change(self) -> bool:
        """Return whether the key has changed since this was last asked: links of the former one are of no use."""
        changed, self._changed = self._changed, False
        return changed

    async def rotate(self) -> None:
        """Make a new key, and return once its certificate is in use.

        Raises:
            TrustError: ``trust.rotation``: upstream refused it; the key in use stays.
            StateError: It could not be kept.
        """
        if self._rotating is None:
            if self._state.next_key() is None:
                self._state.save_next_key(IdentityKey.create())
            self._rotating = asyncio.get_running_loop().create_future()
            self._old_next, self.due = False, self._clock.now()
            self.wake()
        await asyncio.shield(self._rotating)

    def hasten(self) -> None:
        """Ask for a new certificate of the key in use at once: what it is to say has changed."""
        self.due = min(self.due, self._clock.now())
        self.wake()

    def request(self) -> AgentToServer | None:
        """Return the request for a new certificate if it is due and not yet asked for."""
        certificate = self._state.certificate()
        if certificate is None or self._asked or self._clock.now() < self.due:
            return None
        held = self._state.identity_key()
        fresh = None if self._old_next else self._state.next_key()
        self._asked = fresh or held
        csr = make_csr(self._asked, self._state.uid)
        renew = Renew(generation=GENERATION, certificate=certificate, signature=sign_renewal(held, csr))
        wanted = OpAMPConnectionSettingsRequest(certificate_request=CertificateRequest(csr=csr))
        return AgentToServer(
            connection_settings_request=ConnectionSettingsRequest(opamp=wanted),
            custom_message=custom(renew),
        )

    def lost(self) -> None:
        """Take note that the answer will not come."""
        self._unsure = self._unsure or self._asks_anew
        self._asked = None

    @property
    def _asks_anew(self) -> bool:
        """Whether a certificate of the new key is asked for, and not answered yet."""
        return self._asked is not None and self._asked.keyid != self._state.identity_key().keyid

    def refused(self, text: str) -> bool:
        """Take note of a refusal, if a request is open; it is made again later, and blocks nothing else."""
        if self._asked is None:
            return False
        _log.warning("the certificate was not renewed: %s", text)
        self._old_next, self._unsure = self._asks_anew, False
        self._asked = None
        self.due = self._clock.now() + RETRY
        hint = "The key in use stays; look why on the Manager: popham describe agent"
        self._end_rotation(TrustError("rotation", f"the new key was refused: {text}", hint))
        return True

    def _end_rotation(self, error: TrustError | None) -> None:
        """Tell whoever waits for the new key what became of it."""
        waiting, self._rotating = self._rotating, None
        if waiting is None:
            return
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)
            waiting.exception()  # nobody may wait any more

    def receive(self, offered: TLSCertificate, admission: Admission) -> None:
        """Keep the new certificate, if one was asked for; an answer that comes twice changes nothing.

        Raises:
            TrustError: It is for another key or agent, of another CA, or over already.
        """
        key = self._asked
        if key is None:
            return
        if not offered.cert:
            self.refused(admission.text)
            return
        anew = self._asks_anew
        try:
            self._check(offered.cert, key)
            if anew:
                self.opens(admission.assignment, key.keyid)
        except TrustError as error:
            self.refused(str(error))
            raise
        if anew:
            self._state.change_key(offered.cert, admission.assignment)
            _log.info("this machine has a new key: %s", key.keyid)
        else:
            self._state.save_certificate(offered.cert)
            if self._old_next:
                self._state.save_next_key(None)
        self._asked, self._old_next, self._unsure = None, False, False
        self._changed = self._changed or anew
        self.due = self._clock.now() if self._state.next_key() else self._plan()
        self._renewed()
        if anew:
            self._end_rotation(None)
            self.wake()

    def _check(self, pem: bytes, key: IdentityKey) -> None:
        certificate = load_certificate(pem)
        identity = read_identity(certificate)
        if identity.uid != self._state.uid or identity.spki != key.keyid:
            raise TrustError("certificate", "the certificate offered is for another agent or key")
        join = self._state.join()
        if join is not None:
            check_issued(certificate, join.ca)
        if identity.not_after <= self._clock.now():
            raise TrustError("expired", "the certificate offered has expired", "Check this machine's clock")


def refuse_private_key(offered: TLSCertificate) -> None:
    """Return if nothing but a certificate is offered (SEC-19).

    Raises:
        TrustError: ``trust.private_key``.
    """
    if offered.private_key:
        problem = "a private key was offered; keys never leave the machine they are made on"
        raise TrustError("private_key", problem)
