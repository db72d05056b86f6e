"""What a Manager needs of a database for agents' data: the part of :mod:`popham.store.seam` that is about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from popham.store.data_rows import AlertRow, DeliveryRow, EventRow, SilenceRow, StreamRow, SummaryRow


class DataReading(Protocol):
    """Questions inside one transaction; None or an empty list where nothing is found."""

    def stream_rows(self) -> list[StreamRow]:
        """Return how far the intake was with every stream, by agent, stream and epoch."""
        ...

    def streams_of(self, uid: str) -> list[StreamRow]:
        """Return how far the intake was with the streams of one agent, by stream and epoch."""
        ...

    def events(
        self, *, uid: str = "", after: int = 0, limit: int | None = None, newest: bool = False
    ) -> list[EventRow]:
        """Return events with numbers above ``after``, of one agent or all, the oldest or the newest first."""
        ...

    def last_event(self) -> int:
        """Return the highest number of an event; 0 if there is none."""
        ...

    def summaries(self, uids: Sequence[str] | None = None) -> list[SummaryRow]:
        """Return the newest summaries of these agents, or of all, by uid."""
        ...

    def summary(self, uid: str) -> SummaryRow | None:
        """Return the newest summary of one agent."""
        ...

    def alerts(self, *, uid: str = "", open_only: bool = True) -> list[AlertRow]:
        """Return alerts of one agent or all, by agent, item and resource; those that recovered too, if asked for."""
        ...

    def silences(self) -> list[SilenceRow]:
        """Return all silences by name."""
        ...

    def deliveries(self, *, limit: int | None = None) -> list[DeliveryRow]:
        """Return what is still to be told, by number and route."""
        ...


class DataWriting(Protocol):
    """Changes inside one transaction."""

    def put_stream(self, row: StreamRow) -> None:
        """Insert or replace how far the intake is with one epoch of a stream."""
        ...

    def put_streams(self, rows: Iterable[StreamRow]) -> None:
        """Insert or replace many at once."""
        ...

    def delete_stream(self, uid: str, stream: str, epoch: int) -> None:
        """Forget an epoch of a stream, if it is there."""
        ...

    def put_events(self, rows: Iterable[EventRow]) -> None:
        """Insert or replace events, many at once."""
        ...

    def prune_events(self, before: float) -> None:
        """Delete events that were received before then."""
        ...

    def put_summaries(self, rows: Iterable[SummaryRow]) -> None:
        """Insert or replace the newest summaries, many at once."""
        ...

    def delete_data_of(self, uid: str) -> None:
        """Delete everything here about an agent: streams, events, its summary, and alerts."""
        ...

    def put_alert(self, row: AlertRow) -> None:
        """Insert or replace an alert."""
        ...

    def delete_alert(self, uid: str, item: str, resource: str) -> None:
        """Delete an alert, if it is there."""
        ...

    def put_silence(self, row: SilenceRow) -> None:
        """Insert or replace a silence."""
        ...

    def delete_silence(self, name: str) -> None:
        """Delete a silence, if it is there."""
        ...

    def put_delivery(self, row: DeliveryRow) -> None:
        """Insert or replace something that is to be told."""
        ...

    def delete_delivery(self, number: int, route: str) -> None:
        """Delete something that is to be told, if it is there."""
        ...
