"""Strict reading of JSON and base64: one meaning, one form.

Two readers that understand the same bytes differently are how a signature
ends up covering something else than what is obeyed.  So what JSON leaves open
is refused here: duplicate keys, NaN and infinities, other encodings than
UTF-8, unused bits in base64.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any, NoReturn


def parse_strict(data: bytes) -> dict[str, Any]:
    """Return the JSON object in ``data``.

    Raises:
        ValueError: It is no JSON object in UTF-8, names a key twice, holds a
            number that is not finite, or is nested too deeply.
    """
    try:
        value = _READER.decode(data.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  # callers treat all bad input alike
    return value


def decode_base64(text: object) -> bytes:
    """Return the bytes of standard base64 with padding.

    Raises:
        ValueError: It is no text, or not the one form of these bytes.
    """
    if not isinstance(text, str):
        raise ValueError("base64 must be text")  # noqa: TRY004  # callers treat all bad input alike
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("it is not the one base64 form of its bytes")
    return data


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64url(text: object) -> bytes:
    """Return the bytes of base64url without padding.

    Raises:
        ValueError: It is no text, or not the one form of these bytes.
    """
    if not isinstance(text, str):
        raise ValueError("base64url must be text")  # noqa: TRY004  # callers treat all bad input alike
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode_base64url(data) != text:
        raise ValueError("it is not the one base64url form of its bytes")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it names a key twice")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large for a number")
    return value


_READER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
"""Made once: making one costs more than reading a small document."""
