"""Foreign text on a terminal: made harmless, measured, laid out in columns.

Names, errors and facts come from other machines. Nothing of them may move a
cursor, set a title, or turn the reading direction (SEC-13).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that are shown as escapes: controls, formats, separators of lines."""
GAP = "  "
_LINE = 160
"""Characters of a long text, where a line has to be enough."""


def clean(text: object) -> str:
    r"""Return ``text`` on one line, with control and format characters as ``\x1b``.

    Letters of every script stay as they are.
    """
    return "".join(_escape(mark) if unicodedata.category(mark) in _UNSAFE else mark for mark in str(text))


def clean_lines(text: str) -> str:
    """Return ``text`` with its lines kept and everything else made harmless."""
    return "\n".join(clean(line).replace("\\t", "    ") for line in text.split("\n"))


def brief(text: str) -> str:
    """Return the first line of a text, and no more of it than a table has room for."""
    first, *rest = text.splitlines() or [""]
    return f"{first[:_LINE].rstrip()}…" if rest or len(first) > _LINE else first


def clean_json(text: str) -> str:
    """Return JSON with what :func:`clean` would escape written as JSON's own escapes, which mean the same."""
    return "".join(_escape_json(mark) if _is_unsafe_in_json(mark) else mark for mark in text)


def width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes."""
    wide = sum(1 for mark in text if unicodedata.east_asian_width(mark) in {"W", "F"})
    combining = sum(1 for mark in text if unicodedata.combining(mark))
    return len(text) + wide - combining


def pad(text: str, columns: int) -> str:
    """Return ``text`` with spaces up to ``columns``."""
    return text + " " * (columns - width(text))


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return how wide each column must be for all of ``rows``."""
    return [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, their cells under one another."""
    sizes = widths(rows)
    return [GAP.join(map(pad, row, sizes)).rstrip() for row in rows]


def _is_unsafe_in_json(mark: str) -> bool:
    return mark != "\n" and unicodedata.category(mark) in _UNSAFE


def _escape(mark: str) -> str:
    return mark.encode("unicode_escape", "surrogatepass").decode("ascii")


def _escape_json(mark: str) -> str:
    data = mark.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[at] << 8 | data[at + 1]:04x}" for at in range(0, len(data), 2))
