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
from popham.manager.data.wire_walk import BrokenError, fields
from popham.manager.otlp.signals import Signal

ELEMENTS: Final = 65_536
"""Resources, scopes and records of one request: they hold up the interpreter for half a second."""
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


class Budget:
    """How many resources, scopes and records a request may have in all: each takes time, and hardly a byte.

    Attributes:
        used: How many were looked at.
    """

    def __init__(self, limit: int = ELEMENTS) -> None:
        self._limit = limit
        self.used = 0

    def spend(self) -> None:
        """Look at one more. Raises WireError ``wire.too_large``."""
        self.used += 1
        if self.used > self._limit:
            problem = f"A request has at most {self._limit} resources, scopes and records"
            raise WireError("too_large", problem, "Send smaller batches")


def walk(body: bytes, budget: Budget) -> Iterator[Piece]:
    """Yield the pieces of a request in protobuf.

    Raises:
        WireError: ``wire.malformed``: it is none. ``wire.too_large``: it has too many.
    """
    request = _split(memoryview(body), 1, budget)
    if request.is_torn:
        raise malformed("it is no protobuf message")
    for part in request.items:
        found = _split(part, 2, budget)
        for scope in found.items:
            inner = _split(scope, 2, budget)
            for item in inner.items:
                yield Piece(found.around, inner.around, bytes(item))
            if inner.is_torn:
                yield Piece(found.around, inner.around, None)
        if found.is_torn:
            yield Piece(found.around, None, None)


def walk_json(body: bytes, signal: Signal, budget: Budget) -> Iterator[Piece]:
    """Yield the pieces of a request in JSON. Raises as :func:`walk`."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(f"it is no JSON: {error}") from None
    parts, scopes, items = signal.names
    if not isinstance(request, dict):
        raise malformed("it is no JSON object")
    for part in _objects(request, parts, budget):
        around = _encode(part, signal.part, without=scopes)
        for scope in _objects(part, scopes, budget):
            inner = _encode(scope, signal.scope, without=items)
            for item in _objects(scope, items, budget):
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


class _Split(NamedTuple):
    """A message taken apart: its list, what is beside it, encoded, and whether it ends in something else."""

    items: list[memoryview]
    around: bytes
    is_torn: bool


def _split(message: memoryview, number: int, budget: Budget) -> _Split:
    """Return a message, as far as it can be read, whose list is the field ``number``."""
    items: list[memoryview] = []
    around: list[bytes] = []
    is_torn = False
    try:
        for found, data in fields(message):
            if found == number:
                budget.spend()
                items.append(data)
            elif found in _BESIDE:
                around.append(write_field(found, bytes(data)))
    except BrokenError:
        is_torn = True
    return _Split(items, b"".join(around), is_torn)


def _objects(found: Any, name: str, budget: Budget) -> Iterator[Any]:
    """Yield what stands in a list of an object; nothing if it has none, or is none."""
    listed = found.get(name) if isinstance(found, dict) else None
    for one in listed if isinstance(listed, list) else ():
        budget.spend()
        yield one


def _encode(found: Any, kind: Any, *, without: str = "") -> bytes | None:
    """Return an object as an encoded message, without one of its lists; None if it is malformed."""
    if not isinstance(found, dict):
        return None
    try:
        plain = _convert({name: value for name, value in found.items() if name != without}, 0)
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
