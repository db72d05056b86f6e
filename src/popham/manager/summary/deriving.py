"""Rows of the database from what agents sent: events, and the newest of their summaries.

Rules:

1. Rows are written with the reader's position in one transaction: exactly once, whenever the process ends.
2. Nothing here is on the path of an append: payloads are read in a thread, a bounded batch at a time, and the loop is
   others' in between.
3. Events go first, then summaries; each batch of summaries lets events that came meanwhile pass.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, takewhile
from typing import Any, Final, Generic, Protocol, TypeVar

from popham.errors import StateError
from popham.manager.data.payload import Reason, read_logs, read_points
from popham.manager.data.rows import Entry, PointRow
from popham.manager.intake.position import Position
from popham.manager.summary.events import KEEP, add_events, event_of
from popham.manager.summary.items import Point, resource_of
from popham.manager.summary.newest import Brief, Newest, brief_of, merge
from popham.store.data_rows import EventRow
from popham.store.seam import Reading, Store, Writing
from popham.streams.frame import Kind, Stream

_log = logging.getLogger(__name__)
READER: Final = "derived"
"""Name of this reader at the intake."""
BATCH: Final = 256 * 1024
"""Bytes of frames that are read at once: summaries of 500 agents, 30 ms in a thread and 12 ms of the database's."""
RECORDS: Final = 20_000
"""Records that are read at once, or those of one frame: few bytes may be many."""
RETRY: Final = 1.0
"""Seconds until another attempt, after the database had no room, or a segment could not be read."""
PRUNE: Final = 3600.0
"""Seconds between two looks for events that are kept no more."""
PAGE: Final = 500
"""Rows that are read at once at the start."""
GAUGE: Final = "gauge"
"""The kind of metric that a summary consists of."""
T = TypeVar("T")


class Taken(Entry, Protocol):
    """A frame that the intake took."""

    @property
    def position_after(self) -> Position:
        """Where the next one begins."""
        ...


class Source(Protocol):
    """The intake's segments, as a reader sees them."""

    def register(self, stream: Stream, reader: str, position: Position) -> None:
        """Take note that a reader is here: nothing beyond its position is deleted."""
        ...

    def read(self, stream: Stream, after: Position, *, limit: int) -> Sequence[Taken]:
        """Return what is durable after a position; blocks on files."""
        ...

    def wait(self, stream: Stream, after: Position) -> Awaitable[None]:
        """Return once there is something after a position."""
        ...

    def release(self, stream: Stream, reader: str, position: Position) -> None:
        """Take note that a reader needs nothing before a position."""
        ...


@dataclass(slots=True)
class Batch(Generic[T]):
    """What came of some entries.

    Attributes:
        position: After the last of them.
        found: What they have.
        aside: Reason → records that could not be read.
    """

    position: Position
    found: T
    aside: Counter[Reason] = field(default_factory=Counter)

    def set_aside(self, entry: Entry, reason: Reason, count: int) -> None:
        """Count records that could not be read."""
        del entry
        self.aside[reason] += count


Points = dict[str, tuple[list[Point], float]]
"""Agent → its points, and when the newest of them came."""


def bound(entries: Sequence[Taken]) -> Sequence[Taken]:
    """Return the first entries, one at least, that have no more than :data:`RECORDS` together."""
    heads = (entry.frame.head for entry in entries)
    sums = accumulate(head.count if head.kind is Kind.RECORDS else 0 for head in heads)
    return entries[: max(1, sum(1 for _ in takewhile(lambda count: count <= RECORDS, sums)))]


def parse_events(entries: Sequence[Taken]) -> Batch[list[EventRow]]:
    """Return the events of entries of the stream ``events``, one at least, in order; in a thread."""
    found: list[EventRow] = []
    batch = Batch(entries[-1].position_after, found)
    for entry in entries:
        found += [event_of(row) for row in read_logs(entry, batch.set_aside)]
    return batch


def parse_points(entries: Sequence[Taken]) -> Batch[Points]:
    """Return the values of entries of the stream ``summary``, one at least, by agent; in a thread."""
    points: defaultdict[str, list[Point]] = defaultdict(list)
    received: dict[str, float] = {}
    batch: Batch[Points] = Batch(entries[-1].position_after, {})
    for entry in entries:
        for row in read_points(entry, batch.set_aside):
            received[row.uid] = max(entry.received, received.get(row.uid, 0.0))
            if row.kind == GAUGE and row.value is not None:
                points[row.uid].append(_point(row, row.value))
    batch.found.update((uid, (found, received[uid])) for uid, found in points.items())
    return batch


def _point(row: PointRow, value: float) -> Point:
    return Point(row.name[:256], resource_of(row.attributes), row.at, value, row.unit[:64])


