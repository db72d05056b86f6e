"""Keys of definitions: which are known, and those whose value is true or false."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from popham.errors import DefinitionError
from popham.model.lines import line_of
from popham.model.names import nearest, show


def check_keys(spec: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Return if ``spec`` has only ``known`` keys.

    Raises:
        DefinitionError: It has another; the hint names the nearest right one.
    """
    for key in spec:
        if key not in known:
            problem = f"{where} has no key {show(key)}"
            raise DefinitionError("unknown_key", problem, nearest(str(key), known), line=line_of(spec, key))


def read_flag(held: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    """Return the value of ``key``, or ``default`` if it is not written.

    Raises:
        DefinitionError: It is neither true nor false.
    """
    value = held.get(key, default)
    if not isinstance(value, bool):
        problem = f"{key}: {show(value)} is neither true nor false"
        raise DefinitionError("flag", problem, "Write true or false", line=line_of(held, key))
    return value
