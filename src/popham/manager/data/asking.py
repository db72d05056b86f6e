"""What people ask of logs and metrics, and the statements that answer it.

Rules:

1. What somebody wrote is a parameter, never part of a statement.
2. Files are chosen by their times before DuckDB sees them; in them it skips what cannot have the agent or the time.
3. Two orders: by time, for whoever looks back; by place, for whoever waits for what comes.  A cursor names the last row
   that was answered; so pages neither miss nor repeat a row, whatever comes and is merged meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from popham.errors import DefinitionError
from popham.manager.data.columns import Form, as_table
from popham.manager.data.engine import run
from popham.manager.data.follower import Follower, Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ANSWER: Final = 4 * 1024 * 1024
"""Bytes of text of one answer, about."""
_MANY: Final = 64
"""Agents from which they are no longer named one by one in a statement."""
_FETCH: Final = 64
_BY_TIME: Final = '"at", uid, epoch, "offset"'
_BACK: Final = '"at" DESC, uid DESC, epoch DESC, "offset" DESC'
_BY_PLACE: Final = 'place, "offset"'
_LAST: Final = (1 << 62) - 1
"""An offset that no record has, and that is above all."""
_NUMBER: Final = r"(\d{1,18}|[0-8]\d{18})"
_PLACE_CURSOR: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}")
_TIME_CURSOR: Final = re.compile(rf"{_NUMBER}\.([0-9a-f-]{{36}})\.{_NUMBER}\.{_NUMBER}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows are meant.

    Attributes:
        uids: Of these agents; None for all.
        since, until: In these times, corrected, unix nanoseconds; ``until`` is not in it.
        grep: Whose text fits this regular expression of RE2; empty for all.
        severity: Of this severity number at least; 0 for all.
        source: Of this source of the policy, or this file; empty for all.
        name: Of this metric; empty for all.
    """

    uids: Sequence[str] | None = None
    since: int
    until: int
    grep: str = ""
    severity: int = 0
    source: str = ""
    name: str = ""


@dataclass(slots=True)
class Statement:
    """A statement as it grows: conditions, and what stands in them."""

    conditions: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)

    def add(self, condition: str, *parameters: Any) -> None:
        """Add a condition with a question mark for each parameter."""
        self.conditions.append(f"({condition})")
        self.parameters += parameters

    @property
    def where(self) -> str:
        """All conditions."""
        return " AND ".join(self.conditions) or "TRUE"


def narrow(statement: Statement, wanted: Wanted) -> None:
    """Add what is wanted."""
    statement.add('"at" >= ? AND "at" < ?', wanted.since, wanted.until)
    if wanted.uids is not None and len(wanted.uids) <= _MANY:
        marks = ", ".join("?" * len(wanted.uids))
        statement.add(f"uid IN ({marks})" if marks else "FALSE", *wanted.uids)
    elif wanted.uids is not None:
        statement.add("uid IN (SELECT unnest(?))", list(wanted.uids))
    if wanted.grep:
        statement.add("regexp_matches(body, ?)", wanted.grep)
    if wanted.severity:
        statement.add("severity >= ?", wanted.severity)
    if wanted.source:
        statement.add('source = ? OR "file" = ?', wanted.source, wanted.source)
    if wanted.name:
        statement.add("name = ?", wanted.name)


