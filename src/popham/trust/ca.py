"""The fleet's certificate authority.

An :class:`Authority` holds one issuing key: a root of its own, or an
intermediate that a company's PKI made.  Its public key is what join strings
pin, so agents trust this issuer and nobody above it; TLS contexts that anchor on
an intermediate need ``ssl.VERIFY_X509_PARTIAL_CHAIN``.

Rules:

1. A certificate says what this module puts in; nothing is copied from a CSR but
   its key.
2. Certificates begin five minutes ago, for clocks that are behind.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from popham.clock import Clock
from popham.errors import ConfigError, TrustError
from popham.statedir import replace_file
from popham.trust.identity import (
    AGENT,
    BACKDATE,
    MALFORMED,
    Csr,
    Identity,
    check_csr,
    identity_of,
    make_csr,
    name_agent,
)
from popham.trust.issuer import CaKey, check_issuers, find_anchor, load_issuers, pin_of
from popham.trust.keys import IdentityKey, PublicKey, encode_private, load_private, read_key_file

__all__ = ["Authority", "Csr", "Identity", "check_csr", "find_anchor", "identity_of", "make_csr"]

AGENT_LIFETIME = 7 * 86400.0
"""Seconds. Source: design 7."""
LISTENER_LIFETIME = 365 * 86400.0
AUTHORITY_LIFETIME = 3653 * 86400.0
"""Seconds: ten years, as root and targets."""
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
_HOST = re.compile(r"(?=.{1,253}$)[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62}))*")


class Authority:
    """An issuing key and its certificate.

    Attributes:
        trust_domain: First part of the names in what it issues.
    """

    def __init__(
        self, key: CaKey, issuers: Sequence[x509.Certificate], trust_domain: str, clock: Clock
    ) -> None:
        """Take the issuing key and its certificate, followed by those above it."""
        if not _DOMAIN.fullmatch(trust_domain):
            problem = f"{trust_domain!r} cannot be a trust domain"
            raise ConfigError("trust_domain", problem, "Use lower-case letters, digits, '.', '_' or '-'")
        self._key = key
        self._issuers = tuple(issuers)
        self._clock = clock
        self.trust_domain = trust_domain

    @classmethod
    def create(cls, trust_domain: str, clock: Clock) -> Authority:
        """Return a new root with a P-256 key, valid for ten years."""
        key = generate_private_key(SECP256R1())
        now = clock.now()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Popham CA {trust_domain}"[:64])])
        builder = _begin(name, name, now - BACKDATE, now + AUTHORITY_LIFETIME).public_key(key.public_key())
        usage = _key_usage(signs_certificates=True)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        return cls(key, [builder.sign(key, SHA256())], trust_domain, clock)

    @classmethod
    def import_(cls, key_pem: bytes, cert_pem: bytes, trust_domain: str, clock: Clock) -> Authority:
        """Return the CA with this key and certificate, made elsewhere.

        Args:
            key_pem: Private key, not encrypted: P-256, P-384, Ed25519, or RSA of 2048 bits.
            cert_pem: Its certificate, followed by those above it, if any.
            trust_domain: First part of the names in what it is to issue.
            clock: Tells whether it is valid, and dates what it issues.

        Raises:
            TrustError: ``trust.key_file``, ``trust.certificate``, or ``trust.ca`` if key
                and certificate do not make a CA that is valid now.
        """
        issuers = load_issuers(cert_pem)
        key = check_issuers(load_private(key_pem, "the CA's key"), issuers)
        if not issuers[0].not_valid_before_utc.timestamp() <= clock.now() < _end(issuers[0]):
            raise TrustError("ca", "the CA's certificate is not valid now", "Check this machine's clock")
        return cls(key, issuers, trust_domain, clock)

    @classmethod
    def load(cls, directory: Path, clock: Clock) -> Authority:
        """Return the CA that :meth:`save` left in ``directory``, even if it has expired.

        Raises:
            TrustError: ``trust.key_file``, ``trust.certificate`` or ``trust.ca``: a file is
                missing or damaged.
        """
        domain = read_key_file(directory / "ca.domain").decode(errors="replace").strip()
        issuers = load_issuers(read_key_file(directory / "ca.pem"))
        key = load_private(read_key_file(directory / "ca.key"), str(directory / "ca.key"))
        return cls(check_issuers(key, issuers), issuers, domain, clock)

    def save(self, directory: Path) -> None:
        """Write ``ca.key``, ``ca.pem`` and ``ca.domain`` to ``directory``, readable by this user only."""
        replace_file(directory / "ca.domain", f"{self.trust_domain}\n".encode())
        replace_file(directory / "ca.pem", self.issuers_pem)
        replace_file(directory / "ca.key", encode_private(self._key))

    @property
    def pem(self) -> bytes:
        """The issuing certificate alone: what agents and listeners anchor on."""
        return self._issuers[0].public_bytes(Encoding.PEM)

    @property
    def issuers_pem(self) -> bytes:
        """The issuing certificate and those above it."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self._issuers)

    @property
    def spki_sha256(self) -> str:
        """SHA-256 of the issuing public key (SPKI), hexadecimal: what join strings pin."""
        return pin_of(self._issuers[0])

    def issue_agent(
        self,
        csr_pem: bytes,
        uid: str,
        lifetime_s: float = AGENT_LIFETIME,
        *,
        role: str = AGENT,
        names: Sequence[str] = (),
    ) -> bytes:
        """Return a certificate (PEM) for the agent ``uid`` and the key in its CSR.

        Args:
            csr_pem: The CSR; :func:`~popham.trust.identity.check_csr` is run on it.
            uid: instance_uid, as a UUID string.
            lifetime_s: Seconds from now, cut to what is left of the CA's own.
            role: ``agent``, or ``proxy`` for a Proxy Manager.
            names: DNS names and IP addresses by which agents dial it; none but a proxy has any.

        Raises:
            TrustError: As ``check_csr``; ``trust.ca`` if the CA has expired.
            ConfigError: ``config.listener_name``: a name is neither.
        """
        csr = check_csr(csr_pem, uid)
        uri = x509.UniformResourceIdentifier(name_agent(self.trust_domain, uid, role))
        held = [uri, *map(_general_name, dict.fromkeys(names))]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        return self._issue(PublicKey.from_der(csr.public_key_der), uid, held, usages, lifetime_s)

    def issue_listener(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Return certificate with those above it, and key (both PEM), for a listener; valid for a year.

        Args:
            names: DNS names and IP addresses by which agents and people reach it.

        Raises:
            ConfigError: ``config.listener_name``: there is none, or one is neither.
            TrustError: ``trust.ca``: the CA has expired.
        """
        if not names:
            problem = "a listener's certificate needs a DNS name or an IP address"
            raise ConfigError("listener_name", problem, "Name those by which agents reach this Manager")
        key = IdentityKey.create()
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        general = [_general_name(name) for name in dict.fromkeys(names)]
        certificate = self._issue(key.public, names[0][:64], general, usages, LISTENER_LIFETIME)
        above = [found.public_bytes(Encoding.PEM) for found in self._issuers if found.issuer != found.subject]
        return b"".join([certificate, *above]), key.pem

    def issued(self, certificate: x509.Certificate) -> bool:
        """Return whether this CA's key signed ``certificate``; says nothing about its dates."""
        try:
            certificate.verify_directly_issued_by(self._issuers[0])
        except MALFORMED:
            return False
        return True

    def _issue(
        self,
        public: PublicKey,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        lifetime: float,
    ) -> bytes:
        issuer, now = self._issuers[0], self._clock.now()
        end = min(now + lifetime, _end(issuer))
        if end <= now:
            raise TrustError("ca", "the fleet's CA has expired", "Make or import a new one")
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        begin = max(now - BACKDATE, issuer.not_valid_before_utc.timestamp())
        builder = _begin(subject, issuer.subject, begin, end).public_key(public.crypto)
        own = x509.SubjectKeyIdentifier.from_public_key(public.crypto)
        above = _authority_identifier(issuer)
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage(usages), False),
            (x509.SubjectAlternativeName(names), False),
            (own, False),
            (above, False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        hashing = None if isinstance(self._key, Ed25519PrivateKey) else SHA256()
        return builder.sign(self._key, hashing).public_bytes(Encoding.PEM)


def _begin(subject: x509.Name, issuer: x509.Name, begin: float, end: float) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.not_valid_before(datetime.fromtimestamp(begin, UTC))
    builder = builder.not_valid_after(datetime.fromtimestamp(end, UTC))
    return builder.serial_number(x509.random_serial_number())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        found = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if not _HOST.fullmatch(name):
            problem = f"{name!r} is neither a DNS name nor an IP address"
            hint = "Write names in ASCII, without port or scheme"
            raise ConfigError("listener_name", problem, hint) from None
        return x509.DNSName(name)


def _end(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()
