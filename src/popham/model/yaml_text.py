"""YAML text that :mod:`popham.model.documents` reads back as the same value, and that people like to read.

Rules:

1. Keys stand in the order given; mappings and lists are written in lines, texts of several lines as blocks.
2. A text stands without quotes only where it reads back as that text.
3. One value has one text, so that a file changes only if the value does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9 ._/@+=-]{0,119}|[0-9]{1,9}(\.[0-9]{1,9})?[smhd]")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_BLOCK = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]*")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def write_yaml(value: Mapping[str, Any]) -> str:
    """Return ``value`` as one YAML document; it holds what JSON can hold."""
    return "".join(f"{line}\n" for line in _mapping(value, ""))


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, held in value.items():
        yield from _entry(f"{indent}{_scalar(key)}:", held, indent)


def _entry(head: str, held: Any, indent: str) -> Iterator[str]:
    """Yield what stands under a key; ``head`` is the key with its colon."""
    if isinstance(held, Mapping) and held:
        yield head
        yield from _mapping(held, f"{indent}  ")
    elif isinstance(held, list | tuple) and held:
        yield head
        yield from _list(held, f"{indent}  ")
    else:
        yield from _leaf(head, held, f"{indent}  ")


def _list(value: list[Any] | tuple[Any, ...], indent: str) -> Iterator[str]:
    for held in value:
        inner = f"{indent}  "
        if isinstance(held, Mapping) and held:
            # The first key stands beside the dash.
            lines = _mapping(held, inner)
            yield f"{indent}- {next(lines)[len(inner) :]}"
            yield from lines
        elif isinstance(held, list | tuple) and held:
            lines = _list(held, inner)
            yield f"{indent}- {next(lines)[len(inner) :]}"
            yield from lines
        else:
            yield from _leaf(f"{indent}-", held, inner)


def _leaf(head: str, held: Any, indent: str) -> Iterator[str]:
    if isinstance(held, Mapping):
        yield f"{head} {{}}"
    elif isinstance(held, list | tuple):
        yield f"{head} []"
    elif isinstance(held, str) and _is_block(held):
        body = held.removesuffix("\n")
        mark = "|" if held.endswith("\n") else "|-"
        yield f"{head} {mark}"
        yield from (f"{indent}{line}" if line else "" for line in body.split("\n"))
    else:
        yield f"{head} {_scalar(held)}"


def _is_block(text: str) -> bool:
    """Return whether ``text`` reads back from a block: its first line has no blank in front, its end one break at most."""
    lines = text.removesuffix("\n").split("\n")
    return (
        "\n" in text
        and bool(_BLOCK.fullmatch(text))
        and lines[0][:1] not in {"", " ", "\t"}
        and bool(lines[-1])
    )


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and not value.endswith(" ") and value.lower() not in _WORDS
        return value if plain else _quoted(value)
    return json.dumps(value, allow_nan=False)


def _quoted(text: str) -> str:
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))
