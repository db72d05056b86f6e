"""What every question on dictionaries is made of."""

from __future__ import annotations

from typing import Any, TypeVar

R = TypeVar("R")

Tables = dict[Any, dict[Any, Any]]
"""Class of rows → key, which begins with the tenant → row; and the Manager's own values under ``meta``."""


class MemoryQuestion:
    """Rows of one tenant, on dictionaries."""

    def __init__(self, tables: Tables, tenant: str) -> None:
        self._tables = tables
        self._tenant = tenant

    def _table(self, kind: type[R]) -> dict[tuple[Any, ...], R]:
        """Return the rows of one class by key; the key begins with the tenant."""
        return self._tables.get(kind, {})

    def _rows(self, kind: type[R]) -> list[R]:
        """Return the rows of one class by key."""
        table = self._table(kind)
        return [table[key] for key in sorted(table) if key[0] == self._tenant]

    def _row(self, kind: type[R], *key: object) -> R | None:
        """Return one row."""
        return self._table(kind).get((self._tenant, *key))

    def meta(self, key: str) -> str | None:
        """Return a value of the Manager's own."""
        return self._tables.get("meta", {}).get(key)
