"""Durations as people write them: ``30s``, ``5m``, ``2h``, ``24h``, ``7d``."""

from __future__ import annotations

import re

from popham.errors import DefinitionError
from popham.model.names import show

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|m|h|d)")
_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object, setting: str) -> float:
    """Return seconds for ``30s``, ``5m``, ``2h``, ``24h`` or ``7d``.

    Raises:
        DefinitionError: It has no unit, or is no duration at all.
    """
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        problem = f"{setting}: {show(value)} is not a duration"
        raise DefinitionError("duration", problem, "Write a number and s, m, h or d: 30s, 5m, 2h, 24h")
    return float(match[1]) * _UNIT[match[2]]


def show_duration(seconds: float) -> str:
    """Return ``5m`` for 300.0: the largest unit that gives a whole number."""
    for unit in ("d", "h", "m"):
        if seconds >= _UNIT[unit] and seconds % _UNIT[unit] == 0:
            return f"{int(seconds // _UNIT[unit])}{unit}"
    return f"{seconds:g}s"
