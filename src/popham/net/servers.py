"""Which of several servers to dial: the list, the place in it, and when a preferred one is tried again.

Rules:

1. A server that fails is left for the next of the list, after the last for the first.
2. After ``hold`` seconds on another server than the first, those before it are tried again, one
   after another; a try that fails costs nothing but the try.
3. A first server that fails again within ``hold`` of the return to it is stayed away from twice as
   long, up to :data:`RELAPSES` times doubled.
4. A new list moves nobody at once: the way in use stays until one of the list works.
5. The reserve, the addresses from the join string, comes after every server of the list, so
   that no list can cut an agent off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from popham.errors import ConfigError

TRY_AGAIN = 60.0
"""Seconds between tries at least, however short the hold is."""
PATIENCE = 3
"""Times in a row that a server may ask to come again later before the next one is dialled."""
RELAPSES = 4
"""Doublings of the hold at most."""
JITTER = 0.1
"""Part of the hold by which agents that left a server together come back to it apart."""


class Servers:
    """A server list and the place in it.

    Attributes:
        hold: Seconds on another server before the first is tried again.
        listed: The list, without the reserve.
        urls: The list and the reserve, in the order of dialling.
        current: The server in use; after a change of the list perhaps none of it.
        stray: Whether every server of the list failed, so that one is in use that is not in it.
    """

    def __init__(
        self, reserve: Sequence[str], *, now: Callable[[], float], draw: Callable[[], float]
    ) -> None:
        """Begin with the reserve alone.

        Args:
            reserve: URLs to dial where there is no list, or nobody of it answers; the first one first.
            now: Monotonic time, in seconds.
            draw: Random number in [0, 1).

        Raises:
            ConfigError: ``config.servers``: there is no URL in it.
        """
        if not reserve:
            raise ConfigError("servers", "The server list is empty", "Name at least one URL")
        self._reserve = tuple(dict.fromkeys(reserve))
        self._now = now
        self._draw = draw
        self.hold = 0.0
        self._due = math.inf
        self._next = 0
        self._failures = self._refusals = self._relapses = 0
        self._left, self._back_at = False, -math.inf
        self.stray = False
        self.listed: tuple[str, ...] = ()
        self.urls = self._reserve
        self.current = self.urls[0]

    def use(self, listed: Sequence[str], *, hold: float, window: float, first: bool = False) -> None:
        """Take a new list.

        Args:
            listed: URLs in the order of this agent; empty for the reserve alone.
            hold: Seconds on another server before the first is tried again.
            window: Seconds over which agents that all hear of it change over.
            first: Whether nothing is in use yet, so that the first is dialled at once.
        """
        self.hold = hold
        if tuple(listed) == self.listed and not first:
            return
        self.listed = tuple(listed)
        self.urls = tuple(dict.fromkeys((*listed, *self._reserve)))
        self._failures = self._refusals = self._relapses = self._next = 0
        self._left, self._back_at = False, -math.inf
        self.stray = False
        if first:
            self.current = self.urls[0]
        self._due = math.inf if self.current == self.urls[0] else self._now() + window * self._draw()

    @property
    def until_candidate(self) -> float:
        """Seconds until :meth:`candidate` may return a server; infinity if the first is in use."""
        return max(0.0, self._due - self._now())

    def candidate(self) -> str | None:
        """Return a server to try now because it comes before the one in use; None if it is not time."""
        if self._now() < self._due:
            return None
        return self._preferred[self._next]

    @property
    def _preferred(self) -> tuple[str, ...]:
        """Servers that come before the one in use; all that are listed if it is none of them."""
        place = self.urls.index(self.current) if self.current in self.urls else len(self.urls)
        return self.urls[:place]

    @property
    def _unlisted(self) -> bool:
        return bool(self.listed) and self.current not in self.listed

    def tried(self, url: str, *, works: bool) -> None:
        """Take note of what came of a try."""
        if works:
            self.current = url
            self._failures = self._refusals = 0
            if self._left and url == self.urls[0]:
                self._left, self._back_at = False, self._now()
            self.stray = self._unlisted
            self._plan()
            return
        self._next += 1
        if self._next >= len(self._preferred):
            self._next = 0
            self.stray = self._unlisted
            self._due = self._now() + max(self._wait(), TRY_AGAIN)

    def failed(self, *, refused: bool = False) -> bool:
        """Take note that the one in use failed; return whether the next one to dial did not fail yet.

        A server that only asks to come again later is given some patience.
        """
        if refused and self._refusals + 1 < PATIENCE:
            self._refusals += 1
            return False
        self._refusals = 0
        if self._failures == 0 and self.current == self.urls[0] and self._now() - self._back_at < self.hold:
            self._relapses = min(self._relapses + 1, RELAPSES)
        self._left = self._left or self.current == self.urls[0]
        self._failures += 1
        place = self.urls.index(self.current) if self.current in self.urls else -1
        self.current = self.urls[(place + 1) % len(self.urls)]
        self.stray = self._unlisted
        self._plan()
        return self._failures % len(self.urls) != 0

    def succeeded(self) -> None:
        """Take note that the one in use answered."""
        self._refusals = 0
        if self._failures:
            self._failures = 0
            self._plan()
        if self.current == self.urls[0] and self._now() - self._back_at >= self.hold:
            self._relapses = 0

    def _plan(self) -> None:
        """Plan the next try, counted from now."""
        self._next = 0
        self._due = math.inf if self.current == self.urls[0] else self._now() + self._wait()

    def _wait(self) -> float:
        return self.hold * 2.0**self._relapses * (1 + JITTER * self._draw())
