"""A subset of JSON Schema: enough to say what a policy's data may be, small enough for an agent.

Rules:

1. What people may write is :data:`WORDS`; a word that would be ignored is refused, since it would promise a
   check that nobody makes.
2. No patterns: a machine must not be held up by somebody's regular expression.  Our own schemas
   (:mod:`popham.model.types`) also use ``pattern``, ``oneOf``, ``minItems`` and ``minProperties``.
3. Numbers are compared as JSON knows them: ``1.0`` is an integer, ``true`` is none.

Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from popham.errors import DefinitionError
from popham.model.lines import line_of
from popham.model.names import nearest, show

Place = tuple[str | int, ...]
"""Where a value stands in a document: keys and indexes from the top."""
KINDS: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
WORDS: Final = frozenset(
    {
        "type",
        "properties",
        "required",
        "enum",
        "items",
        "minimum",
        "maximum",
        "maxLength",
        "additionalProperties",
        "writeOnly",
        "title",
        "description",
        "default",
    }
)
"""Words of a user's own schema. ``writeOnly`` marks a secret; the last three are for people."""
MAX_DEPTH: Final = 32
"""Levels of a schema."""
MAX_ENUM: Final = 1000
"""Values of one ``enum``; each value of the data may be compared with all of them."""


def find_fault(value: object, schema: Mapping[str, Any] | bool) -> tuple[Place, str] | None:
    """Return where ``value`` does not fit ``schema`` and why, as part of a sentence; None if it fits.

    Args:
        value: JSON data.
        schema: A schema that :func:`check_schema` took, or one of our own.
    """
    return next(_faults(value, schema, ()), None)


def check_schema(schema: object) -> None:
    """Return if ``schema`` is one in which every word has a meaning here.

    Raises:
        DefinitionError: ``definition.schema``.
    """
    _check(schema, "schema", 1)


def find_secrets(value: object, schema: object, place: Place = ()) -> Iterator[Place]:
    """Yield where ``value`` holds what its schema marks as ``writeOnly``."""
    if not isinstance(schema, Mapping):
        return
    if schema.get("writeOnly") is True:
        yield place
    elif isinstance(value, Mapping):
        for key, held in value.items():
            below = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            yield from find_secrets(held, below, (*place, key))
    elif isinstance(value, list):
        for number, held in enumerate(value):
            yield from find_secrets(held, schema.get("items"), (*place, number))


# Reading a schema.


def _check(schema: object, where: str, depth: int) -> None:
    if not isinstance(schema, Mapping):
        raise _wrong(f"{where} is no mapping", "Write words of JSON Schema and their values", schema)
    if depth > MAX_DEPTH:
        raise _wrong(f"{where} is nested deeper than {MAX_DEPTH} levels", "Make it flatter", schema)
    for word, given in schema.items():
        if word not in WORDS:
            problem = f"{where}: {show(word)} has no meaning here"
            raise _wrong(problem, nearest(str(word), WORDS), schema, word)
        test, expected = _FORMS[word]
        if not test(given):
            raise _wrong(f"{where}.{word}: {show(given)} is not {expected}", "Correct it", schema, word)
    for key, below in schema.get("properties", {}).items():
        _check(below, f"{where}.properties.{key}", depth + 1)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), Mapping):
            _check(schema[word], f"{where}.{word}", depth + 1)


