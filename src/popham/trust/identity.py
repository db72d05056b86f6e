"""Who a certificate names, and what a CSR asks for.

A machine's name is the URI ``spiffe://<trust domain>/agent/<uid>``; that of a Proxy
Manager has ``proxy`` in the place of ``agent``.  Of a CSR only the key and the requested uid (its common name) are read; extensions, other
names and lifetimes in it are ignored, so it cannot ask for a right (SEC-19).
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
import warnings
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from popham.errors import TrustError
from popham.model.names import digest
from popham.trust.keys import IdentityKey, PublicKey

AGENT, PROXY = "agent", "proxy"
"""Roles that a certificate names."""
_ALWAYS = dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
BACKDATE = 300.0
"""Seconds by which a certificate begins before it is issued. Source: guarantees 4, renewal."""
CSR_LIMIT = 4 * 1024
"""Bytes of a CSR; one with a P-384 key has about 600."""
CERTIFICATE_LIMIT = 16 * 1024
"""Bytes of one certificate."""
MALFORMED: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UserWarning,
)
"""What the ``cryptography`` library raises for certificates and CSRs that are not all right."""
_NAME = re.compile(r"spiffe://([a-z0-9._-]{1,255})/(agent|proxy)/([0-9a-f-]{36})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a certificate names.

    Attributes:
        role: ``agent``, or ``proxy`` for a Proxy Manager.
        uid: instance_uid, as a UUID string.
        spki: SHA-256 of the public key, hexadecimal.
        public_der: The public key (SPKI).
        serial: The certificate's serial number, hexadecimal.
        trust_domain: Fleet that the name belongs to.
        not_before: Unix seconds at which the certificate begins.
        not_after: Unix seconds at which it ends.
    """

    role: str
    uid: str
    spki: str
    public_der: bytes
    serial: str
    trust_domain: str
    not_before: float
    not_after: float

    @property
    def issued(self) -> float:
        """Unix seconds at which our CA issued it, to the second; it makes all begin earlier than that."""
        return self.not_before + BACKDATE


@dataclass(frozen=True, slots=True)
class Csr:
    """What is believed of a CSR: the key, whose possession has been proved.

    Attributes:
        public_key_der: The public key (SPKI).
        spki_sha256: Its SHA-256, hexadecimal.
    """

    public_key_der: bytes
    spki_sha256: str


def name_agent(trust_domain: str, uid: str, role: str = AGENT) -> str:
    """Return the URI that stands for an agent, or a Proxy Manager, in its certificate."""
    return f"spiffe://{trust_domain}/{role}/{uid}"


def identity_of(cert_der: bytes) -> Identity:
    """Return whom ``cert_der`` names. Whether to believe the certificate is TLS's matter.

    Raises:
        TrustError: ``trust.certificate`` if it is malformed, ``trust.identity`` if it
            does not name exactly one agent, ``trust.key`` for its key.
    """
    return read_identity(load_certificate(cert_der))


def read_identity(certificate: x509.Certificate) -> Identity:
    """Return whom a certificate names, which has been parsed; raises as :func:`identity_of`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        public = PublicKey.wrap(certificate.public_key())
    except x509.ExtensionNotFound as error:
        raise TrustError("identity", "the certificate names nobody") from error
    except MALFORMED as error:
        raise TrustError("certificate", f"the certificate is malformed: {error}") from error
    match = _NAME.fullmatch(uris[0]) if len(uris) == 1 else None
    if match is None or not _is_uid(match[3]):
        raise TrustError("identity", "the certificate does not name one agent of a fleet")
    return Identity(
        role=match[2],
        uid=match[3],
        spki=public.keyid,
        public_der=public.der,
        serial=format(certificate.serial_number, "x"),
        trust_domain=match[1],
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def load_certificate(data: bytes) -> x509.Certificate:
    """Return the certificate in ``data``, DER or PEM.

    Raises:
        TrustError: ``trust.certificate``: there is none, or it is too large.
    """
    if len(data) > CERTIFICATE_LIMIT:
        raise TrustError(
            "certificate", f"the certificate has {len(data)} bytes; {CERTIFICATE_LIMIT} are allowed"
        )
    pem = data.lstrip().startswith(b"-----")
    try:
        return x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
    except MALFORMED as error:
        raise TrustError("certificate", "the certificate is malformed") from error


def make_csr(key: IdentityKey, uid: str) -> bytes:
    """Return a CSR (PEM) by which the agent ``uid`` asks for a certificate for ``key``."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uid)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key.crypto, SHA256()).public_bytes(Encoding.PEM)


def make_self_signed(key: IdentityKey, uid: str) -> bytes:
    """Return a certificate (PEM) that ``key`` gives itself, for TLS before a fleet has given one.

    It proves nothing but the key; it is valid at all times, so that no clock stands in the way.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uid)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.crypto.public_key())
        .serial_number(1)
        .not_valid_before(_ALWAYS[0])
        .not_valid_after(_ALWAYS[1])
    )
    return builder.sign(key.crypto, SHA256()).public_bytes(Encoding.PEM)


def check_csr(pem: bytes, uid: str) -> Csr:
    """Return the key that a CSR asks a certificate for.

    Size, kind of the key and requested uid are checked before the signature, so
    that a stranger cannot make us verify large keys (SEC-8).

    Args:
        pem: The CSR, as it came.
        uid: instance_uid of the sender, as a UUID string.

    Raises:
        TrustError: ``trust.csr`` if it is malformed or too large, or its signature
            does not prove that the sender has the key; ``trust.key`` if that key is
            not P-256, P-384 or Ed25519; ``trust.csr_uid`` if it asks for another uid.
    """
    if len(pem) > CSR_LIMIT:
        raise TrustError("csr", f"the CSR has {len(pem)} bytes; {CSR_LIMIT} are allowed")
    try:
        csr = x509.load_pem_x509_csr(pem)
        key = PublicKey.wrap(csr.public_key())
        with warnings.catch_warnings():
            # The library only warns of an attribute whose length is not allowed.
            warnings.simplefilter("error", UserWarning)
            named = [name.value for name in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except MALFORMED as error:
        raise TrustError("csr", "the CSR is malformed") from error
    if named != [uid] or not _is_uid(uid):
        raise TrustError("csr_uid", f"the CSR does not ask for the agent {uid!r} that sent it")
    if not _proves_possession(csr):
        raise TrustError("csr", "the CSR is not signed by the key that it names")
    return Csr(key.der, digest(key.der))


def _proves_possession(csr: x509.CertificateSigningRequest) -> bool:
    try:
        return csr.is_signature_valid
    except MALFORMED:
        return False


def _is_uid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
