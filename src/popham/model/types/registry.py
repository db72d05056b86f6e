"""All policy types by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from popham.model.types.collect import COLLECT
from popham.model.types.custom import CUSTOM
from popham.model.types.files import FILES
from popham.model.types.kind import PolicyType
from popham.model.types.otelcol import OTELCOL

TYPES: Final[Mapping[str, PolicyType]] = {one.name: one for one in (FILES, OTELCOL, COLLECT, CUSTOM)}
"""Name → policy type."""
STOCK_TYPES: Final = frozenset(name for name, one in TYPES.items() if one.stock)
"""Types that stock agents receive, as configuration objects."""
