"""Questions about agents' data inside one transaction, and changes of it, on dictionaries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from popham.store.data_rows import (
    RECOVERED,
    AlertRow,
    DeliveryRow,
    EventRow,
    SilenceRow,
    StreamRow,
    SummaryRow,
)
from popham.store.memory_question import MemoryQuestion


class MemoryDataReading(MemoryQuestion):
    """``DataReading`` on dictionaries."""

    def stream_rows(self) -> list[StreamRow]:
        """Return how far the intake was with every stream, by agent, stream and epoch."""
        return self._rows(StreamRow)

    def streams_of(self, uid: str) -> list[StreamRow]:
        """Return how far the intake was with the streams of one agent, by stream and epoch."""
        return [row for row in self._rows(StreamRow) if row.uid == uid]

    def events(
        self, *, uid: str = "", after: int = 0, limit: int | None = None, newest: bool = False
    ) -> list[EventRow]:
        """Return events with numbers above ``after``, of one agent or all, the oldest or the newest first."""
        found = [row for row in self._rows(EventRow) if row.number > after and uid in {"", row.uid}]
        return (found[::-1] if newest else found)[:limit]

    def last_event(self) -> int:
        """Return the highest number of an event; 0 if there is none."""
        return max((row.number for row in self._rows(EventRow)), default=0)

    def summaries(self, uids: Sequence[str] | None = None) -> list[SummaryRow]:
        """Return the newest summaries of these agents, or of all, by uid."""
        return [row for row in self._rows(SummaryRow) if uids is None or row.uid in uids]

    def summary(self, uid: str) -> SummaryRow | None:
        """Return the newest summary of one agent."""
        return self._row(SummaryRow, uid)

    def alerts(self, *, uid: str = "", open_only: bool = True) -> list[AlertRow]:
        """Return alerts of one agent or all, by agent, item and resource; those that recovered too, if asked for."""
        rows = [row for row in self._rows(AlertRow) if uid in {"", row.uid}]
        return [row for row in rows if not (open_only and row.state == RECOVERED)]

    def silences(self) -> list[SilenceRow]:
        """Return all silences by name."""
        return self._rows(SilenceRow)

    def deliveries(self, *, limit: int | None = None) -> list[DeliveryRow]:
        """Return what is still to be told, by number and route."""
        return self._rows(DeliveryRow)[:limit]


class MemoryDataWriting:
    """``DataWriting`` on dictionaries that are copied when they are first changed."""

    _tenant: str

    @abstractmethod
    def _open(self, kind: object) -> dict[Any, Any]:
        """Return a table of one's own to change."""

    def put_stream(self, row: StreamRow) -> None:
        """Insert or replace how far the intake is with one epoch of a stream."""
        self.put_streams([row])

    def put_streams(self, rows: Iterable[StreamRow]) -> None:
        """Insert or replace many at once."""
        self._open(StreamRow).update({(row.tenant, row.uid, row.stream, row.epoch): row for row in rows})

    def delete_stream(self, uid: str, stream: str, epoch: int) -> None:
        """Forget an epoch of a stream, if it is there."""
        self._open(StreamRow).pop((self._tenant, uid, stream, epoch), None)

    def put_events(self, rows: Iterable[EventRow]) -> None:
        """Insert or replace events, many at once."""
        self._open(EventRow).update({(row.tenant, row.number): row for row in rows})

    def prune_events(self, before: float) -> None:
        """Delete events that were received before then."""
        table = self._open(EventRow)
        for key in [key for key, row in table.items() if key[0] == self._tenant and row.received < before]:
            del table[key]

    def put_summaries(self, rows: Iterable[SummaryRow]) -> None:
        """Insert or replace the newest summaries, many at once."""
        self._open(SummaryRow).update({(row.tenant, row.uid): row for row in rows})

    def delete_data_of(self, uid: str) -> None:
        """Delete everything here about an agent: streams, events, its summary, and alerts."""
        for kind in (StreamRow, EventRow, SummaryRow, AlertRow):
            table = self._open(kind)
            for key in [key for key, row in table.items() if key[0] == self._tenant and row.uid == uid]:
                del table[key]

    def put_alert(self, row: AlertRow) -> None:
        """Insert or replace an alert."""
        self._open(AlertRow)[row.tenant, row.uid, row.item, row.resource] = row

    def delete_alert(self, uid: str, item: str, resource: str) -> None:
        """Delete an alert, if it is there."""
        self._open(AlertRow).pop((self._tenant, uid, item, resource), None)

    def put_silence(self, row: SilenceRow) -> None:
        """Insert or replace a silence."""
        self._open(SilenceRow)[row.tenant, row.name] = row

    def delete_silence(self, name: str) -> None:
        """Delete a silence, if it is there."""
        self._open(SilenceRow).pop((self._tenant, name), None)

    def put_delivery(self, row: DeliveryRow) -> None:
        """Insert or replace something that is to be told."""
        self._open(DeliveryRow)[row.tenant, row.number, row.route] = row

    def delete_delivery(self, number: int, route: str) -> None:
        """Delete something that is to be told, if it is there."""
        self._open(DeliveryRow).pop((self._tenant, number, route), None)
