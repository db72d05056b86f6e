"""What every question in SQL is made of.

Rows and tables have the same fields, so nothing here lists columns.  Each
transaction sees one tenant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, select

from popham.store.tables import TABLES, meta

R = TypeVar("R")


class SqlQuestion:
    """Rows of one tenant, on a connection inside a transaction."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant
        self._database = connection.dialect.name

    def _rows(
        self,
        kind: type[R],
        *where: ColumnElement[bool],
        order: Iterable[Any] = (),
        limit: int | None = None,
    ) -> list[R]:
        """Return rows of one class."""
        table = TABLES[kind]
        query = select(table).where(table.c.tenant == self._tenant, *where).order_by(*order).limit(limit)
        names = [column.name for column in table.c]
        # A mapping of the library's own per row takes longer than the rest together.
        return [kind(**dict(zip(names, row, strict=True))) for row in self._connection.execute(query)]

    def _row(self, kind: type[R], *where: ColumnElement[bool], order: Iterable[Any] = ()) -> R | None:
        """Return the first row of one class, None if there is none."""
        found = self._rows(kind, *where, order=order, limit=1)
        return found[0] if found else None

    def meta(self, key: str) -> str | None:
        """Return a value of the Manager's own."""
        return self._connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()
