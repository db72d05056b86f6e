"""Names of objects, and the digests that identify documents.

A name never becomes a path by itself, yet it is kept to what would be safe
as one (SEC-6).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from popham.errors import DefinitionError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME_MAX = 64
"""Characters of a name."""
_OTHERS = re.compile(r"[^a-z0-9._-]+")
DEFAULT_TENANT = "default"
ROOT_GROUP = "fleet"
DEFAULT_LOCATION = "default"


def check_name(name: object, what: str) -> str:
    """Return ``name`` if it may name a ``what``.

    Raises:
        DefinitionError: It is not lower-case letters, digits, ``.``, ``_`` or
            ``-``, at most 64 of them, beginning with a letter or digit.
    """
    if isinstance(name, str) and NAME.fullmatch(name):
        return name
    problem = f"{show(name)} cannot be the name of a {what}"
    hint = "Use 1 to 64 lower-case letters, digits, '.', '_' or '-', beginning with a letter or digit"
    raise DefinitionError("name", problem, hint)


def make_legal(text: str) -> str:
    """Return ``text`` in the letters that names have, however long; empty if nothing is left of it."""
    return _OTHERS.sub("-", text.lower()).strip("-._")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``Did you mean 'x'?`` for the most similar known name, or the known names."""
    names = sorted(map(str, known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known here: {', '.join(names)}" if names else ""


def show(value: object) -> str:
    """Return ``value`` as it stands in a sentence: quoted, and cut to 80 characters."""
    text = repr(value[:80]) if isinstance(value, str) and len(value) > 80 else repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def canonical(value: Any) -> bytes:
    """Return the one JSON form whose digest identifies ``value``.

    Sorted keys, no spaces, UTF-8, no NaN.
    """
    return _WRITER.encode(value).encode()


def parse_json(data: bytes) -> Any:
    """Return what strict JSON says (SEC-49).

    Raises:
        ValueError: It is no JSON, has a key twice, a number that is not
            finite, or is nested too deeply.
    """
    try:
        return _READER.decode(data.decode(json.detect_encoding(data), "surrogatepass"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


# Made once: making one costs more than reading a small document.
_READER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
_WRITER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
