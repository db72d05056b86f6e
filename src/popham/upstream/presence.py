"""When the agents of a Proxy Manager were heard of, one byte for each.

The byte counts in parts of the agent's own promise, so that it says as much of one that comes each second as of one
that comes each day; and nothing has to be looked up to read it.  Whoever relays makes one text of bytes per exchange;
whoever reads keeps that text, and looks at one byte of it when somebody asks about one agent.
"""

from __future__ import annotations

import math
from typing import Final

LINKED: Final = 0
"""It holds a link now."""
UNKNOWN: Final = 255
"""Nothing newer than what was said before; or no agent has this index."""
PARTS: Final = 64
"""Parts of a promise that are told apart: presence is judged at 1.5 and 3 promises. Source: design, presence."""
MOST: Final = (UNKNOWN - 2) / PARTS
"""Promises beyond which an age is not told: whoever is silent for so long is missing by three."""


def encode_age(age: float, promise: float, *, held: bool) -> int:
    """Return the byte of an agent that was heard of ``age`` seconds ago and promised to come within ``promise``."""
    if held:
        return LINKED
    if not promise > 0 or not age / promise <= MOST:
        return UNKNOWN
    return 1 + math.ceil(max(age, 0.0) / promise * PARTS)


def decode_age(byte: int, promise: float) -> float | None:
    """Return how many seconds ago that agent was heard of, at most; None where the byte does not say."""
    if byte == UNKNOWN:
        return None
    return 0.0 if byte == LINKED else (byte - 1) / PARTS * promise
