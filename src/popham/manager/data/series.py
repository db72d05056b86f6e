"""Metrics as people look at them: which there are, and one of them over time.

A gauge, and a sum that goes up and down, is shown as the mean of each step.  A counter is shown as what it grew in a
second, also where it began anew; so are the sums of histograms and summaries.  What it grew is divided by the time in
which it did, from the point before, or from the start that a delta says: a step may be shorter than that, or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from popham.manager.data.asking import Statement, Wanted, narrow, parts_of
from popham.manager.data.engine import run
from popham.manager.data.follower import Follower, Snapshot
from popham.manager.data.views import MetricView, Series

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NAMES: Final = 1000
"""Metrics of one list."""
_NANO: Final = 1_000_000_000
_NAMES: Final = (
    'SELECT name, any_value(kind), any_value(unit), count(DISTINCT uid), count(*), max("at") FROM ({source})'
    " WHERE {where} GROUP BY name ORDER BY name LIMIT {limit}"
)
_SERIES: Final = """
WITH points AS (
    SELECT *, ("at" - ?) // ? AS slot, kind NOT IN ('gauge', 'sum') AS grows,
        lag(value) OVER earlier AS before, lag("at") OVER earlier AS since
    FROM ({source}) WHERE {where} AND value IS NOT NULL
    WINDOW earlier AS (PARTITION BY uid, resource, attributes ORDER BY "at", epoch, "offset")
),
numbered AS (
    SELECT *, dense_rank() OVER (ORDER BY uid, resource, attributes) AS number,
        CASE WHEN delta AND start BETWEEN 1 AND time - 1 THEN time - start ELSE "at" - since END AS spent,
        CASE WHEN delta OR value < before THEN value ELSE value - before END AS growth
    FROM points
)
SELECT number, any_value(uid), any_value(resource), any_value(attributes), any_value(kind), any_value(unit),
    bool_or(grows OR delta), slot, CASE WHEN bool_or(grows OR delta)
        THEN sum(growth) FILTER (spent > 0) * 1e9 / sum(spent) FILTER (spent > 0) ELSE avg(value) END
FROM numbered WHERE number <= ? GROUP BY number, slot ORDER BY number, slot
"""


Parts = Sequence[tuple[Follower, Snapshot]]
"""The streams that have metrics, as they are at one moment."""


def find_names(connection: DuckDBPyConnection, parts: Parts, wanted: Wanted) -> list[MetricView]:
    """Return which metrics there are, at most :data:`NAMES`. Blocks."""
    source, parameters, tables = _source(parts, wanted)
    if not source:
        return []
    statement = Statement()
    narrow(statement, wanted)
    text = _NAMES.format(source=source, where=statement.where, limit=NAMES)
    rows = run(connection, text, [*parameters, *statement.parameters], tables).fetchall()
    return [
        MetricView(name=name, kind=kind, unit=unit, agents=agents, points=points, newest=newest / _NANO)
        for name, kind, unit, agents, points, newest in rows
    ]


def find_series(
    connection: DuckDBPyConnection, parts: Parts, wanted: Wanted, *, step: int, limit: int
) -> tuple[list[Series], bool]:
    """Return one metric in steps of ``step`` nanoseconds: ``limit`` series of it; and whether there are more. Blocks."""
    source, parameters, tables = _source(parts, wanted)
    if not source:
        return [], False
    statement = Statement()
    narrow(statement, wanted)
    text = _SERIES.format(source=source, where=statement.where)
    values = [wanted.since, step, *parameters, *statement.parameters, limit + 1]
    rows = run(connection, text, values, tables).fetchall()
    slots = -(-(wanted.until - wanted.since) // step)
    found: dict[int, Series] = {}
    for number, uid, resource, attributes, kind, unit, grows, slot, value in rows:
        if number not in found:
            shown = f"{unit or '1'}/s" if grows else unit
            empty: list[float | None] = [None] * slots
            found[number] = Series(uid, kind, shown, resource, attributes, empty)
        found[number].values[slot] = value
    return list(found.values())[:limit], len(found) > limit


def _source(parts: Parts, wanted: Wanted) -> tuple[str, list[Any], dict[str, Any]]:
    """Return what a statement reads its rows from, as :func:`parts_of` does, of all streams."""
    sources: list[str] = []
    parameters: list[Any] = []
    tables: dict[str, Any] = {}
    for number, (follower, snapshot) in enumerate(parts):
        source, values, more = parts_of(follower, snapshot, wanted, table=f"tail{number}")
        sources += [source] if source else []
        parameters += values
        tables |= more
    return " UNION ALL ".join(sources), parameters, tables