def parts_of(
    follower: Follower, snapshot: Snapshot, wanted: Wanted, *, after: int = -1, table: str = "tail"
) -> tuple[str, list[Any], dict[str, Any]]:
    """Return what a statement reads its rows from, its parameters, and its tables; empty if there is nothing.

    Only files that can have a row that is wanted are in it, and one whose place is above ``after``.
    """
    paths = [
        str(follower.catalog.path(file))
        for file in snapshot.contents.files
        if file.end >= wanted.since and file.begin < wanted.until and file.last > after
    ]
    names = ", ".join(f'"{name}"' for name in follower.form.all_names)
    parts, parameters, tables = [], [], {}
    if paths:
        parts.append(f"SELECT {names} FROM read_parquet(?)")  # noqa: S608  # names of ours only
        parameters.append(paths)
    if snapshot.batches:
        parts.append(f"SELECT {names} FROM {table}")  # noqa: S608  # likewise
        tables[table] = as_table(snapshot.batches)
    return " UNION ALL ".join(parts), parameters, tables


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOf:
    """Which part of the rows that are meant.

    Attributes:
        limit: Rows, at most.
        cursor: Of the page before; empty for the first.
        newest: The last rows instead of the first.
        after: Only what came after this place, in that order; empty for all, by time.
    """

    limit: int
    cursor: str = ""
    newest: bool = False
    after: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """A page.

    Attributes:
        names: Of the columns.
        rows: In the order that was asked for.
        cursor: Of the next page; empty if this is the last.
        after: Where to go on for what comes later.
    """

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    cursor: str
    after: str


def floor_of(page: PageOf) -> int:
    """Return the place at and below which a page has no rows; -1 if it may have any.

    Raises:
        DefinitionError: ``definition.query``: its cursor is none.
    """
    if not page.after:
        return -1
    place, offset = _read_cursor(page.after, _PLACE_CURSOR)
    return int(place) if offset == _LAST else int(place) - 1


def find_rows(
    connection: DuckDBPyConnection, follower: Follower, snapshot: Snapshot, wanted: Wanted, page: PageOf
) -> Rows:
    """Return a page of rows. Blocks.

    Raises:
        DefinitionError: ``definition.query``: a cursor is none.
    """
    form, statement = follower.form, Statement()
    narrow(statement, wanted)
    begin = _read_cursor(page.after, _PLACE_CURSOR) if page.after else None
    if begin:
        statement.add('(place, "offset") > (?, ?)', *begin)
    elif page.cursor:
        at, uid, epoch, offset = _read_cursor(page.cursor, _TIME_CURSOR)
        statement.add(f"({_BY_TIME}) > (?, ?, ?, ?)", at, uid, epoch, offset)
        statement.add('"at" >= ?', at)
    source, parameters, tables = parts_of(follower, snapshot, wanted, after=floor_of(page))
    end = f"{snapshot.end}.{_LAST}"
    if not source:
        return Rows(form.all_names, [], "", end)
    order = _BY_PLACE if begin else _BACK if page.newest else _BY_TIME
    text = (
        f"SELECT * FROM ({source}) WHERE {statement.where}"  # noqa: S608  # of our own words; values are parameters
        f" ORDER BY {order} LIMIT {page.limit + 1}"
    )
    cursor = run(connection, text, [*parameters, *statement.parameters], tables)
    rows, more = _fetch(cursor, page.limit)
    if page.newest:
        return Rows(form.all_names, rows[::-1], "", end)
    if begin:
        return Rows(form.all_names, rows, "", _cursor(form, rows[-1], ("place", "offset")) if more else end)
    return Rows(
        form.all_names,
        rows,
        _cursor(form, rows[-1], ("at", "uid", "epoch", "offset")) if more else "",
        end,
    )


def _read_cursor(text: str, form: re.Pattern[str]) -> list[Any]:
    """Return the parts of a cursor: numbers, and a uid as it is.

    Raises:
        DefinitionError: ``definition.query``: it is none.
    """
    match = form.fullmatch(text)
    if match is None:
        raise DefinitionError("query", "this is no cursor of a page", "Begin anew without one")
    return [int(part) if part.isdecimal() else part for part in match.groups()]


def _fetch(cursor: DuckDBPyConnection, limit: int) -> tuple[list[tuple[Any, ...]], bool]:
    """Return rows, as many as an answer takes, one at least; and whether there are more."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    while more := cursor.fetchmany(_FETCH):
        for row in more:
            if len(rows) == limit or (rows and size > ANSWER):
                return rows, True
            rows.append(row)
            size += sum(len(value) for value in row if isinstance(value, str))
    return rows, False


def _cursor(form: Form, row: tuple[Any, ...], names: Sequence[str]) -> str:
    return ".".join(str(row[form.all_names.index(name)]) for name in names)
