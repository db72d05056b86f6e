"""What stock agents are given: their policies as configuration objects.

Text is written so that every YAML reader understands it alike: all strings are
quoted, so no version of YAML takes ``yes`` for true or ``0644`` for 420.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from popham.model.names import canonical, digest
from popham.model.policy import STOCK_TYPES, Policy
from popham.upstream.record import ConfigObject

CONTENT_TYPE = "text/yaml"
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def stock_config(policies: Iterable[Policy]) -> tuple[dict[str, ConfigObject], bytes]:
    """Return the config map of a stock agent, and its hash (SHA-256).

    Args:
        policies: The resolved policies of its group; types that stock agents do
            not receive are left out.

    Without any such policy the map is empty and so is the hash: there is
    nothing to offer, and nothing that such an agent lacks.
    """
    objects = {
        policy.name: ConfigObject(write_yaml(policy.body["config"]).encode(), CONTENT_TYPE)
        for policy in policies
        if policy.type in STOCK_TYPES
    }
    if not objects:
        return {}, b""
    parts = {name: [held.content_type, digest(held.body)] for name, held in objects.items()}
    return objects, sha256(canonical(parts)).digest()


def write_yaml(value: Any) -> str:
    """Return ``value`` (JSON data) as YAML in block style, keys in their order."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping) and value:
        found = []
        for key, held in value.items():
            found += _entry(f"{_key(key)}:", held)
        return found
    if isinstance(value, list | tuple) and value:
        found = []
        for held in value:
            lines = _lines(held)
            found += [f"- {lines[0]}", *(f"  {line}" for line in lines[1:])]
        return found
    return [_scalar(value)]


def _entry(head: str, value: Any) -> list[str]:
    lines = _lines(value)
    if value and isinstance(value, Mapping | list | tuple):
        return [head, *(f"  {line}" for line in lines)]
    return [f"{head} {lines[0]}"]


def _key(key: str) -> str:
    plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _WORDS
    return key if plain else _quote(key)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, float):
        # YAML 1.1 wants a point in a number with an exponent.
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")
    return json.dumps(value)


def _quote(text: str) -> str:
    found = json.dumps(text, ensure_ascii=False)
    if found.isprintable():
        return found
    return "".join(part if part.isprintable() else f"\\U{ord(part):08x}" for part in found)
