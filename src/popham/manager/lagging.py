"""Which agents stay below the Manager's version: F.L9, as SQC's version rule asks for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from popham.model.status import Downtime

HEARTBEATS: Final = 3
"""Heartbeats for which an agent may be of an older version before it is said."""
_NUMBERS: Final = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?")


def explain_behind(
    version: str,
    own: str,
    *,
    first: float,
    last: float | None,
    heartbeat: float,
    downtimes: Sequence[Downtime] = (),
) -> str:
    """Return, in one sentence, that an agent stays below the Manager's version; empty if it does not.

    It does once it was heard of later than three heartbeats after this Manager began to serve, or after it was
    first seen.

    Args:
        version: Of the agent, as it says.
        own: Of this Manager.
        first: When the agent was first seen, in unix seconds.
        last: When it was last heard of; None for never.
        heartbeat: Seconds from one contact to the next.
        downtimes: In which this Manager did not serve; after the last of them it began.
    """
    theirs, ours = _numbers(version), _numbers(own)
    if theirs is None or ours is None or theirs >= ours or last is None:
        return ""
    began = max([first, *(one.end for one in downtimes)])
    if last - began <= HEARTBEATS * heartbeat:
        return ""
    return f"it runs {version}, and the Manager {own}: upgrade it"


def _numbers(version: str) -> tuple[int, int, int] | None:
    found = _NUMBERS.match(version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
