"""How an agent signs its frames: when they are read to be sent, by the key whose certificate is in use then."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from popham.streams.frame import SIGNATURE
from popham.trust.keys import IdentityKey


def signer(key: IdentityKey) -> Callable[[bytes], bytes]:
    """Return what signs heads by ``key``: r and s, one after the other."""
    half = SIGNATURE // 2

    def sign(head: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(head))
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")

    return sign
