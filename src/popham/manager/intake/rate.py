"""How often something happens in a second, lately."""

from __future__ import annotations

import math
from typing import Final

MEMORY: Final = 10.0
"""Seconds after which a count weighs e times less."""


class Rate:
    """A rate that forgets."""

    def __init__(self, now: float) -> None:
        """Begin at ``now`` with nothing."""
        self._value = 0.0
        self._at = now

    def note(self, count: float, now: float) -> None:
        """Count something that happened now."""
        self._value = self.read(now) + count / MEMORY
        self._at = now

    def read(self, now: float) -> float:
        """Return how often it happens in a second."""
        return self._value * math.exp((self._at - now) / MEMORY)
