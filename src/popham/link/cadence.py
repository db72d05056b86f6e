"""When the next round is due; pure.

The first round is at once.  The second comes up to one window early, by a
phase that is the agent's own, and from then on rounds are one heartbeat
apart; so agents that started together are spread over the window, and none
ever breaks its promise of one heartbeat.  Only an upstream that has too much
to do may ask for more time, for one round, and within bounds.
"""

from __future__ import annotations

import hashlib

from popham.model.communication import HEARTBEAT_MAX

STRETCH_MOST = 4.0
"""Times its heartbeat that an agent stays away at most because it was asked to."""


def phase_of(uid: bytes) -> float:
    """Return the agent's own number in [0, 1), the same at each start."""
    return int.from_bytes(hashlib.sha256(uid).digest()[:4], "big") / 2**32


def wait_until_next(heartbeat: float, window: float, *, rounds: int, phase: float) -> float:
    """Return seconds from the last round to the next.

    Args:
        heartbeat: Seconds between rounds of a quiet link.
        window: Seconds over which agents distribute themselves; at most the heartbeat.
        rounds: Rounds since the start, or since heartbeat or window changed; from 1.
        phase: The agent's own number in [0, 1).

    Source: design, spread; SEPM's randomization window.
    """
    if rounds > 1:
        return heartbeat
    return max(heartbeat - min(window, heartbeat) * phase, min(1.0, heartbeat))


def bound_stretch(heartbeat: float, asked: float) -> float:
    """Return the seconds by which the next round is put off, of those that upstream asked for.

    Never less than none, never more than makes :data:`STRETCH_MOST` heartbeats or
    the longest heartbeat there is; what is no number is none.
    """
    return max(0.0, min(asked, (STRETCH_MOST - 1.0) * heartbeat, HEARTBEAT_MAX - heartbeat))
