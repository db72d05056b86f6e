"""Issuing certificates made by us or elsewhere, and the one that a join string pins."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from popham.errors import TrustError
from popham.model.names import digest
from popham.trust.identity import CERTIFICATE_LIMIT, MALFORMED

_ISSUERS_LIMIT = 8
_RSA_BITS = 2048
CaKey = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey
"""Kinds of keys that a CA may have; RSA because companies' CAs do."""


def find_anchor(pem: bytes, pin: str) -> bytes:
    """Return the one certificate (PEM) among those in ``pem`` whose key a join string pins.

    Raises:
        TrustError: ``trust.pin``: none is; ``trust.certificate``: there is none at all.
    """
    for certificate in load_issuers(pem):
        if pin_of(certificate) == pin:
            return certificate.public_bytes(Encoding.PEM)
    problem = "who answers does not have the CA that the join string names"
    raise TrustError("pin", problem, "Check the URL, and that nothing in between opens TLS")


def load_issuers(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates in ``pem``, at least one.

    Raises:
        TrustError: ``trust.certificate``: there is none, or too many.
    """
    if len(pem) > CERTIFICATE_LIMIT * _ISSUERS_LIMIT:
        raise TrustError("certificate", f"the CA's certificates have {len(pem)} bytes")
    try:
        issuers = x509.load_pem_x509_certificates(pem)
    except MALFORMED as error:
        raise TrustError("certificate", "there is no certificate in PEM") from error
    if len(issuers) > _ISSUERS_LIMIT:
        raise TrustError(
            "certificate", f"there are {len(issuers)} certificates; {_ISSUERS_LIMIT} are allowed"
        )
    return issuers


def check_issuers(key: object, issuers: Sequence[x509.Certificate]) -> CaKey:
    """Return ``key`` if it and ``issuers`` make a CA; says nothing about dates.

    Raises:
        TrustError: ``trust.ca``: they do not.
    """
    issuing = issuers[0]
    if not isinstance(key, CaKey) or key.public_key() != issuing.public_key():
        problem = "the CA's key does not fit the first certificate"
        raise TrustError("ca", problem, "Put the issuing certificate first, those above it after it")
    if isinstance(key, RSAPrivateKey) and key.key_size < _RSA_BITS:
        raise TrustError("ca", f"the CA's key has {key.key_size} bits; {_RSA_BITS} are needed")
    if isinstance(key, EllipticCurvePrivateKey) and not isinstance(key.curve, SECP256R1 | SECP384R1):
        raise TrustError("ca", f"the CA's key is on the curve {key.curve.name}", "Use P-256 or P-384")
    if not _may_issue(issuing):
        raise TrustError("ca", "the certificate is not that of a CA", "Import an intermediate CA's")
    for below, above in itertools.pairwise(issuers):
        try:
            below.verify_directly_issued_by(above)
        except MALFORMED as error:
            raise TrustError(
                "ca", "the CA's certificates do not follow each other", "Issuer after issued"
            ) from error
    return key


def check_issued(certificate: x509.Certificate, ca: bytes) -> None:
    """Return if the CA whose certificate is ``ca`` (PEM) signed ``certificate``; says nothing about dates.

    Raises:
        TrustError: ``trust.issuer``: it did not; ``trust.certificate`` if ``ca`` is malformed.
    """
    try:
        certificate.verify_directly_issued_by(load_issuers(ca)[0])
    except MALFORMED as error:
        raise TrustError("issuer", "the certificate was not issued by this fleet's CA") from error


def pin_of(certificate: x509.Certificate) -> str:
    """Return SHA-256 of the certificate's public key (SPKI), hexadecimal.

    Raises:
        TrustError: ``trust.certificate``: its key is malformed, or of a kind nobody knows.
    """
    try:
        key = certificate.public_key()
    except MALFORMED as error:
        raise TrustError("certificate", "a certificate's key is malformed") from error
    return digest(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions
        if not found.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return found.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return False
    except MALFORMED:
        return False
