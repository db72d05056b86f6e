"""What every change in SQL is made of."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Table, delete
from sqlalchemy.dialects import postgresql, sqlite

from popham.store.reading import SqlReading
from popham.store.tables import TABLES, meta

Insert = postgresql.Insert | sqlite.Insert

_INSERT: Final[Mapping[str, Callable[[Table], Insert]]] = types.MappingProxyType(
    {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
)
_CHUNK: Final = 1000
"""Rows that one statement changes at most, so that few are held as values at a time."""


def _adding(table: Table, database: str) -> Insert:
    """Return the statement that inserts a row unless its key is taken."""
    statement = _INSERT[database](table).on_conflict_do_nothing(index_elements=list(table.primary_key))
    return statement.execution_options(preserve_rowcount=True)


def _replacing(table: Table, database: str) -> Insert:
    """Return the statement that inserts a row or replaces the one with its key."""
    statement = _INSERT[database](table)
    keys = {column.name for column in table.primary_key}
    values = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=sorted(keys), set_=values)


_ADD: Final[Mapping[tuple[str, Table], Insert]] = types.MappingProxyType(
    {(database, table): _adding(table, database) for database in _INSERT for table in TABLES.values()}
)
_REPLACE: Final[Mapping[tuple[str, Table], Insert]] = types.MappingProxyType(
    {
        (database, table): _replacing(table, database)
        for database in _INSERT
        for table in (*TABLES.values(), meta)
    }
)


class SqlChange(SqlReading):
    """Changes of rows of one tenant, on a connection inside a transaction."""

    def _put(self, row: object) -> None:
        """Insert a row, or replace the one with its key."""
        table = TABLES[type(row)]
        self._connection.execute(_REPLACE[self._database, table], values_of(row, table))

    def _put_all(self, kind: type, rows: Iterable[object]) -> None:
        """Insert rows of one class, or replace those with their keys, many at once."""
        table, left = TABLES[kind], iter(rows)
        while values := [values_of(row, table) for row in itertools.islice(left, _CHUNK)]:
            self._connection.execute(_REPLACE[self._database, table], values)

    def _add(self, row: object) -> bool:
        """Insert a row; returns False if its key is taken."""
        table = TABLES[type(row)]
        done = self._connection.execute(_ADD[self._database, table], values_of(row, table))
        return done.rowcount == 1

    def _delete(self, kind: type, **values: object) -> None:
        """Delete what has these values."""
        table = TABLES[kind]
        where = [table.c[column] == value for column, value in values.items()]
        self._connection.execute(delete(table).where(table.c.tenant == self._tenant, *where))

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the Manager's own."""
        self._connection.execute(_REPLACE[self._database, meta], {"key": key, "value": value})


def values_of(row: object, table: Table) -> dict[str, Any]:
    """Return the fields of a row by column."""
    return {column.name: getattr(row, column.name) for column in table.c}
