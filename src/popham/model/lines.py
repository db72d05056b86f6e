"""Values that remember on which line of a file they stood.

Checks ask :func:`line_of` when they refuse something; values that came from
no file have no line, and the same checks serve them.
"""

from __future__ import annotations

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
