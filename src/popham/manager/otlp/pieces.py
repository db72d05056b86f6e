"""Requests as pieces: one record each, with what stands around it, all as protobuf.

A request is not parsed whole, for a record that cannot be parsed would take its neighbours with it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.json_format import ParseDict, ParseError

from popham.errors import WireError
from popham.manager.data.wire_walk import BrokenError, fields, find
from popham.manager.otlp.signals import Signal

_IDS: Final = frozenset({"traceId", "spanId"})
"""What JSON has as hexadecimal digits. Source: OTLP 1.9, JSON Protobuf Encoding."""
_BESIDE: Final = frozenset({1, 3})
"""Fields of a part, and of a scope, beside their list: the resource or scope, and the URL of a schema."""
_DEPTH: Final = 64
"""How deep values may be nested. Source: 100, protobuf's own bound."""
_UNSOUND: Final = (ParseError, ValueError, TypeError, AttributeError, RecursionError)
"""What the library raises for JSON that is no message; which of them is not said."""


class Piece(NamedTuple):
    """One record, or metric.

    Attributes:
        part: What stands around it and others of its resource, encoded; None if that is malformed.
        scope: Likewise of its scope.
        data: Itself, encoded; None if it is malformed.
    """

    part: bytes | None
    scope: bytes | None
    data: bytes | None


def walk(body: bytes) -> Iterator[Piece]:
    """Yield the pieces of a request in protobuf.

    Raises:
        WireError: ``wire.malformed``: it is none.
    """
    try:
        for part in find(memoryview(body), 1):
            yield from _walk_part(part)
    except BrokenError:
        raise malformed("it is no protobuf message") from None


def walk_json(body: bytes, signal: Signal) -> Iterator[Piece]:
    """Yield the pieces of a request in JSON. Raises as :func:`walk`."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(f"it is no JSON: {error}") from None
    parts, scopes, items = signal.names
    if not isinstance(request, dict):
        raise malformed("it is no JSON object")
    for part in _objects(request, parts):
        around = _encode(part, signal.part, without=scopes)
        for scope in _objects(part, scopes):
            inner = _encode(scope, signal.scope, without=items)
            for item in _objects(scope, items):
                yield Piece(around, inner, _encode(item, signal.item))


def write_field(number: int, data: bytes) -> bytes:
    """Return a field of protobuf that has a length."""
    size, length = len(data), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((number << 3 | 2, *length, size)) + data


def malformed(why: str) -> WireError:
    """Return the fault of a request that is none."""
    return WireError("malformed", f"The request cannot be read: {why}", "Send OTLP")


def _walk_part(part: memoryview) -> Iterator[Piece]:
    try:
        around = _around(part)
        for scope in find(part, 2):
            yield from _walk_scope(around, scope)
    except BrokenError:
        yield Piece(None, None, None)


def _walk_scope(around: bytes, scope: memoryview) -> Iterator[Piece]:
    try:
        inner = _around(scope, lenient=True)
        for item in find(scope, 2):
            yield Piece(around, inner, bytes(item))
    except BrokenError:
        yield Piece(around, None, None)


def _around(message: memoryview, *, lenient: bool = False) -> bytes:
    """Return what a message has beside its list; with ``lenient`` as far as it can be read."""
    found: list[bytes] = []
    try:
        for number, data in fields(message):
            if number in _BESIDE:
                found.append(write_field(number, bytes(data)))
    except BrokenError:
        if not lenient:
            raise
    return b"".join(found)


def _objects(found: Any, name: str) -> Iterator[Any]:
    """Yield what stands in a list of an object; nothing if it has none, or is none."""
    listed = found.get(name) if isinstance(found, dict) else None
    yield from listed if isinstance(listed, list) else ()


def _encode(found: Any, kind: Any, *, without: str = "") -> bytes | None:
    """Return an object as an encoded message, without one of its lists; None if it is malformed."""
    if not isinstance(found, dict):
        return None
    try:
        plain = {name: _convert(value, 0) for name, value in found.items() if name != without}
        plain = {name: _id(value) if name in _IDS else value for name, value in plain.items()}
        return bytes(ParseDict(plain, kind(), ignore_unknown_fields=True).SerializeToString())
    except _UNSOUND:
        return None


def _convert(found: Any, depth: int) -> Any:
    """Return a value with the ids in it as the library reads them."""
    if depth > _DEPTH:
        raise ValueError("it is nested too deep")
    if isinstance(found, list):
        return [_convert(value, depth + 1) for value in found]
    if isinstance(found, dict):
        return {
            name: _id(value) if name in _IDS else _convert(value, depth + 1) for name, value in found.items()
        }
    return found


def _id(found: Any) -> str:
    return b64encode(bytes.fromhex(found)).decode()
