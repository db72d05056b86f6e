"""Writes Parquet files: what came, by day; and many small files of a day as one.

Rows are sorted by agent and time in groups of few rows, each with its least and greatest values: so one agent's hour is
found by reading little.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from popham.manager.data.catalog import PartFile, finish_file
from popham.manager.data.columns import Form, as_table
from popham.manager.data.engine import quote, run
from popham.manager.data.place import position_of

if TYPE_CHECKING:
    from arro3.core import RecordBatch
    from duckdb import DuckDBPyConnection

DAY: Final = 86_400 * 1_000_000_000
"""Nanoseconds of a day."""
GROUP: Final = 16_384
"""Rows of a row group, at most."""
_UNFINISHED: Final = "unfinished.parquet"
_ORDER: Final = 'ORDER BY uid, "at", epoch, "offset"'


def day_of(at: int) -> str:
    """Return the day of a time, in UTC; unix nanoseconds."""
    return datetime.fromtimestamp(at // 1_000_000_000, UTC).date().isoformat()


def begin_of(day: str) -> int:
    """Return when a day begins, in unix nanoseconds."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def write_days(
    connection: DuckDBPyConnection, folder: Path, form: Form, batches: Sequence[RecordBatch], since: int
) -> list[PartFile]:
    """Write the rows of ``batches``, those from ``since`` (unix nanoseconds) on, into a file for each of their days.

    Blocks; each file is durable when this returns.
    """
    connection.register("tail", as_table(batches))
    try:
        found = connection.execute(
            'SELECT "at" // ?, count(*), min("at"), max("at"), min(place), max(place)'
            ' FROM tail WHERE "at" >= ? GROUP BY 1 ORDER BY 1',
            [DAY, since],
        ).fetchall()
        return [_write_day(connection, folder, form, *row) for row in found]
    finally:
        connection.unregister("tail")


def _write_day(
    connection: DuckDBPyConnection,
    folder: Path,
    form: Form,
    day: int,
    rows: int,
    begin: int,
    end: int,
    first: int,
    last: int,
) -> PartFile:
    where = 'FROM tail WHERE "at" >= ? AND "at" <= ?'
    name = _name(first, last)
    path = folder / day_of(day * DAY) / name
    size = _copy(connection, folder, path, form, where, [begin, end])
    return PartFile(
        day=path.parent.name,
        name=name,
        level=0,
        rows=rows,
        bytes=size,
        first=first,
        last=last,
        begin=begin,
        end=end,
    )


def merge(connection: DuckDBPyConnection, folder: Path, form: Form, files: Sequence[PartFile]) -> PartFile:
    """Write the rows of files of one day, which follow each other, into one, durably. Blocks."""
    day = files[0].day
    first, last = min(file.first for file in files), max(file.last for file in files)
    name = _name(first, last)
    paths = [str(folder / day / file.name) for file in files]
    size = _copy(connection, folder, folder / day / name, form, "FROM read_parquet(?)", [paths])
    return PartFile(
        day=day,
        name=name,
        level=max(file.level for file in files) + 1,
        rows=sum(file.rows for file in files),
        bytes=size,
        first=first,
        last=last,
        begin=min(file.begin for file in files),
        end=max(file.end for file in files),
    )


def _copy(
    connection: DuckDBPyConnection, folder: Path, path: Path, form: Form, where: str, parameters: list[Any]
) -> int:
    """Write rows to ``path``, durably, and return the bytes of the file."""
    unfinished = folder / _UNFINISHED
    names = ", ".join(f'"{name}"' for name in form.all_names)
    statement = (
        f"COPY (SELECT {names} {where} {_ORDER}) TO {quote(str(unfinished))}"
        f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP})"
    )
    run(connection, statement, parameters, {})
    finish_file(unfinished, path)
    return path.stat().st_size


def _name(first: int, last: int) -> str:
    begin, end = position_of(first), position_of(last)
    return f"{begin.segment}.{begin.at}-{end.segment}.{end.at}.parquet"
