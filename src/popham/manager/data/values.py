"""Values of OTLP as plain data: attributes as JSON, bodies as text, times that fit a column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec

LAST: Final = (1 << 63) - 1
"""The largest number that a column takes."""
_SECOND: Final = 1_000_000_000
_encode: Final = msgspec.json.Encoder().encode


def as_dict(attributes: Iterable[Any]) -> dict[str, Any]:
    """Return attributes (``KeyValue``) as plain data; of two with one key, the last counts."""
    # Nearly all are texts, and asking which of its fields a value has costs as much as all the rest.
    return {pair.key: pair.value.string_value or plain(pair.value) for pair in attributes}


def as_json(attributes: Iterable[Any]) -> str:
    """Return attributes (``KeyValue``) as a JSON object."""
    return dump(as_dict(attributes))


def dump(data: dict[str, Any]) -> str:
    """Return plain data as JSON."""
    return _encode(data).decode() if data else "{}"


def plain(value: Any) -> Any:
    """Return an ``AnyValue`` as plain data; bytes become base64, what is no number a word."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    if kind is None:
        return None
    held = getattr(value, kind)
    return str(held) if isinstance(held, float) and not math.isfinite(held) else held


def as_text(value: Any) -> str:
    """Return an ``AnyValue`` as text: a string as it is, bytes as far as they are text, other values as JSON."""
    if value.string_value:
        return str(value.string_value)
    kind = value.WhichOneof("value")
    if kind == "bytes_value":
        return bytes(value.bytes_value).decode(errors="replace")
    return "" if kind in {None, "string_value"} else _encode(plain(value)).decode()


def encode(data: dict[str, Any]) -> str:
    """Return plain data as JSON; numbers that are not finite become words."""
    return _encode({key: _finite(value) for key, value in data.items()}).decode()


def nanoseconds(seconds: float) -> int:
    """Return seconds as whole nanoseconds, as exactly as a float holds them."""
    whole, part = divmod(seconds, 1)
    return int(whole) * _SECOND + round(part * _SECOND)


def corrected(time: int, skew: int | None, received: int) -> int:
    """Return ``time`` by our clock: without the skew, and never after it was received. All in nanoseconds."""
    return max(0, min(time - (skew or 0), received))


def first_of(*times: int) -> int:
    """Return the first time that was said, in the bounds of a column; 0 if none was."""
    return min(next((time for time in times if time > 0), 0), LAST)


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
