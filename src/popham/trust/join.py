"""Join strings, and the key that each token is the seed of.

A join string tells a machine where the Manager is, how to recognize it before
anything secret is said (SEC-20), and gives it the seed of a signing key.  The
token never travels: the machine sends its id and a signature over the CSR, and
the Manager keeps id and public key only.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from popham.errors import EnrollmentError, TrustError
from popham.model.names import canonical, digest
from popham.trust.document import decode_base64url, encode_base64url, parse_strict
from popham.trust.keys import PublicKey

PREFIX = "pop1."
SEED_LENGTH = 32
URLS_LIMIT = 16
JOIN_LIMIT = 8 * 1024
"""Characters of a join string."""
_URL_LIMIT = 256
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PURPOSE = b"popham enrollment v1\n"


@dataclass(frozen=True, slots=True)
class JoinString:
    """What a machine needs to join a fleet.

    Attributes:
        urls: Where the Manager listens for agents, ``https://host:port``, best first.
        ca: SHA-256 of the CA's public key (SPKI), hexadecimal.
        root: SHA-256 of the bytes of TUF's first root, hexadecimal.
        seed: The token: seed of an Ed25519 key, 32 bytes.
    """

    urls: tuple[str, ...]
    ca: str
    root: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be a join string."""
        if not 1 <= len(self.urls) <= URLS_LIMIT:
            raise _malformed(f"it names {len(self.urls)} URLs; 1 to {URLS_LIMIT} are allowed")
        for url in self.urls:
            if not _may_dial(url):
                raise _malformed(f"{url!r} is no URL of the form https://host:port")
        if not _DIGEST.fullmatch(self.ca) or not _DIGEST.fullmatch(self.root):
            raise _malformed("its digests must be 64 hexadecimal digits")
        if len(self.seed) != SEED_LENGTH:
            raise _malformed(f"its token must have {SEED_LENGTH} bytes")

    def encode(self) -> str:
        """Return the string for people to copy."""
        body = {
            "urls": list(self.urls),
            "ca": self.ca,
            "root": self.root,
            "token": encode_base64url(self.seed),
        }
        return PREFIX + encode_base64url(canonical(body))

    @classmethod
    def parse(cls, text: str) -> JoinString:
        """Return what ``text`` says; white space around it is ignored.

        Raises:
            EnrollmentError: ``enrollment.join_string``: it is not a whole join string.
        """
        text = text.strip()
        if not text.startswith(PREFIX):
            raise _malformed(f"it does not begin with {PREFIX!r}")
        if len(text) > JOIN_LIMIT:
            raise _malformed(f"it has more than {JOIN_LIMIT} characters")
        try:
            parsed = cls._from_dict(parse_strict(decode_base64url(text.removeprefix(PREFIX))))
        except ValueError as error:
            raise _malformed("it is not complete, or was altered") from error
        if parsed.encode() != text:
            raise _malformed("it is not in the form that a Manager gives")
        return parsed

    @classmethod
    def _from_dict(cls, data: dict[str, Any]) -> JoinString:
        if data.keys() != {"urls", "ca", "root", "token"}:
            raise ValueError("it needs urls, ca, root and token")
        urls = data["urls"]
        texts = [data["ca"], data["root"], *urls] if isinstance(urls, list) else [urls]
        if not isinstance(urls, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("urls must be a list of text, the digests text")
        return cls(tuple(urls), data["ca"], data["root"], decode_base64url(data["token"]))


class EnrollmentKey:
    """The signing key whose seed is an enrollment token.

    Attributes:
        token_id: First 16 hexadecimal digits of the SHA-256 of the raw public key.
        public_der: The public key (SPKI); all that the Manager keeps, beside the id.
        seed: The token, 32 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_LENGTH:
            raise _malformed(f"its token must have {SEED_LENGTH} bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key()
        self.seed = seed
        self.public_der = PublicKey.wrap(public).der
        self.token_id = digest(public.public_bytes(Encoding.Raw, PublicFormat.Raw))[:16]

    @classmethod
    def create(cls) -> EnrollmentKey:
        """Return the key of a new token."""
        return cls(secrets.token_bytes(SEED_LENGTH))

    @classmethod
    def from_seed(cls, seed: bytes) -> EnrollmentKey:
        """Return the key of the token in a join string.

        Raises:
            EnrollmentError: ``enrollment.join_string``: the seed has another length.
        """
        return cls(seed)

    def sign(self, csr: bytes) -> bytes:
        """Return the signature that lets the CSR ``csr`` (PEM, as it is sent) in."""
        return self._key.sign(_PURPOSE + csr)


def verify_enrollment(public_der: bytes, csr: bytes, signature: bytes) -> None:
    """Return if the token whose public key is ``public_der`` signed ``csr``.

    Raises:
        EnrollmentError: ``enrollment.signature``: it did not.
    """
    try:
        PublicKey.from_der(public_der).verify(signature, _PURPOSE + csr)
    except TrustError as error:
        problem = "the request to join is not signed by its token"
        raise EnrollmentError("signature", problem, "Use the join string as it was given") from error


def _may_dial(url: str) -> bool:
    """Return whether ``url`` is a plain https URL: host, port, perhaps a path prefix."""
    if len(url) > _URL_LIMIT or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        bare = not (parts.username or parts.password or parts.query or parts.fragment or "@" in parts.netloc)
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and bare
    except ValueError:
        return False


def _malformed(why: str) -> EnrollmentError:
    hint = "Copy the whole line that 'popham token create' printed"
    return EnrollmentError("join_string", f"this is no join string: {why}", hint)
