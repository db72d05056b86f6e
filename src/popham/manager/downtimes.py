"""Spans in which this Manager did not serve, as it finds them when it starts."""

from __future__ import annotations

import json
from typing import Final

from popham.manager.rejoining import SERVED
from popham.model.status import Downtime
from popham.store.seam import Writing

_DOWNTIMES: Final = "downtimes"
KEPT_DOWNTIMES: Final = 100
"""Spans that are kept, the newest."""


def note_downtime(tx: Writing, now: float) -> tuple[Downtime, ...]:
    """Return all that are kept, the one that ends ``now`` included; the time since a Manager was last alive is one."""
    known = [Downtime(*pair) for pair in json.loads(tx.meta(_DOWNTIMES) or "[]")]
    alive = tx.meta(SERVED)
    if alive is not None and float(alive) < now:
        known = [*known, Downtime(float(alive), now)][-KEPT_DOWNTIMES:]
        tx.set_meta(_DOWNTIMES, json.dumps([[down.begin, down.end] for down in known]))
    tx.set_meta(SERVED, repr(now))
    return tuple(known)
