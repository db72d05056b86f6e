"""Which of several Managers to dial: in order of priority, by chance among equals."""

from __future__ import annotations

import random
from collections.abc import Sequence

from popham.errors import ConfigError


class Servers:
    """A server list and the place in it.

    The list is gone through from the top. Servers of equal priority are shuffled once per agent,
    so that a fleet spreads over them. After a failure the next one is tried; a success keeps
    the place until :meth:`prefer`.

    Args:
        urls: By falling priority; an item may be several URLs of equal priority.
        rng: Draws the order among equals.

    Raises:
        ConfigError: ``config.servers``: there is no URL in it.
    """

    def __init__(self, urls: Sequence[str | Sequence[str]], rng: random.Random) -> None:
        order: list[str] = []
        for item in urls:
            equals = [item] if isinstance(item, str) else list(item)
            rng.shuffle(equals)
            order.extend(url for url in equals if url not in order)
        if not order:
            raise ConfigError("servers", "The server list is empty", "Name at least one URL")
        self.urls = tuple(order)
        self._place = 0
        self._failures = 0

    @property
    def current(self) -> str:
        """Return the URL to dial now."""
        return self.urls[self._place]

    @property
    def exhausted(self) -> bool:
        """Return whether every server has failed since the last success, so that it is time to wait."""
        return self._failures > 0 and self._failures % len(self.urls) == 0

    def failed(self) -> str:
        """Take note that the current one failed; return the next, after the last the first."""
        self._failures += 1
        self._place = (self._place + 1) % len(self.urls)
        return self.current

    def succeeded(self) -> None:
        """Take note that the current one answered."""
        self._failures = 0

    def prefer(self) -> str:
        """Go back to the top of the list; return it. For a driver that has had another one long enough."""
        self._place = 0
        self._failures = 0
        return self.current
