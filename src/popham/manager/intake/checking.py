"""Whether frames are what they say, and this agent's: in the order of length, form, CRC, digest, signature."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from popham.errors import StreamError, TrustError
from popham.streams.frame import HEAD, SIGNATURE, Head, Stream, damaged
from popham.trust.keys import PublicKey
from popham.upstream.intake import APPEND_FRAMES

KEYS = 1024
"""Keys that are kept ready: reading one takes a sixth of the time of a verification."""
_HALF = SIGNATURE // 2


def read_heads(data: bytes, uid: bytes, stream: Stream) -> tuple[Head, ...]:
    """Return the heads of the frames that ``data`` consists of: a few microseconds for each.

    Raises:
        StreamError: ``stream.damaged``, ``stream.short``, ``stream.many``, ``stream.signature``: as
            :meth:`popham.upstream.intake.Intake.append` says.
    """
    view, at = memoryview(data), 0
    heads: list[Head] = []
    while at < len(view):
        if len(heads) == APPEND_FRAMES:
            raise StreamError("many", f"there are more than {APPEND_FRAMES} frames at once", "Send fewer")
        head = Head.decode(view[at : at + HEAD])
        if len(view) - at < head.total:
            problem = f"a frame has {head.total} bytes, and here are {len(view) - at}"
            raise StreamError("short", problem)
        if head.uid != uid or head.stream is not stream:
            raise _forged("a frame is another agent's, or of another stream")
        if heads and (head.epoch != heads[-1].epoch or head.first < heads[-1].end):
            raise damaged("it is of another epoch than the one before it, or not in order")
        heads.append(head)
        at += head.total
    return tuple(heads)


class Verifier:
    """Verifies payloads and signatures; most of its time is spent outside the interpreter's lock."""

    def __init__(self) -> None:
        self._key = lru_cache(KEYS)(PublicKey.from_der)

    def verify(self, heads: Sequence[Head], data: bytes, keys: Sequence[bytes]) -> None:
        """Return if each payload fits its digest, and each head is signed by one of ``keys``, given as DER.

        Raises:
            StreamError: ``stream.damaged``, ``stream.signature``.
        """
        view, at = memoryview(data), 0
        for head in heads:
            signed, signature = view[at : at + HEAD], bytes(view[at + HEAD : at + HEAD + SIGNATURE])
            payload = view[at + HEAD + SIGNATURE : at + head.total]
            if sha256(payload).digest() != head.digest:
                raise damaged("its payload does not fit its digest")
            if not any(self._is_signed(bytes(signed), signature, key) for key in keys if key):
                raise _forged("a frame is not signed by the agent that it is said to be of")
            at += head.total

    def _is_signed(self, signed: bytes, signature: bytes, der: bytes) -> bool:
        try:
            key = self._key(der)
            key.verify(_encode(key, signature), signed)
        except TrustError:
            return False
        return True


def _encode(key: PublicKey, signature: bytes) -> bytes:
    """Return a signature as the library wants it: r and s of a P-256 key stand there one after the other."""
    if not isinstance(key.crypto, EllipticCurvePublicKey):
        return signature
    if not isinstance(key.crypto.curve, SECP256R1):
        raise TrustError("key", "frames are signed by P-256 or Ed25519 keys")
    r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
    return encode_dss_signature(r, s)


def _forged(problem: str) -> StreamError:
    return StreamError("signature", problem, "Look at who speaks for this agent")
