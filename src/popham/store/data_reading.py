"""Questions about agents' data inside one transaction, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select

from popham.store.data_rows import (
    RECOVERED,
    AlertRow,
    DeliveryRow,
    EventRow,
    SilenceRow,
    StreamRow,
    SummaryRow,
)
from popham.store.sql_question import SqlQuestion
from popham.store.tables import TABLES

_FEW: Final = 100
"""Agents that one statement asks for."""


class SqlDataReading(SqlQuestion):
    """``DataReading`` on a connection inside a transaction."""

    def stream_rows(self) -> list[StreamRow]:
        """Return how far the intake was with every stream, by agent, stream and epoch."""
        columns = TABLES[StreamRow].c
        return self._rows(StreamRow, order=[columns.uid, columns.stream, columns.epoch])

    def streams_of(self, uid: str) -> list[StreamRow]:
        """Return how far the intake was with the streams of one agent, by stream and epoch."""
        columns = TABLES[StreamRow].c
        return self._rows(StreamRow, columns.uid == uid, order=[columns.stream, columns.epoch])

    def events(
        self, *, uid: str = "", after: int = 0, limit: int | None = None, newest: bool = False
    ) -> list[EventRow]:
        """Return events with numbers above ``after``, of one agent or all, the oldest or the newest first."""
        columns = TABLES[EventRow].c
        where = [columns.number > after, *([columns.uid == uid] if uid else [])]
        order = columns.number.desc() if newest else columns.number
        return self._rows(EventRow, *where, order=[order], limit=limit)

    def last_event(self) -> int:
        """Return the highest number of an event; 0 if there is none."""
        columns = TABLES[EventRow].c
        query = select(func.max(columns.number)).where(columns.tenant == self._tenant)
        return int(self._connection.execute(query).scalar() or 0)

    def summaries(self, uids: Sequence[str] | None = None) -> list[SummaryRow]:
        """Return the newest summaries of these agents, or of all, by uid."""
        columns = TABLES[SummaryRow].c
        if uids is None:
            return self._rows(SummaryRow, order=[columns.uid])
        found: list[SummaryRow] = []
        for first in range(0, len(uids), _FEW):
            found += self._rows(SummaryRow, columns.uid.in_(uids[first : first + _FEW]))
        return sorted(found, key=lambda row: row.uid)

    def summary(self, uid: str) -> SummaryRow | None:
        """Return the newest summary of one agent."""
        return self._row(SummaryRow, TABLES[SummaryRow].c.uid == uid)

    def alerts(self, *, uid: str = "", open_only: bool = True) -> list[AlertRow]:
        """Return alerts of one agent or all, by agent, item and resource; those that recovered too, if asked for."""
        columns = TABLES[AlertRow].c
        where = [columns.uid == uid] if uid else []
        if open_only:
            where.append(columns.state != RECOVERED)
        return self._rows(AlertRow, *where, order=[columns.uid, columns.item, columns.resource])

    def silences(self) -> list[SilenceRow]:
        """Return all silences by name."""
        return self._rows(SilenceRow, order=[TABLES[SilenceRow].c.name])

    def deliveries(self, *, limit: int | None = None) -> list[DeliveryRow]:
        """Return what is still to be told, by number and route."""
        columns = TABLES[DeliveryRow].c
        return self._rows(DeliveryRow, order=[columns.number, columns.route], limit=limit)
