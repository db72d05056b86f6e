"""What is left out when there is too much to do; pure.

Rules:

1. A revocation and a halt always go out, and a heartbeat is always answered:
   an agent that hears nothing comes back the sooner.
2. What is left out comes by itself: an offer with a later heartbeat, because
   it follows from digests; a body or an enrollment because whoever asked was
   told when to ask again.

Source: guarantees REL-21.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from popham.net.seam import Refusal

LAG = 0.05
"""Seconds of lag that are borne without leaving anything out. Source: guarantees GOAL-7."""
QUEUE = 512
"""Changes that may wait for the store: one commit's worth."""


class Work(IntEnum):
    """Kinds of work, the first to be left out first."""

    DATA = 1
    """Streams, logs and metrics."""
    CONTENT = 2
    """Bodies that are fetched, and enrollments: both can be asked for again."""
    POLICY = 3
    """Offers of bundles and settings."""
    HEARTBEAT = 4
    REVOKE = 5
    """Revocations and halts."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to do now.

    Attributes:
        lag: Seconds by which the loop is late.
        queue: Changes that wait for the store.
    """

    lag: float = 0.0
    queue: int = 0


def sheds(load: Load, work: Work) -> bool:
    """Return whether ``work`` is left out under ``load``.

    Each kind bears twice what the one before it does; heartbeats and
    revocations bear everything.
    """
    if work >= Work.HEARTBEAT:
        return False
    factor = 1 << (work - Work.DATA)
    return load.lag > LAG * factor or load.queue > QUEUE * factor


class Shedder:
    """Decides at the door: the load as it is now, and when to come again."""

    def __init__(self, load: Callable[[], Load] = Load, away: Callable[[], float] = lambda: 30.0) -> None:
        """Keep where to look.

        Args:
            load: Returns the load now.
            away: Returns the seconds after which one more who is sent away may come again.
        """
        self._load = load
        self._away = away
        self.left_out = dict.fromkeys(Work, 0)
        """How often each kind was left out."""

    def sheds(self, work: Work) -> bool:
        """Return whether ``work`` is left out now, and count it if so."""
        found = sheds(self._load(), work)
        self.left_out[work] += found
        return found

    def refusal(self, work: Work) -> Refusal | None:
        """Return what to answer instead of doing ``work``; None to do it."""
        if not self.sheds(work):
            return None
        body = f"This Manager has too much to do for {work.name.lower()} now."
        return Refusal(status=503, retry_after=self._away(), body=body)
