"""Renews the agent's certificate over whatever link there is, long before it ends."""

from __future__ import annotations

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
from popham.trust.renewal import renewal_time, sign_renewal

_log = logging.getLogger(__name__)
RETRY = 3600.0
"""Seconds after which a refused renewal is asked for again."""


class Credentials:
    """Knows when to renew, asks once per link, and keeps what comes."""

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
        self._asked = False
        self._until = math.inf
        self.due = self._plan()

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

    def request(self) -> AgentToServer | None:
        """Return the request for a new certificate if it is due and not yet asked for."""
        certificate = self._state.certificate()
        if certificate is None or self._asked or self._clock.now() < self.due:
            return None
        self._asked = True
        key = self._state.identity_key()
        csr = make_csr(key, self._state.uid)
        renew = Renew(generation=GENERATION, certificate=certificate, signature=sign_renewal(key, csr))
        wanted = OpAMPConnectionSettingsRequest(certificate_request=CertificateRequest(csr=csr))
        return AgentToServer(
            connection_settings_request=ConnectionSettingsRequest(opamp=wanted),
            custom_message=custom(renew),
        )

    def lost(self) -> None:
        """Take note that the answer will not come."""
        self._asked = False

    def refused(self, text: str) -> bool:
        """Take note of a refusal, if a request is open; it is made again later, and blocks nothing else."""
        if not self._asked:
            return False
        _log.warning("the certificate was not renewed: %s", text)
        self._asked = False
        self.due = self._clock.now() + RETRY
        return True

    def receive(self, offered: TLSCertificate, admission: Admission) -> None:
        """Keep the new certificate, if one was asked for; an answer that comes twice changes nothing.

        Raises:
            TrustError: It is for another key or agent, of another CA, or over already.
        """
        if not self._asked:
            return
        if not offered.cert:
            self.refused(admission.text)
            return
        try:
            self._check(offered.cert)
        except TrustError as error:
            self.refused(str(error))
            raise
        self._state.save_certificate(offered.cert)
        self._asked = False
        self.due = self._plan()
        self._renewed()

    def _check(self, pem: bytes) -> None:
        certificate = load_certificate(pem)
        identity = read_identity(certificate)
        if identity.uid != self._state.uid or identity.spki != self._state.identity_key().keyid:
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
