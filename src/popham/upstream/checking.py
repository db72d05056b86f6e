"""Whether frames are what they say, and this agent's: in the order of length, form, CRC, digest, signature."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from popham.errors import StreamError, TrustError
from popham.streams.frame import HEAD, SIGNATURE, Head, Stream, damaged
from popham.trust.keys import PublicKey
from popham.upstream.intake import APPEND_FRAMES

MADE: Final = b"otlp" + bytes(4)
"""Boot in the heads of frames that a Manager made itself, of what came as plain OTLP."""
KEYS = 1024
"""Keys that are kept ready: reading one takes a sixth of the time of a verification."""
_HALF = SIGNATURE // 2
_PAYLOAD = HEAD + SIGNATURE


def divide(data: bytes, uid: bytes, stream: Stream) -> list[tuple[Head, memoryview]]:
    """Return the frames that ``data`` consists of, with their heads: a few microseconds for each.

    Raises:
        StreamError: ``stream.damaged``, ``stream.short``, ``stream.many``, ``stream.signature``: as
            :meth:`popham.upstream.intake.Intake.append` says.
    """
    view, at = memoryview(data), 0
    found: list[tuple[Head, memoryview]] = []
    before: Head | None = None
    while at < len(view):
        if len(found) == APPEND_FRAMES:
            raise StreamError("many", f"there are more than {APPEND_FRAMES} frames at once", "Send fewer")
        head = Head.decode(view[at : at + HEAD])
        if len(view) - at < head.total:
            problem = f"a frame has {head.total} bytes, and here are {len(view) - at}"
            raise StreamError("short", problem)
        if head.uid != uid or head.stream is not stream:
            raise _forged("a frame is another agent's, or of another stream")
        if head.boot == MADE:
            raise _forged("a frame says that the Manager made it")
        if before is not None and (head.epoch != before.epoch or head.first < before.end):
            raise damaged("it is of another epoch than the one before it, or not in order")
        found.append((head, view[at : at + head.total]))
        before = head
        at += head.total
    return found


class Verifier:
    """Verifies payloads and signatures; most of its time is spent outside the interpreter's lock."""

    def __init__(self) -> None:
        self._key = lru_cache(KEYS)(PublicKey.from_der)

    def verify(self, head: Head, frame: memoryview, keys: Sequence[bytes]) -> None:
        """Return if a frame's payload fits its digest, and its head is signed by one of ``keys``, given as DER.

        Raises:
            StreamError: ``stream.damaged``, ``stream.signature``.
        """
        if sha256(frame[_PAYLOAD:]).digest() != head.digest:
            raise damaged("its payload does not fit its digest")
        signed, signature = bytes(frame[:HEAD]), bytes(frame[HEAD:_PAYLOAD])
        if not any(self._is_signed(signed, signature, key) for key in keys if key):
            raise _forged("a frame is not signed by the agent that it is said to be of")

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