def _wrong(problem: str, hint: str, schema: object, word: str | None = None) -> DefinitionError:
    return DefinitionError("schema", problem, hint, line=line_of(schema, word))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value) and _differ(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_kind(value: object) -> bool:
    kinds = value if isinstance(value, list) and value else [value]
    return all(isinstance(kind, str) and kind in KINDS for kind in kinds) and _differ(kinds)


def _differ(texts: Sequence[Any]) -> bool:
    """Return whether no text stands twice: each of them costs time for each value."""
    return len(set(texts)) == len(texts)


def _is_anything(_value: object) -> bool:
    return True


_FORMS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "type": (_is_kind, f"one of {', '.join(KINDS)}, or a list of them"),
    "properties": (lambda value: isinstance(value, Mapping), "a mapping of key to schema"),
    "required": (_is_names, "a list of keys, each once"),
    "enum": (
        lambda value: isinstance(value, list) and 0 < len(value) <= MAX_ENUM,
        f"a list of 1 to {MAX_ENUM} values",
    ),
    "items": (lambda value: isinstance(value, Mapping), "a schema"),
    "minimum": (_is_number, "a number"),
    "maximum": (_is_number, "a number"),
    "maxLength": (_is_size, "a number of characters"),
    "additionalProperties": (lambda value: isinstance(value, bool | Mapping), "true, false or a schema"),
    "writeOnly": (lambda value: isinstance(value, bool), "true or false"),
    "title": (_is_text, "text"),
    "description": (_is_text, "text"),
    "default": (_is_anything, ""),
}
"""Word → what its value must be."""


# Comparing a value with it.


def _faults(value: object, schema: Mapping[str, Any] | bool, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(schema, bool):
        if not schema:
            yield place, "may not stand here"
        return
    kinds = schema.get("type", KINDS)
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is_of(value, kind) for kind in kinds):
        yield place, f"{show(value)} is not of type {' or '.join(kinds)}"
        return
    # What Python calls different JSON does too, and looking for it there takes a fraction of the time.
    enum = schema.get("enum")
    if enum is not None and not (value in enum and any(_equal(value, one) for one in enum)):
        yield place, f"{show(value)} is not one of {show(schema['enum'])}"
    branches = schema.get("oneOf")
    if branches and sum(next(_faults(value, branch, place), None) is None for branch in branches) != 1:
        yield place, "fits none, or several, of its forms"
    if isinstance(value, str):
        yield from _text_faults(value, schema, place)
    elif isinstance(value, Mapping):
        yield from _object_faults(value, schema, place)
    elif isinstance(value, list):
        yield from _array_faults(value, schema, place)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_faults(value, schema, place)


def _number_faults(value: float, schema: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str]]:
    if "minimum" in schema and value < schema["minimum"]:
        yield place, f"{show(value)} is less than {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield place, f"{show(value)} is more than {schema['maximum']}"


def _array_faults(value: list[Any], schema: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str]]:
    if len(value) < schema.get("minItems", 0):
        yield place, f"has fewer than {schema['minItems']} entries"
    for number, held in enumerate(value):
        yield from _faults(held, schema.get("items", True), (*place, number))


def _text_faults(value: str, schema: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str]]:
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield place, f"has {len(value)} characters, and may have {schema['maxLength']}"
    # In JSON Schema a final $ is the very end; in Python it may stand before a line feed.
    if "pattern" in schema and not re.search(schema["pattern"].removesuffix("$") + r"\Z", value):
        yield place, f"{show(value)} is not of the form {schema['pattern']}"


def _object_faults(
    value: Mapping[Any, Any], schema: Mapping[str, Any], place: Place
) -> Iterator[tuple[Place, str]]:
    for key in schema.get("required", ()):
        if key not in value:
            yield place, f"has no {key!r}"
    if len(value) < schema.get("minProperties", 0):
        yield place, "is empty"
    properties = schema.get("properties", {})
    for key, held in value.items():
        if key in properties:
            yield from _faults(held, properties[key], (*place, key))
        elif schema.get("additionalProperties") is False:
            yield place, f"has no key {show(key)}"
        else:
            yield from _faults(held, schema.get("additionalProperties", True), (*place, key))


def _is_of(value: object, kind: str) -> bool:
    if kind == "integer":
        return _is_number(value) and (not isinstance(value, float) or value.is_integer())
    if kind == "number":
        return _is_number(value)
    python = {"object": Mapping, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, python[kind])


def _equal(one: object, other: object) -> bool:
    """Return whether two values are the same JSON; ``1`` and ``1.0`` are, ``1`` and ``true`` are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return one == other
