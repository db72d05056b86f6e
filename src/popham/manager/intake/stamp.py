"""What stands before each frame in the intake's segments: when it came, and how the agent's clock stood then.

It begins with a mark, drawn for each segment.  Agents do not know it: so where something rotted or was torn, no frame
is found that an agent wrote into a payload.
"""

from __future__ import annotations

import struct
from typing import Final

MARK: Final = 8
"""Bytes of a mark."""
_STAMP: Final = struct.Struct(f">{MARK}sqq")
STAMP: Final = _STAMP.size
"""Bytes of a stamp."""
_NANO: Final = 1_000_000_000
_UNKNOWN: Final = -(1 << 63)


def encode_stamp(mark: bytes, received: float, skew: float | None) -> bytes:
    """Return a stamp: unix seconds, and the seconds that the agent's clock was ahead of ours, None if unknown."""
    return _STAMP.pack(mark, round(received * _NANO), _UNKNOWN if skew is None else round(skew * _NANO))


def decode_stamp(data: bytes) -> tuple[float, float | None]:
    """Return what :func:`encode_stamp` was given beside the mark."""
    _, received, skew = _STAMP.unpack(data)
    return received / _NANO, None if skew == _UNKNOWN else skew / _NANO
