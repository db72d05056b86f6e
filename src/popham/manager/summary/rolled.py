"""Reading roll-ups: one agent's values over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from popham.manager.summary.levels import Level
from popham.manager.summary.rolling import FOLDER

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS_MAX: Final = 10_000
"""Values of one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledView:
    """One value of a window.

    Attributes:
        at: When the window begins, unix seconds.
        min, max, mean: Of its samples.
        count: How many came.
        share: Of those that were expected, 1 at most.
        whole: Whether enough came for it to stand for its window.
    """

    at: float
    item: str
    resource: str
    min: float
    max: float
    mean: float
    count: int
    share: float
    whole: bool


def read_rolled(
    connection: DuckDBPyConnection,
    folder: Path,
    level: Level,
    uid: str,
    *,
    since: float,
    until: float,
    item: str = "",
) -> Sequence[RolledView]:
    """Return an agent's values whose windows begin from ``since`` up to ``until``, the oldest first. Blocks.

    The newest :data:`ROWS_MAX` of them, if they are more; of one item, if it is named.
    """
    paths = [str(path) for path in _find(folder / FOLDER / str(level.seconds), since, until)]
    if not paths:
        return ()
    rows = connection.execute(
        'SELECT "at", item, resource, min, max, sum / count, count, least(1, count / expected) FROM read_parquet(?)'
        " WHERE uid = ? AND (item = ? OR ? = '') ORDER BY \"at\" DESC, item DESC, resource DESC LIMIT ?",
        [paths, uid, item, item, ROWS_MAX],
    ).fetchall()
    return tuple(
        RolledView(
            at=float(at),
            item=name,
            resource=resource,
            min=least,
            max=most,
            mean=mean,
            count=count,
            share=share,
            whole=share >= level.share,
        )
        for at, name, resource, least, most, mean, count, share in reversed(rows)
    )


def _find(folder: Path, since: float, until: float) -> list[Path]:
    """Return the files of windows that begin in a span; those of other days are not looked at."""
    first, last = (datetime.fromtimestamp(at, UTC).date().isoformat() for at in (since, until))
    days = [day for day in folder.glob("*") if first <= day.name <= last]
    return sorted(path for day in days for path in day.glob("*.parquet") if since <= int(path.stem) < until)
