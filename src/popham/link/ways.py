"""What a driver asks of whoever knows the servers: which one to dial, and which one to try.

Rules:

1. The way in use is left only for one that was tried and works, or after it failed.
2. A try that fails changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from popham.net.seam import Dialer


class Ways(Protocol):
    """The ways to the upstreams of one agent."""

    def dial(self) -> Dialer:
        """Return the way in use."""
        ...

    def better(self) -> Dialer | None:
        """Return a way that should be tried now because it is preferred; None if there is none.

        Whoever gets one says with :meth:`tried` what came of it, before anything else.
        """
        ...

    @property
    def until_better(self) -> float:
        """Seconds until :meth:`better` may return one; infinity if nothing is preferred."""
        ...

    def tried(self, *, works: bool) -> None:
        """Take note of what came of a try: the way is in use from now on, or stays unused."""
        ...

    def failed(self, *, refused: bool, why: str = "") -> float:
        """Take note that the way in use failed, and take the next one.

        Args:
            refused: Whether the other end answered, and asked to come again later.
            why: The sentence about it, for people.

        Returns:
            The most seconds to wait before the next attempt, since it goes to another
            server that did not fail yet; infinity if there is none.
        """
        ...

    def succeeded(self) -> None:
        """Take note that the way in use works."""
        ...


class OneWay:
    """A single upstream."""

    def __init__(self, dial: Callable[[], Dialer]) -> None:
        """Dial with what ``dial`` returns."""
        self._dial = dial

    def dial(self) -> Dialer:
        """Return the way in use."""
        return self._dial()

    def better(self) -> Dialer | None:
        """Return None: nothing is preferred."""
        return None

    @property
    def until_better(self) -> float:
        """Infinity."""
        return math.inf

    def tried(self, *, works: bool) -> None:
        """Take note of nothing."""

    def failed(self, *, refused: bool, why: str = "") -> float:  # noqa: ARG002  # the seam's form
        """Return infinity: there is no other way."""
        return math.inf

    def succeeded(self) -> None:
        """Take note of nothing."""
