"""Payloads as they are kept: compressed where that helps, and never larger than they say."""

from __future__ import annotations

import sys
from typing import Final

from popham.errors import StreamError
from popham.streams.frame import PAYLOAD_LIMIT, RATIO, Codec, Frame, damaged

if sys.version_info >= (3, 14):  # pragma: no cover - the library's own since then
    from compression import zstd
else:
    from backports import zstd

LEVEL: Final = 1
"""Level of compression: the fastest that still looks for repeats. Logs shrink to a tenth by it."""
SMALL: Final = 128
"""Bytes up to which compressing saves nothing."""


def pack(payload: bytes) -> tuple[Codec, bytes]:
    """Return how a payload is kept, and that.

    Raises:
        StreamError: ``stream.large``: it cannot be kept in one frame.
    """
    packed = zstd.compress(payload, level=LEVEL) if len(payload) > SMALL else payload
    codec = Codec.ZSTD
    if len(packed) >= len(payload) or len(payload) > max(len(packed), 1024) * RATIO:
        # What grows more than a reader lets it grow is kept as it is.
        codec, packed = Codec.PLAIN, payload
    if len(packed) > PAYLOAD_LIMIT:
        problem = f"a payload of {len(payload)} bytes does not fit into one frame"
        raise StreamError("large", problem, "Append fewer records at once")
    return codec, packed


def unpack(frame: Frame) -> bytes:
    """Return a frame's payload as it was appended.

    Raises:
        StreamError: ``stream.damaged``: it is not what its head says.
    """
    if frame.head.codec is Codec.PLAIN:
        found = frame.payload
    else:
        try:
            # One byte more than it says, so that a longer one is seen.
            reader = zstd.ZstdDecompressor()
            found = reader.decompress(frame.payload, max_length=frame.head.size + 1)
        except zstd.ZstdError as error:
            raise damaged("its payload cannot be decompressed") from error
        if not reader.eof and len(found) <= frame.head.size:
            raise damaged("its payload ends early")
    if len(found) != frame.head.size:
        raise damaged("its payload is longer or shorter than its head says")
    return found
