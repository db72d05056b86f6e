"""Lines as OTLP: the bytes of an ``ExportLogsServiceRequest``, put together by hand.

The records of one file differ in their body only, so all bytes before a body depend on nothing but its length: they
are made once for each length, and a payload is one join.  The library takes more than ten times as long for a line; a
test reads with it what is written here.

Source: opentelemetry-proto 1.9, logs/v1/logs.proto; protobuf's encoding of varints and of length-delimited fields.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

RECORD_LIMIT: Final = 256 * 1024
"""Bytes of a record as it is encoded."""
SCOPE: Final = "popham.tail"
CUT: Final = "popham.cut"
"""Attribute of a record that is not whole: how many bytes were left out."""
_FIXED: Final = struct.Struct("<BQBQ")
_LENGTHS: Final = 16
"""Bytes that tags and lengths of a record, its body and its value take at most."""
_CUT_ROOM: Final = 32
"""Bytes that :data:`CUT` takes at most."""


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it; not negative."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def field(tag: int, data: bytes) -> bytes:
    """Return a length-delimited field; ``tag`` is its number and wire type."""
    return bytes((tag,)) + varint(len(data)) + data


def attributes(tag: int, values: Mapping[str, str | int]) -> bytes:
    """Return attributes as fields ``tag`` of what has them."""
    fields = []
    for key, value in values.items():
        said = (
            b"\x18" + varint(value)
            if isinstance(value, int)
            else field(0x0A, value.encode("utf-8", "replace"))
        )
        fields.append(field(tag, field(0x0A, key.encode("utf-8", "replace")) + field(0x12, said)))
    return b"".join(fields)


class Heads(dict[int, bytes]):
    """What stands before a body in the records of one file, by the length of the body.

    Attributes:
        over: Bytes that a record has beside its body, at most.
        longest: Bytes of a body, at most.
    """

    def __init__(self, at: int, labels: bytes) -> None:
        """Prepare for records of the moment ``at``, unix nanoseconds, with ``labels``, made by :func:`attributes`."""
        super().__init__()
        self._before = _FIXED.pack(0x09, at, 0x59, at) + labels
        self.over = len(self._before) + _LENGTHS
        self.longest = RECORD_LIMIT - self.over - _CUT_ROOM

    def __missing__(self, length: int) -> bytes:
        head = self[length] = self.head(length)
        return head

    def head(self, length: int, left_out: int = 0) -> bytes:
        """Return what stands before a body of ``length`` bytes of which ``left_out`` are not there."""
        before = self._before + (attributes(0x32, {CUT: left_out}) if left_out else b"")
        value = b"\x0a" + varint(length)
        before += b"\x2a" + varint(len(value) + length) + value
        return b"\x12" + varint(len(before) + length) + before


def encode_lines(heads: Heads, lines: Sequence[bytes], cut: Mapping[int, int]) -> list[bytes]:
    """Return the parts of the records of ``lines``, to be joined.

    Args:
        heads: Of their file.
        lines: UTF-8, none longer than ``heads.longest``.
        cut: How many bytes were left out of which line, by its place in ``lines``.
    """
    parts = list(chain.from_iterable(zip(map(heads.__getitem__, map(len, lines)), lines, strict=True)))
    for place, left_out in cut.items():
        parts[2 * place] = heads.head(len(lines[place]), left_out)
    return parts


class Envelope:
    """What stands around records in a payload: the resource, and the scope."""

    def __init__(self, resource: Mapping[str, str]) -> None:
        self._resource = field(0x0A, attributes(0x0A, resource))
        self._scope = field(0x0A, field(0x0A, SCOPE.encode()))

    def close(self, parts: Sequence[bytes]) -> bytes:
        """Return the payload of records in parts."""
        length = len(self._scope) + sum(map(len, parts))
        before = self._resource + b"\x12" + varint(length) + self._scope
        inner = b"\x0a" + varint(len(before) + length - len(self._scope)) + before
        return b"".join((inner, *parts))