def write_events(tx: Writing, batch: Batch[list[EventRow]]) -> list[EventRow]:
    """Store events; return them with their numbers."""
    stored = add_events(tx, batch.found)
    keep_position(tx, Stream.EVENTS, batch.position)
    return stored


def write_points(tx: Writing, batch: Batch[Points]) -> list[Brief]:
    """Store the newest values of some agents; return what memory has of them."""
    known = {row.uid: row for row in tx.summaries(sorted(batch.found))}
    rows = [merge(known.get(uid), uid, points, at) for uid, (points, at) in batch.found.items()]
    tx.put_summaries(rows)
    keep_position(tx, Stream.SUMMARY, batch.position)
    return [brief_of(row) for row in rows]


def keep_position(tx: Writing, stream: Stream, position: Position) -> None:
    """Store how far the reader of a stream is, beside what came of it."""
    tx.set_meta(f"derived:{stream}", json.dumps(position.as_json()))


def read_position(tx: Reading, stream: Stream) -> Position:
    """Return from where a stream is to be read on."""
    return Position.from_json(json.loads(tx.meta(f"derived:{stream}") or "[0, 0]"))


class Derivation:
    """Follows the streams ``events`` and ``summary``.

    Attributes:
        newest: The key metrics of all agents.
        aside: Reason → records that could not be read since the start.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        now: Callable[[], float],
        *,
        told: Callable[[Sequence[EventRow]], None] = lambda _events: None,
    ) -> None:
        """Follow ``source``.

        Args:
            store: Where rows are kept.
            source: The intake's segments.
            now: Wall time, in unix seconds.
            told: Told of events, once they are durable. Must not wait.
        """
        self.newest = Newest()
        self.aside: Counter[Reason] = Counter()
        self._store = store
        self._source = source
        self._now = now
        self._told = told
        self._at: dict[Stream, Position] = {}

    async def begin(self) -> None:
        """Take up where the last process ended; before anything else can delete what was not read."""
        for stream in (Stream.EVENTS, Stream.SUMMARY):
            self._at[stream] = await self._store.read(partial(read_position, stream=stream))
            self._source.register(stream, READER, self._at[stream])

    async def run(self) -> None:
        """Derive until cancelled.

        Raises:
            StateError: The database failed; the process must end.
        """
        await self._load()
        pruned = float("-inf")
        while True:
            try:
                if self._now() - pruned >= PRUNE:
                    pruned = self._now()
                    await self._store.write(partial(_prune, before=pruned - KEEP))
                while await self.step():
                    pass
                await self._wait()
            except (StateError, OSError) as error:
                if isinstance(error, StateError) and not error.retryable:
                    raise
                _log.warning("events and summaries are derived later: %s", error)
                await asyncio.sleep(RETRY)

    async def step(self) -> bool:
        """Derive one batch: of events, if there are any, else of summaries; return whether there was something."""
        events = await self._batch(Stream.EVENTS, parse_events)
        if events is not None:
            self._told(await self._store.write(lambda tx: write_events(tx, events)))
            self._advance(Stream.EVENTS, events)
            return True
        points = await self._batch(Stream.SUMMARY, parse_points)
        if points is None:
            return False
        self.newest.note(await self._store.write(lambda tx: write_points(tx, points)))
        self._advance(Stream.SUMMARY, points)
        return True

    async def _batch(self, stream: Stream, parse: Callable[[Sequence[Taken]], Batch[T]]) -> Batch[T] | None:
        def work() -> Batch[T] | None:
            entries = self._source.read(stream, self._at[stream], limit=BATCH)
            return parse(bound(entries)) if entries else None

        return await asyncio.to_thread(work)

    def _advance(self, stream: Stream, batch: Batch[Any]) -> None:
        for reason, count in batch.aside.items():
            _log.warning("%d records of %s could not be read (%s)", count, stream, reason)
        self.aside.update(batch.aside)
        self._at[stream] = batch.position
        self._source.release(stream, READER, batch.position)

    async def _wait(self) -> None:
        """Return once there is something after one of the positions."""
        waits = [asyncio.ensure_future(self._source.wait(*pair)) for pair in self._at.items()]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=PRUNE)
        finally:
            for task in waits:
                task.cancel()
            results = await asyncio.gather(*waits, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _load(self) -> None:
        """Read the newest of all agents into memory, a page at a time."""
        after = ""
        while rows := await self._store.read(partial(_page, after=after)):
            after, briefs = rows
            self.newest.note(briefs)


def _prune(tx: Writing, *, before: float) -> None:
    tx.prune_events(before)


def _page(tx: Reading, *, after: str) -> tuple[str, list[Brief]] | None:
    """Return the last uid of a page of agents, and what memory has of them; None after the last page."""
    uids = [kept.uid for kept in tx.agents_kept(after=after, limit=PAGE)]
    return (uids[-1], [*map(brief_of, tx.summaries(uids))]) if uids else None
