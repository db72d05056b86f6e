"""Envelopes: a payload, its type, and who signed both (DSSE).

An :class:`Envelope` says who *claims* to have signed; whether to believe it is
decided in :mod:`popham.trust.tuf` and :mod:`popham.trust.verify`.

Rules:

1. What was signed is type and payload together (PAE), so that a document of
   one kind never passes as another (SEC-25).
2. There is one form of an envelope. Unknown fields, spaces, duplicate keys and
   duplicate keyids are refused: nothing unsigned rides along.

Source: github.com/secure-systems-lab/dsse, protocol 1.0.
"""

from __future__ import annotations

import base64
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from popham.errors import TrustError
from popham.model.names import canonical
from popham.trust.document import decode_base64, parse_strict

ENVELOPE_LIMIT = 4 * 1024 * 1024
"""Bytes of an envelope. Source: guarantees SEC-9."""
SIGNATURES_LIMIT = 8
_KEYID = re.compile(r"[0-9a-f]{64}")
_SIGNED_ONCE = re.compile(
    rb'\{"payload":"([A-Za-z0-9+/]*={0,2})","payloadType":"([A-Za-z0-9./+-]*)",'
    rb'"signatures":\[\{"keyid":"([0-9a-f]{64})","sig":"([A-Za-z0-9+/]*={0,2})"\}\]\}'
)
"""The one form of an envelope with one signature: what matches need not be read as JSON to know what it says."""


class Signer(Protocol):
    """A key that signs, and its id."""

    @property
    def keyid(self) -> str:
        """The public key's id."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the signature over ``data``."""
        ...


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed document that nobody has verified yet.

    Attributes:
        payload_type: Kind of the document.
        payload: Its bytes.
        signatures: keyid → signature; at least one, at most eight.
    """

    payload_type: str
    payload: bytes
    signatures: Mapping[str, bytes]

    @classmethod
    def parse(cls, data: bytes, *, types: Collection[str], limit: int = ENVELOPE_LIMIT) -> Envelope:
        """Return the envelope in ``data``, its size, form and type checked in this order.

        Args:
            data: JSON as :func:`seal` makes it.
            types: Payload types that may stand here.
            limit: Bytes of ``data`` at most.

        Raises:
            TrustError: ``trust.size``, ``trust.envelope``, ``trust.type``, or
                ``trust.signature`` if it carries none.
        """
        if len(data) > limit:
            problem = f"the signed document has {len(data)} bytes; {limit} are allowed"
            raise TrustError("size", problem)
        try:
            parsed = _parse(data)
        except ValueError as error:
            raise TrustError("envelope", f"the signed document is malformed: {error}") from error
        if parsed.payload_type not in types:
            problem = f"a document of type {parsed.payload_type[:100]!r} does not belong here"
            raise TrustError("type", problem)
        if not parsed.signatures:
            raise TrustError("signature", "the document carries no signature")
        return parsed

    def pae(self) -> bytes:
        """Return the bytes that signatures cover: the pre-authentication encoding."""
        return encode_pae(self.payload_type, self.payload)

    def encode(self) -> bytes:
        """Return the envelope's one form."""
        return canonical(
            {
                "payload": _base64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": keyid, "sig": _base64(signature)}
                    for keyid, signature in self.signatures.items()
                ],
            }
        )


def seal(payload_type: str, payload: bytes, signer: Signer) -> bytes:
    """Return ``payload`` in an envelope signed by ``signer``."""
    signature = signer.sign(encode_pae(payload_type, payload))
    return Envelope(payload_type, payload, {signer.keyid: signature}).encode()


def encode_pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of type and payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _parse(data: bytes) -> Envelope:
    once = _SIGNED_ONCE.fullmatch(data)
    if once is not None:
        payload, kind, keyid, signature = once.groups()
        return Envelope(kind.decode(), _unbase64(payload), {keyid.decode(): _unbase64(signature)})
    return _parse_any(data)


def _parse_any(data: bytes) -> Envelope:
    outer = parse_strict(data)
    if outer.keys() != {"payload", "payloadType", "signatures"}:
        raise ValueError("it needs payload, payloadType and signatures, and nothing else")
    kind, listed = outer["payloadType"], outer["signatures"]
    if not isinstance(kind, str) or not isinstance(listed, list):
        raise ValueError("payloadType must be text and signatures a list")  # noqa: TRY004  # bad input alike
    if len(listed) > SIGNATURES_LIMIT:
        raise ValueError(f"it carries {len(listed)} signatures; {SIGNATURES_LIMIT} are allowed")
    signatures: dict[str, bytes] = {}
    for entry in listed:
        keyid, signature = _parse_signature(entry)
        if keyid in signatures:
            raise ValueError("it names a keyid twice")
        signatures[keyid] = signature
    parsed = Envelope(kind, decode_base64(outer["payload"]), signatures)
    if parsed.encode() != data:
        raise ValueError("it is not in the one form of an envelope")
    return parsed


def _parse_signature(entry: Any) -> tuple[str, bytes]:
    if not isinstance(entry, dict) or entry.keys() != {"keyid", "sig"}:
        raise ValueError("a signature needs keyid and sig, and nothing else")
    keyid = entry["keyid"]
    if not isinstance(keyid, str) or not _KEYID.fullmatch(keyid):
        raise ValueError("a keyid must be 64 hexadecimal digits")
    return keyid, decode_base64(entry["sig"])


def _unbase64(text: bytes) -> bytes:
    """Return the bytes of base64. Raises ValueError unless it is the one form of them."""
    data = a2b_base64(text)
    if b2a_base64(data, newline=False) != text:
        raise ValueError("it is not the one base64 form of its bytes")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
