"""One alert: how it follows from events, and which routes are to be told.  Pure.

Rules:

1. An alert is about one item and one resource of one agent; if several thresholds watch these, the worst counts.
2. What a route is to know is a level, not a message: it is told whenever it differs from what it was told last.  So a
   silence needs no memory of its own, and what came and went within it is told to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from popham.store.data_rows import RECOVERED, AlertRow, EventRow

THRESHOLD: Final = "popham.threshold"
"""Name of an agent's event about a threshold."""
OWN: Final = "popham.agent"
"""Name of the Manager's own event, about an agent or a service."""
WATCHED: Final = ("presence", "sync", "lagging", "clock-skew")
"""Items that the Manager finds by looking at its agents."""
PROBE: Final = "probe"
"""Item of a service that the Manager asks itself; the resource is the probe's name."""
OWN_ITEMS: Final = (*WATCHED, PROBE)
"""Items that the Manager finds itself; an agent's thresholds have no say in them."""
LEVELS: Final = (RECOVERED, "warning", "error")
TEXT_MAX: Final = 1024
_THRESHOLDS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert.

    Attributes:
        state: ``warning``, ``error`` or ``recovered``.
        since: When it came into this state, unix seconds.
        number: Of the event that said so.
        text: One sentence.
        note: What the policy says beside it.
        value, bound: The value that was sampled, and beyond which one that is; empty if there is none.
        by: Threshold → state, of those that are not recovered.
        told: Route → state that it was told last; none for recovered.
    """

    uid: str
    item: str
    resource: str
    state: str = RECOVERED
    since: float = 0.0
    number: int = 0
    text: str = ""
    note: str = ""
    value: str = ""
    bound: str = ""
    by: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is about."""
        return self.uid, self.item, self.resource

    @classmethod
    def of(cls, row: AlertRow) -> Alert:
        """Return the alert of a row."""
        return cls(
            uid=row.uid,
            item=row.item,
            resource=row.resource,
            state=row.state,
            since=row.since,
            number=row.number,
            **json.loads(row.body),
        )

    def row(self) -> AlertRow:
        """Return the alert as the database keeps it."""
        body = {
            "text": self.text,
            "note": self.note,
            "value": self.value,
            "bound": self.bound,
            "by": dict(self.by),
            "told": dict(self.told),
        }
        return AlertRow(
            uid=self.uid,
            item=self.item,
            resource=self.resource,
            state=self.state,
            since=self.since,
            number=self.number,
            body=json.dumps(body, separators=(",", ":"), sort_keys=True),
        )

    def follow(self, said: Said, event: EventRow) -> Alert:
        """Return the alert after an event; the same if it says nothing new."""
        by = {name: state for name, state in self.by.items() if name != said.threshold}
        if said.state != RECOVERED and len(by) < _THRESHOLDS_MAX:
            by[said.threshold] = said.state
        if by == self.by:
            return self
        state = max(by.values(), key=LEVELS.index, default=RECOVERED)
        if state == self.state:
            return replace(self, by=by)
        return replace(
            self,
            by=by,
            state=state,
            since=event.at,
            number=event.number,
            text=said.text,
            note=said.note,
            value=said.value,
            bound=said.bound,
        )

    def level_for(self, at_least: str) -> str:
        """Return what a route that is told of ``at_least`` is to know of it."""
        return self.state if LEVELS.index(self.state) >= LEVELS.index(at_least) else RECOVERED

    def knows(self, route: str, level: str) -> bool:
        """Return whether a route was told this last."""
        return self.told.get(route, RECOVERED) == level

    def telling(self, route: str, level: str) -> Alert:
        """Return the alert once a route is told this."""
        told = {name: state for name, state in self.told.items() if name != route}
        return replace(self, told=told if level == RECOVERED else told | {route: level})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an event says of an alert; attributes as of :class:`Alert`."""

    item: str
    resource: str
    threshold: str
    state: str
    text: str
    note: str = ""
    value: str = ""
    bound: str = ""


def read_event(event: EventRow) -> Said | None:
    """Return what an event says of an alert; None if it is about none, or nobody can read it."""
    if event.name not in {THRESHOLD, OWN}:
        return None
    body: dict[str, Any] = json.loads(event.body)
    labels = body.get("attributes", {})

    def label(name: str, most: int = 256) -> str:
        found = labels.get(f"popham.{name}", "")
        return found[:most] if isinstance(found, str) else ""

    item, own = label("item"), event.name == OWN
    # An agent speaks for itself: what the Manager finds, it cannot say.
    if own is not (body.get("own") is True) or (item in OWN_ITEMS) is not own:
        return None
    said = Said(
        item=item,
        resource=label("resource"),
        threshold=label("threshold") or item,
        state=label("state"),
        text=str(body.get("text", ""))[:TEXT_MAX],
        note=label("text", TEXT_MAX),
        value=label("value"),
        bound=label("bound"),
    )
    return said if item and said.state in LEVELS else None
