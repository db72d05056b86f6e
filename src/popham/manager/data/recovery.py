"""What is done about damage: a catalog that cannot be read is made anew, a file that cannot be is set aside."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from popham.errors import StateError
from popham.manager.data.catalog import NAME, Catalog, Contents, PartFile
from popham.manager.data.engine import Engine
from popham.manager.data.place import place_of
from popham.manager.intake.position import Position

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_log = logging.getLogger(__name__)
DAMAGED: Final = ".damaged"
_NAME: Final = re.compile(r"(\d+)\.(\d+)-(\d+)\.(\d+)\.parquet")


def load(catalog: Catalog, engine: Engine) -> None:
    """Read a catalog; make it anew from the files that are there if it is damaged. Blocks."""
    try:
        catalog.load()
    except StateError as error:
        _log.error("%s; it is made anew from the files that are there", error.problem)
        path = catalog.folder / NAME
        path.replace(path.with_name(NAME + DAMAGED))
        with engine.open() as connection:
            files = tuple(_without_merged(list(_find(connection, catalog.folder))))
        catalog.save(Contents(files=files, place=max((file.last for file in files), default=0)))
        catalog.load()


def set_aside(catalog: Catalog, engine: Engine) -> Contents:
    """Set aside the files that cannot be read, and return what counts then. Blocks."""
    held = catalog.contents
    with engine.open() as connection:
        bad = [file for file in held.files if _measure(connection, catalog.path(file)) is None]
    if not bad:
        return held
    for file in bad:
        path = catalog.path(file)
        _log.error("%s is damaged: %d records are gone", path, file.rows)
        if path.exists():
            path.rename(path.with_name(path.name + DAMAGED))
    dropped = Counter(held.dropped)
    dropped["damaged"] += sum(file.rows for file in bad)
    kept = tuple(file for file in held.files if file not in bad)
    contents = msgspec.structs.replace(held, files=kept, dropped=dict(dropped))
    catalog.save(contents)
    return contents


def _find(connection: DuckDBPyConnection, folder: Path) -> Iterator[PartFile]:
    for path in sorted(folder.glob("*/*.parquet")):
        match, measured = _NAME.fullmatch(path.name), _measure(connection, path)
        if match is None or measured is None:
            _log.error("%s is damaged", path)
            path.rename(path.with_name(path.name + DAMAGED))
            continue
        numbers = [int(number) for number in match.groups()]
        yield PartFile(
            day=path.parent.name,
            name=path.name,
            level=0,
            rows=measured[0],
            bytes=path.stat().st_size,
            first=place_of(Position(*numbers[:2])),
            last=place_of(Position(*numbers[2:])),
            begin=measured[1],
            end=measured[2],
        )


def _without_merged(files: list[PartFile]) -> Iterator[PartFile]:
    """Yield the files whose records are in no other: those that others were merged into."""
    for file in files:
        around = (
            other
            for other in files
            if other is not file
            and other.day == file.day
            and other.first <= file.first
            and file.last <= other.last
        )
        if not any(around):
            yield file


def _measure(connection: DuckDBPyConnection, path: Path) -> tuple[int, int, int] | None:
    """Read a whole file; return its rows, the first and the last time; None if it cannot be read."""
    import duckdb

    try:
        row = connection.execute(
            'SELECT count(*), min("at"), max("at"), max(hash(part)) FROM read_parquet(?) part', [[str(path)]]
        ).fetchone()
    except duckdb.Error:
        return None
    return (row[0], row[1], row[2]) if row is not None and row[0] else None
