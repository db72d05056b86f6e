"""Walks protobuf messages without parsing them: what can be said of a payload that a parser refuses, or is too large.

One broken record makes a parser refuse the whole request that it stands in.  Walked, the request falls into its
records, and those that are sound are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_VARINT_BYTES: Final = 10


class BrokenError(ValueError):
    """These bytes are no protobuf message."""


def fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and bytes of each field of ``data`` that has a length; others are passed over.

    Raises:
        BrokenError: It is no message.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _LENGTH:
            length, at = _varint(data, at)
            if at + length > end:
                raise BrokenError
            yield key >> 3, data[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in {_FIXED64, _FIXED32}:
            at += 8 if kind == _FIXED64 else 4
            if at > end:
                raise BrokenError
        else:
            raise BrokenError


def find(data: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the bytes of each field ``number`` of ``data``.

    Raises:
        BrokenError: It is no message.
    """
    return (part for found, part in fields(data) if found == number)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise BrokenError
