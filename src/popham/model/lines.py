"""Values that remember on which line of a file they stood.

Checks ask :func:`line_of` when they refuse something; values that came from
no file have no line, and the same checks serve them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class LinedDict(dict[str, Any]):
    """A mapping as it stood in a file.

    Attributes:
        line: Line on which it begins, from 1.
        lines: Key → line of that key.
    """

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}

    def without(self, *keys: str) -> LinedDict:
        """Return a copy that lacks ``keys`` and keeps the lines."""
        found = LinedDict(self.line)
        found.update((key, value) for key, value in self.items() if key not in keys)
        found.lines = self.lines
        return found


def line_of(held: object, key: str | None = None) -> int:
    """Return the line of ``key`` in ``held``, else of ``held`` itself; 0 if it came from no file."""
    if not isinstance(held, LinedDict):
        return 0
    return held.line if key is None else held.lines.get(key, held.line)


def line_at(held: Any, place: Sequence[str | int]) -> int:
    """Return the line of the innermost key on the way to ``place`` that has one; 0 if none has."""
    line = 0
    for key in place:
        line = line_of(held, key if isinstance(key, str) else None) or line
        held = held[key]
    return line_of(held) or line
