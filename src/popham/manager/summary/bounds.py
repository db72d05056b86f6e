"""How old the newest that is shown of an agent may be, while all is well.

The age of what is shown is bounded by what its way is made of: the interval at which it is collected, the roll-up that
it went through (none for the newest), and what each hop adds:

- over a held link it is sent as it comes; but a link whose other end fell silent is noticed only after so many
  keepalives, and until then nobody knows better;
- in rounds, of either end, it waits for the next one, and an agent counts as on time until :data:`OVERDUE` of what it
  promised, which has the heartbeat, or the interval of the visits, in it;
- beside both, time to carry it, to make it durable and to read it.

So the bound holds as long as the agent is on time, and nothing is said of an agent that is not.
"""

from __future__ import annotations

from typing import Final

from popham.model.cell import Mode
from popham.model.status import OVERDUE

LINGER: Final = 0.2
"""Seconds that an agent lets what comes wait for more, over a held link."""
KEEPALIVES: Final = 3
"""Keepalives from the last sign of life to the end of a silent link: one that was answered, and two that were not."""
HANDLING: Final = 5.0
"""Seconds to carry it, to make it durable at both ends, and to derive it."""


def hop_bound(mode: str, promise: float, *, connected: bool, keepalive: float, away: float = 0.0) -> float:
    """Return the seconds that one hop adds to the age of what it carries, at most, while the agent is on time.

    Args:
        mode: In which data comes.
        promise: Seconds to the next contact that the agent promised.
        connected: Whether a link is held now, and was since before what is shown came.
        keepalive: Seconds between pings on a held link.
        away: Seconds in which nobody here could be reached, since the last contact.
    """
    if mode == Mode.PUSH and connected:
        return LINGER + KEEPALIVES * keepalive
    return OVERDUE * promise + away


def path_bound(interval: float, hops: float, *, roll_up: float = 0.0) -> float:
    """Return the seconds that what is shown is not older than: collecting, rolling up, and all hops."""
    return interval + roll_up + hops + HANDLING


def newest_bound(
    age: float,
    interval: float,
    mode: str,
    promise: float,
    *,
    connected: bool,
    keepalive: float,
    away: float = 0.0,
) -> float:
    """Return what the newest of an agent that is on time is not older than; arguments as of :func:`hop_bound`.

    A link that has just come again has brought nothing yet; until it does, the promise is what bounds ``age``.
    """
    hops = (
        hop_bound(mode, promise, connected=held, keepalive=keepalive, away=away)
        for held in (connected, False)
    )
    held, promised = (path_bound(interval, hop) for hop in hops)
    return held if age <= held else promised
