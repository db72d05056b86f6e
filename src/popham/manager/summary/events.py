"""Events in the database: numbered in the order in which they were learned."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from popham.manager.data.rows import LogRow
from popham.store.data_rows import EventRow
from popham.store.seam import Writing

NUMBERED: Final = "events.number"
"""Key of the highest number that an event ever had: it stays when the event is pruned."""
KEEP: Final = 396 * 86_400.0
"""Seconds that events are kept: as long as the longest roll-up, 13 months."""
BODY_MAX: Final = 16 * 1024
"""Characters of an event's text that the database keeps; the whole record stands in its segment."""
_NANO: Final = 1e9


def event_of(row: LogRow) -> EventRow:
    """Return an event as the database keeps it, without a number yet."""
    body = {
        "text": row.body[:BODY_MAX],
        "attributes": json.loads(row.attributes) if len(row.attributes) <= BODY_MAX else {},
        "time": row.time / _NANO,
    }
    return EventRow(
        number=0,
        uid=row.uid,
        at=row.at / _NANO,
        received=row.received / _NANO,
        name=row.event[:256],
        severity=row.severity,
        body=json.dumps(body, separators=(",", ":"), sort_keys=True),
    )


def add_events(tx: Writing, events: Iterable[EventRow]) -> list[EventRow]:
    """Store events under the next numbers, in this order; return them as they are stored."""
    before = max(int(tx.meta(NUMBERED) or 0), tx.last_event())
    numbered = [replace(event, number=number) for number, event in enumerate(events, before + 1)]
    if numbered:
        tx.put_events(numbered)
        tx.set_meta(NUMBERED, str(numbered[-1].number))
    return numbered
