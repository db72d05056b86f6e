"""Changes of agents' data inside one transaction, in SQL."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete

from popham.store.data_rows import AlertRow, DeliveryRow, EventRow, SilenceRow, StreamRow, SummaryRow
from popham.store.sql_change import SqlChange
from popham.store.tables import TABLES


class SqlDataWriting(SqlChange):
    """``DataWriting`` on a connection inside a transaction."""

    def put_stream(self, row: StreamRow) -> None:
        """Insert or replace how far the intake is with one epoch of a stream."""
        self._put(row)

    def put_streams(self, rows: Iterable[StreamRow]) -> None:
        """Insert or replace many at once."""
        self._put_all(StreamRow, rows)

    def delete_stream(self, uid: str, stream: str, epoch: int) -> None:
        """Forget an epoch of a stream, if it is there."""
        self._delete(StreamRow, uid=uid, stream=stream, epoch=epoch)

    def put_events(self, rows: Iterable[EventRow]) -> None:
        """Insert or replace events, many at once."""
        self._put_all(EventRow, rows)

    def prune_events(self, before: float) -> None:
        """Delete events that were received before then."""
        table = TABLES[EventRow]
        where = (table.c.tenant == self._tenant, table.c.received < before)
        self._connection.execute(delete(table).where(*where))

    def put_summaries(self, rows: Iterable[SummaryRow]) -> None:
        """Insert or replace the newest summaries, many at once."""
        self._put_all(SummaryRow, rows)

    def delete_data_of(self, uid: str) -> None:
        """Delete everything here about an agent: streams, events, its summary, and alerts."""
        for kind in (StreamRow, EventRow, SummaryRow, AlertRow):
            self._delete(kind, uid=uid)

    def put_alert(self, row: AlertRow) -> None:
        """Insert or replace an alert."""
        self._put(row)

    def delete_alert(self, uid: str, item: str, resource: str) -> None:
        """Delete an alert, if it is there."""
        self._delete(AlertRow, uid=uid, item=item, resource=resource)

    def put_silence(self, row: SilenceRow) -> None:
        """Insert or replace a silence."""
        self._put(row)

    def delete_silence(self, name: str) -> None:
        """Delete a silence, if it is there."""
        self._delete(SilenceRow, name=name)

    def put_delivery(self, row: DeliveryRow) -> None:
        """Insert or replace something that is to be told."""
        self._put(row)

    def delete_delivery(self, number: int, route: str) -> None:
        """Delete something that is to be told, if it is there."""
        self._delete(DeliveryRow, number=number, route=route)
