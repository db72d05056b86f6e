"""Nonces of Proxy Managers: what proves that an agent signed its state record after a given time.

A proxy hands the newest on to its agents, and they name it in what they sign.  So a proxy that keeps a state record back
cannot show it as new for long: nobody but this Manager makes nonces.

Rules:

1. A proxy gets a new one at most each :data:`SHORTEST`, and each half of its promise; sooner where an agent has to sign
   anew that may have signed by the newest already.
2. They are kept in memory: after a start of the Manager a state record that is new has to be signed once more.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SIZE: Final = 16
"""Bytes of a nonce."""
SHORTEST: Final = 10.0
"""Seconds between two nonces of one proxy, at least."""
KEPT: Final = 4096
"""Nonces of one proxy that are remembered; of older ones state records are to be signed once more."""
ROUNDS: Final = 3
"""Rounds of an agent, and of its proxy, for which a nonce serves. Source: design 9."""
LEAST: Final = 60.0
"""Seconds for which it serves in any case."""


@dataclass(slots=True)
class _Given:
    newest: bytes = b""
    at: float = 0.0
    outdated: bool = False
    times: OrderedDict[str, float] = field(default_factory=OrderedDict)


class Nonces:
    """Gives nonces, and says whether one is new enough."""

    def __init__(self, draw: Callable[[int], bytes] = secrets.token_bytes) -> None:
        """Give what ``draw`` returns for a number of bytes."""
        self._draw = draw
        self._given: dict[str, _Given] = {}

    def newest(self, proxy: str, promise: float, now: float) -> bytes:
        """Return the newest nonce of a proxy, which promises to come each ``promise`` seconds; made anew in time."""
        given = self._given.setdefault(proxy, _Given())
        if not given.newest or now - given.at >= (SHORTEST if given.outdated else max(SHORTEST, promise / 2)):
            given.newest, given.at, given.outdated = self._draw(SIZE), now, False
            given.times[given.newest.hex()] = now
            if len(given.times) > KEPT:
                given.times.popitem(last=False)
        return given.newest

    def outdate(self, proxy: str) -> None:
        """Have a proxy get a new one as soon as it may."""
        given = self._given.get(proxy)
        if given is not None:
            given.outdated = True

    def serves(self, proxy: str, nonce: str, promises: float, now: float) -> bool:
        """Return whether a nonce was given to this proxy so lately that what names it counts as new.

        Args:
            proxy: Through which it came.
            nonce: As an agent names it, hexadecimal.
            promises: Seconds that the agent and the proxies on its way promise, together.
            now: Unix seconds.
        """
        given = self._given.get(proxy)
        at = given.times.get(nonce) if given is not None else None
        return at is not None and now - at <= max(LEAST, ROUNDS * promises)

    def keep(self, proxies: set[str]) -> None:
        """Forget all but these proxies."""
        for gone in self._given.keys() - proxies:
            del self._given[gone]
