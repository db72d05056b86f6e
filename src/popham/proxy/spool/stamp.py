"""What stands before each frame in a proxy's log: when it came, what its agent said beside it, and in which order.

It ends with a CRC over itself and the frame's signature: those are what neither the head's CRC nor its digest covers, and
a frame whose signature rotted would be refused above for ever.

It begins with a mark, drawn for each segment.  Agents do not know it: so where something rotted or was torn, no frame
is found that an agent wrote into a payload.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from popham.streams.frame import HEAD, SIGNATURE, damaged

MARK: Final = 8
"""Bytes of a mark."""
_STAMP: Final = struct.Struct(f">{MARK}sQqqqB")
_CRC: Final = struct.Struct(">I")
STAMP: Final = _STAMP.size + _CRC.size
"""Bytes of a stamp."""
_NANO: Final = 1_000_000_000
_UNKNOWN: Final = -1
_MOST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is noted of a frame as it comes.

    Attributes:
        number: In which order it came, over all agents; it stays where a frame is moved.
        received: When it came, unix seconds.
        now: Unix seconds by the agent's clock then; None if that is not known.
        waiting: Records that waited at the agent after it; None if that is not known.
        promised: Whether the agent is told that it is durable because it is here.
    """

    number: int
    received: float
    now: float | None
    waiting: int | None
    promised: bool

    def encode(self, mark: bytes, frame: bytes | memoryview) -> bytes:
        """Return what stands before ``frame``, beginning with ``mark``."""
        body = _STAMP.pack(
            mark,
            self.number,
            _nano(self.received),
            _UNKNOWN if self.now is None else _nano(self.now),
            _UNKNOWN if self.waiting is None else min(self.waiting, _MOST),
            self.promised,
        )
        return body + _crc(body, frame)

    @classmethod
    def decode(cls, data: bytes, frame: bytes | memoryview) -> Stamp:
        """Return what :meth:`encode` was called on. Raises StreamError ``stream.damaged``."""
        body, crc = data[: _STAMP.size], data[_STAMP.size :]
        if len(body) < _STAMP.size or _crc(body, frame) != crc:
            raise damaged("its stamp or its signature does not fit their CRC")
        _, number, received, now, waiting, promised = _STAMP.unpack(body)
        return cls(
            number,
            received / _NANO,
            None if now == _UNKNOWN else now / _NANO,
            None if waiting == _UNKNOWN else waiting,
            bool(promised),
        )


def _crc(body: bytes, frame: bytes | memoryview) -> bytes:
    return _CRC.pack(zlib.crc32(frame[HEAD : HEAD + SIGNATURE], zlib.crc32(body)))


def _nano(seconds: float) -> int:
    return min(max(round(seconds * _NANO), 0), _MOST)
