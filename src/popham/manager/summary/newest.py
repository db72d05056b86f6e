"""The newest of every agent: how points come together in one row, and the key metrics of all agents in memory.

A row keeps, of each item and resource, the value that was sampled last, whatever order frames came in.  An agent may
send whatever it likes, so the values of a row are bounded.  No value is newer than it came; one that is newer than what
comes now was dated by a clock of ours that ran ahead, and stands in nobody's way.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from popham.manager.summary.items import NUMBERS, Held, KeyMetrics, Point, key_metrics
from popham.store.data_rows import SummaryRow

VALUES_MAX: Final = 256
"""Values of one row; more are left out, and counted."""
FORGOTTEN: Final = 86_400.0
"""Seconds that a value stays in a row while others are newer: what it was of is gone."""
_NANO: Final = 1e9


def merge(row: SummaryRow | None, uid: str, points: Sequence[Point], received: float) -> SummaryRow:
    """Return the row of an agent with ``points`` in it.

    Args:
        row: As it is; None if there is none.
        uid: Of which agent.
        points: Of this agent; at least one.
        received: When the newest of them came, unix seconds.
    """
    body = json.loads(row.body) if row else {}
    held: dict[str, dict[str, dict[str, Any]]] = {
        item: {name: one for name, one in resources.items() if one["at"] <= received}
        for item, resources in body.get("items", {}).items()
    }
    for point in points:
        resources = held.setdefault(point.item, {})
        known = resources.get(point.resource)
        if known is None or known["at"] < point.at / _NANO:
            resources[point.resource] = _value(point)
    at = max(one["at"] for resources in held.values() for one in resources.values())
    kept, left_out = _bound(held, at - FORGOTTEN)
    body = {"items": kept, **({"left_out": left_out} if left_out else {})}
    return SummaryRow(
        uid=uid,
        at=at,
        received=received,
        body=json.dumps(body, separators=(",", ":"), sort_keys=True),
    )


def items_of(row: SummaryRow) -> Held:
    """Return item → resource → newest value of a row."""
    held: Held = json.loads(row.body)["items"]
    return held


def _value(point: Point) -> dict[str, Any]:
    return {"value": point.value, "at": point.at / _NANO, "unit": point.unit}


def _bound(held: Held, oldest: float) -> tuple[Held, int]:
    """Return the values that are kept, the newest first where there are too many, and how many are not."""
    ranked = sorted(
        ((-one["at"], item, name) for item, resources in held.items() for name, one in resources.items()),
    )
    fresh = [entry for entry in ranked if -entry[0] >= oldest]
    kept: dict[str, dict[str, Any]] = {}
    for _, item, name in fresh[:VALUES_MAX]:
        kept.setdefault(item, {})[name] = held[item][name]
    return kept, max(0, len(fresh) - VALUES_MAX)


class Brief(NamedTuple):
    """What memory has of one agent: when its newest value was sampled, when it came, and its key metrics."""

    uid: str
    at: float
    received: float
    metrics: KeyMetrics


def brief_of(row: SummaryRow) -> Brief:
    """Return what memory has of the agent of a row; for a thread, as many rows take their time."""
    return Brief(row.uid, row.at, row.received, key_metrics(items_of(row), row.at))


class Newest:
    """The key metrics of all agents, some 250 bytes of memory each."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._known: dict[str, tuple[array[float], str]] = {}

    def note(self, briefs: Iterable[Brief]) -> None:
        """Take what is durable, in the order in which it became so."""
        for brief in briefs:
            numbers = [_nan(getattr(brief.metrics, name)) for name in NUMBERS]
            self._known[brief.uid] = array("d", [brief.at, brief.received, *numbers]), brief.metrics.mount

    def of(self, uid: str) -> Brief | None:
        """Return what is known of an agent; None if nothing ever came. On any thread."""
        known = self._known.get(uid)
        if known is None:
            return None
        at, received, *numbers = known[0]
        said = (None if number != number else number for number in numbers)  # noqa: PLR0124 - that is what NaN is
        metrics = KeyMetrics(**dict(zip(NUMBERS, said, strict=True)), mount=known[1])
        return Brief(uid, at, received, metrics)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
