"""When the next round is due; pure.

The first round is at once.  The second comes up to one window early, by a
phase that is the agent's own, and from then on rounds are one heartbeat
apart; so agents that started together are spread over the window, and none
ever breaks its promise of one heartbeat.
"""

from __future__ import annotations

import hashlib


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
