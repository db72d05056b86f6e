"""Regular expressions of policies: only such that no line can hold a machine up.

Python's engine tries one way after the other to fit a pattern.  How many ways there are is bounded by the pattern
itself: each place where it may choose (a quantifier, an alternative) multiplies them, so does each repetition of what
may be nothing, and what is looked at of a line is bounded as well.  A pattern with too many ways is refused where it
is written.
"""

from __future__ import annotations

import re
from typing import Final

PATTERN_MAX: Final = 256
"""Characters of a pattern."""
TEXT_MAX: Final = 256
"""Characters of the beginning of a line that a pattern may look at."""
WAYS_MAX: Final = 100_000
"""Ways in which a pattern may be tried on one line: some milliseconds."""
_QUANTIFIER: Final = re.compile(r"(?:([*+?])|\{([0-9]*)(,?)([0-9]*)\})[?+]?")
_NOTHING: Final = frozenset({"^", "$", r"\b", r"\B", r"\A", r"\Z"})
"""What fits between characters."""
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_OPENING: Final = re.compile(r"\((?!\?)|\(\?:|\(\?P<[A-Za-z_][A-Za-z0-9_]{0,31}>")


def check_pattern(pattern: str) -> None:
    """Return if ``pattern`` may be tried on any line.

    Raises:
        ValueError: It is no regular expression, or one that may take too long; says why, as the end of a sentence.
    """
    if len(pattern) > PATTERN_MAX:
        raise ValueError(f"it has {len(pattern)} characters, and may have {PATTERN_MAX}")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise ValueError(str(error)) from None
    reader = _Reader(pattern)
    ways, _ = reader.read_choice()
    if reader.at < len(pattern):
        raise ValueError(f"{pattern[reader.at :][:8]!r} is not understood")
    if ways > WAYS_MAX:
        raise ValueError("it may be tried in too many ways; write how often, such as {4}, instead of * and +")


class _Reader:
    """Reads a pattern that Python takes, and counts its ways, at most one more than is allowed."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0

    def read_choice(self) -> tuple[int, bool]:
        """Return the ways of what stands until the end of a group, and whether it may be nothing.

        The ways are those of its alternatives together.
        """
        ways, empty = self._read_row()
        while self._pattern.startswith("|", self.at):
            self.at += 1
            further, nothing = self._read_row()
            ways, empty = ways + further, empty or nothing
        return _bound(ways), empty

    def _read_row(self) -> tuple[int, bool]:
        ways, empty = 1, True
        while self.at < len(self._pattern) and self._pattern[self.at] not in "|)":
            further, nothing = self._repeat(*self._read_one())
            ways, empty = _bound(ways * further), empty and nothing
        return ways, empty

    def _read_one(self) -> tuple[int, bool]:
        """Return the ways of one character, class or group, and whether it may be nothing."""
        text, at = self._pattern, self.at
        if text[at] == "(":
            opening = _OPENING.match(text, at)
            if opening is None:
                raise ValueError(f"{text[at : at + 3]!r} has no meaning here; groups begin with '(' or '(?:'")
            self.at = opening.end()
            found = self.read_choice()
            self.at += 1
            return found
        if text[at] == "[":
            held = _CLASS.match(text, at)
            self.at = held.end() if held else at + 1
            return 1, False
        if text[at] == "\\" and text[at + 1 : at + 2].isdigit():
            raise ValueError("it refers back to a group, which has no meaning here")
        one = text[at : at + 2] if text[at] == "\\" else text[at]
        self.at += len(one)
        return 1, one in _NOTHING

    def _repeat(self, ways: int, empty: bool) -> tuple[int, bool]:
        """Return the same of something under the quantifier that follows it, if one does."""
        found = _QUANTIFIER.match(self._pattern, self.at)
        if found is None or found.group(2, 3, 4) == ("", "", ""):
            return ways, empty
        self.at = found.end()
        sign, least, comma, most = found.groups()
        low = 1 if sign == "+" else 0 if sign else int(least or 0)
        high = 1 if sign == "?" else TEXT_MAX if sign else int(most) if most else TEXT_MAX if comma else low
        if ways == 1:
            # No line is long enough for more of what is something; of nothing there is always more.
            times = low if empty else 1
            return _bound(times * (min(high, TEXT_MAX) - min(low, TEXT_MAX) + 1)), empty or not low
        total, power = 0, 1
        for times in range(min(high, TEXT_MAX) + 1):
            total = _bound(total + (power if times >= low else 0))
            power = _bound(power * ways)
        return _bound(max(total, 1) * (low if empty and low else 1)), empty or not low


def _bound(ways: int) -> int:
    return min(ways, WAYS_MAX + 1)
