"""Sizes as people write them: ``512B``, ``64KiB``, ``1MiB``, ``2GiB``."""

from __future__ import annotations

import re

from popham.errors import DefinitionError
from popham.model.names import show

SIZE = re.compile(r"([0-9]{1,9})(B|KiB|MiB|GiB)")
_UNIT = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def parse_size(value: object, setting: str) -> int:
    """Return bytes for ``512B``, ``64KiB``, ``1MiB`` or ``2GiB``.

    Raises:
        DefinitionError: It has no unit, or is no size at all.
    """
    match = SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        problem = f"{setting}: {show(value)} is not a size"
        raise DefinitionError("size", problem, "Write a number and B, KiB, MiB or GiB: 64KiB, 1MiB")
    return int(match[1]) * _UNIT[match[2]]
