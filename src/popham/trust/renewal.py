"""Renewal: how a machine gets a new certificate for an old one.

Over mutual TLS the old certificate speaks for itself.  Where TLS does not show
it, or it has expired, the machine sends it along, with its key's signature
over the CSR; an expired one serves for nothing else (REL-23).
"""

from __future__ import annotations

from popham.errors import TrustError
from popham.trust.ca import Authority
from popham.trust.identity import Identity, check_csr, load_certificate, read_identity
from popham.trust.keys import IdentityKey, PublicKey

EXPIRED_LIMIT = 90 * 86400.0
"""Seconds after its end in which a certificate may still be renewed. Source: guarantees REL-23."""
_PURPOSE = b"popham renewal v1\n"


def sign_renewal(key: IdentityKey, csr_pem: bytes) -> bytes:
    """Return the signature by which the old identity ``key`` asks for the certificate in a CSR."""
    return key.sign(_PURPOSE + csr_pem)


def verify_renewal(
    ca: Authority, old_cert_pem: bytes, csr_pem: bytes, signature: bytes, now: float
) -> Identity:
    """Return whose certificate is to be renewed, by the CSR ``csr_pem``.

    Whether that agent is still accepted, and this its newest certificate, is the
    caller's to look up (``Identity.serial``).

    Args:
        ca: Must have issued the old certificate.
        old_cert_pem: May have expired up to 90 days ago.
        csr_pem: As it came; for the same uid, with the same or a new key.
        signature: :func:`sign_renewal` by the old certificate's key.
        now: Unix seconds.

    Raises:
        TrustError: ``trust.certificate`` or ``trust.identity`` for the old certificate,
            ``trust.issuer``, ``trust.expired``, ``trust.signature``; as ``check_csr``.
    """
    identity = verify_issued(ca, old_cert_pem, now)
    PublicKey.from_der(identity.public_der).verify(signature, _PURPOSE + csr_pem)
    check_csr(csr_pem, identity.uid)
    return identity


def verify_issued(ca: Authority, cert_pem: bytes, now: float) -> Identity:
    """Return whose certificate it is, if this CA issued it and it is not over for too long.

    Raises:
        TrustError: ``trust.certificate``, ``trust.identity``, ``trust.issuer`` or ``trust.expired``.
    """
    certificate = load_certificate(cert_pem)
    identity = read_identity(certificate)
    if not ca.issued(certificate) or identity.trust_domain != ca.trust_domain:
        problem = "the certificate was not issued by this fleet's CA"
        raise TrustError("issuer", problem, "Enroll the machine with a join string of this fleet")
    if now > identity.not_after + EXPIRED_LIMIT:
        problem = "the certificate expired more than 90 days ago"
        raise TrustError("expired", problem, "Enroll the machine again")
    return identity


def renewal_time(not_before: float, not_after: float, draw: float) -> float:
    """Return when to renew a certificate, in unix seconds: between 1/2 and 2/3 of its life.

    Args:
        not_before: Unix seconds at which it begins.
        not_after: Unix seconds at which it ends.
        draw: Random number in [0, 1), so that a fleet does not renew at once.

    Raises:
        ValueError: ``draw`` is outside [0, 1), or the life is negative.

    Source: guarantees 4, renewal.
    """
    if not 0 <= draw < 1 or not_after < not_before:
        raise ValueError(f"draw {draw} or life {not_before} to {not_after} is out of range")
    return not_before + (not_after - not_before) * (1 / 2 + draw / 6)
