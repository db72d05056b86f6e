"""Keys: who signs, and by which algorithm a signature is checked.

Rules:

1. The algorithm comes from the trusted key, never from a message (SEC-50).
2. A keyid is derived here, as SHA-256 of the SubjectPublicKeyInfo; nobody else's
   word is taken for it (SEC-48).
3. A private key never leaves the machine that made it, and no ``repr`` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from popham.errors import TrustError
from popham.model.names import digest
from popham.statedir import replace_file

KEY_LIMIT = 1024
"""Bytes of a public key as DER; a P-384 key has 120."""
_FILE_LIMIT = 16 * 1024
_P256_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
"""How the SubjectPublicKeyInfo of a P-256 key begins; its point follows, uncompressed. Source: RFC 5480."""
_P256_LENGTH = len(_P256_HEAD) + 64
_P256, _P384 = ECDSA(SHA256()), ECDSA(SHA384())


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that this program can use: Ed25519, P-256 or P-384.

    Attributes:
        der: Its SubjectPublicKeyInfo, in one form per key.
    """

    der: bytes
    _key: Ed25519PublicKey | EllipticCurvePublicKey = field(repr=False, compare=False)

    @classmethod
    def from_der(cls, der: bytes) -> PublicKey:
        """Return the key in a SubjectPublicKeyInfo.

        Raises:
            TrustError: ``trust.key``: it is malformed, or of another kind.
        """
        if len(der) > KEY_LIMIT:
            raise _unusable(f"it has {len(der)} bytes")
        try:
            return cls.wrap(load_der_public_key(der))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _unusable(str(error)) from error

    @classmethod
    def from_known(cls, der: bytes) -> PublicKey:
        """Return the key in a SubjectPublicKeyInfo that is in the one form of its key, as it was kept.

        Raises:
            TrustError: ``trust.key``: it is malformed, or of another kind.
        """
        if der[: len(_P256_HEAD)] == _P256_HEAD and len(der) == _P256_LENGTH:
            # Nearly all agents have such a key, whose one form is this, and each state record is checked by one.
            try:
                return cls(der, load_der_public_key(der))  # type: ignore[arg-type]  # the head says of which kind
            except (ValueError, UnsupportedAlgorithm) as error:
                raise _unusable(str(error)) from error
        return cls.from_der(der)

    @classmethod
    def wrap(cls, key: object) -> PublicKey:
        """Return ``key`` of the ``cryptography`` library as one of ours.

        Raises:
            TrustError: ``trust.key``: it is of a kind that is not allowed.
        """
        if isinstance(key, EllipticCurvePublicKey):
            if not isinstance(key.curve, SECP256R1 | SECP384R1):
                raise _unusable(f"curve {key.curve.name} is not allowed")
        elif not isinstance(key, Ed25519PublicKey):
            raise _unusable(f"{type(key).__name__} is not allowed")
        return cls(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), key)

    @property
    def keyid(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo, hexadecimal."""
        return digest(self.der)

    @property
    def crypto(self) -> Ed25519PublicKey | EllipticCurvePublicKey:
        """The key as the ``cryptography`` library has it."""
        return self._key

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if ``signature`` is this key's over ``data``.

        Raises:
            TrustError: ``trust.signature``: it is not.
        """
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, data)
            else:
                small = isinstance(self._key.curve, SECP256R1)
                self._key.verify(signature, data, _P256 if small else _P384)
        except InvalidSignature:
            problem = f"the signature is not that of key {self.keyid[:16]}"
            raise TrustError("signature", problem) from None


class SigningKey:
    """An Ed25519 key of the fleet: TUF root, targets, or director."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey.wrap(key.public_key())

    @classmethod
    def create(cls) -> Self:
        """Return a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the key in the PEM file at ``path``.

        Raises:
            TrustError: ``trust.key_file``: there is no Ed25519 key in it.
        """
        key = load_private(read_key_file(path), str(path))
        if not isinstance(key, Ed25519PrivateKey):
            raise TrustError("key_file", f"{path} holds no Ed25519 key", "Restore it from a backup")
        return cls(key)

    @property
    def keyid(self) -> str:
        """The public key's id."""
        return self.public.keyid

    @property
    def crypto(self) -> Ed25519PrivateKey:
        """The key as the ``cryptography`` library has it."""
        return self._key

    @property
    def pem(self) -> bytes:
        """The private key as PKCS8 PEM."""
        return encode_private(self._key)

    def sign(self, data: bytes) -> bytes:
        """Return the signature over ``data``, 64 bytes."""
        return self._key.sign(data)

    def save(self, path: Path) -> None:
        """Write the private key to ``path``, readable by this user only."""
        replace_file(path, self.pem)


class IdentityKey:
    """The P-256 key of one machine; it never leaves the machine."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = PublicKey.wrap(key.public_key())

    @classmethod
    def create(cls) -> Self:
        """Return a new key."""
        return cls(generate_private_key(SECP256R1()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the key in the PEM file at ``path``.

        Raises:
            TrustError: ``trust.key_file``: there is no P-256 key in it.
        """
        key = load_private(read_key_file(path), str(path))
        if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
            raise TrustError("key_file", f"{path} holds no P-256 key", "Enroll the machine anew")
        return cls(key)

    @property
    def keyid(self) -> str:
        """The public key's id."""
        return self.public.keyid

    @property
    def crypto(self) -> EllipticCurvePrivateKey:
        """The key as the ``cryptography`` library has it."""
        return self._key

    @property
    def pem(self) -> bytes:
        """The private key as PKCS8 PEM."""
        return encode_private(self._key)

    def sign(self, data: bytes) -> bytes:
        """Return the ECDSA signature over ``data`` with SHA-256, as DER."""
        return self._key.sign(data, ECDSA(SHA256()))

    def save(self, path: Path) -> None:
        """Write the private key to ``path``, readable by this user only."""
        replace_file(path, self.pem)


def encode_private(key: object) -> bytes:
    """Return a private key of the ``cryptography`` library as PKCS8 PEM, not encrypted."""
    pem: bytes = key.private_bytes(  # type: ignore[attr-defined]  # each kind of key has it
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return pem


def load_private(pem: bytes, what: str) -> object:
    """Return the private key in ``pem``, of whatever kind; ``what`` names it in errors.

    Raises:
        TrustError: ``trust.key_file``: it is no private key, or encrypted.
    """
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise TrustError("key_file", f"{what} is encrypted", "Store it decrypted, mode 0600") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(
            "key_file", f"{what} is no private key in PEM", "Restore it from a backup"
        ) from error


def read_key_file(path: Path) -> bytes:
    """Return the bytes of a key or certificate file, at most 16 KiB.

    Raises:
        TrustError: ``trust.key_file``: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise TrustError("key_file", f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _FILE_LIMIT:
        raise TrustError("key_file", f"{path} is larger than {_FILE_LIMIT} bytes")
    return data


def _unusable(why: str) -> TrustError:
    return TrustError("key", f"the public key cannot be used: {why}", "Use a P-256, P-384 or Ed25519 key")
