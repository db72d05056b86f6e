"""Follows one stream of the intake: reads what came, keeps it in memory for a while, and writes it into files.

Rules:

1. A record can be found as soon as it was read, long before it is in a file.
2. What is in memory is bounded; while files cannot be written, nothing more is read, and the intake keeps it.
3. What is read anew after a crash is what the catalog does not have.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from popham.clock import Clock
from popham.manager.data.aside import Shelf
from popham.manager.data.catalog import Catalog, Contents, PartFile
from popham.manager.data.columns import LOGS, form_of, make_batch
from popham.manager.data.engine import Engine, EngineError
from popham.manager.data.payload import read_logs, read_points
from popham.manager.data.place import place_of, position_of
from popham.manager.data.recovery import load, set_aside
from popham.manager.data.rows import Entry, LogRow, PointRow
from popham.manager.data.tail import Tail
from popham.manager.data.upkeep import Keep, count_rows, find_dropped, find_merge
from popham.manager.data.writing import begin_of, day_of, merge, write_days
from popham.manager.intake.position import Position
from popham.streams.frame import Stream

if TYPE_CHECKING:
    from arro3.core import RecordBatch

T = TypeVar("T")
_log = logging.getLogger(__name__)
READER: Final = "files"
"""Its name as a reader of the intake."""
SLICE: Final = 256 * 1024
"""Bytes of frames that are read at once: the event loop shares the interpreter with it."""
FULL: Final = 32 * 1024 * 1024
"""Bytes in memory from which a file is written."""
OLD: Final = 300.0
"""Seconds that a row is in memory only, at most."""
LOOK: Final = 5.0
"""Seconds between two looks at whether it is time to write."""
_ROWS: Final = 65_536
"""Rows of a batch, at most."""
_TEXT: Final = 8 * 1024 * 1024
"""Characters of text of a batch, at most, and of one row more."""


class PlacedEntry(Entry, Protocol):
    """An entry, and the position after it."""

    @property
    def position_after(self) -> Position:
        """Where the next entry is."""
        ...


class Source(Protocol):
    """The segments of the intake."""

    def read(self, stream: Stream, after: Position, *, limit: int) -> Sequence[PlacedEntry]:
        """Return the next entries, at most ``limit`` bytes of them, but one at least if there is any. Blocks."""
        ...

    def wait(self, stream: Stream, after: Position) -> Awaitable[None]:
        """Wait until there is an entry after ``after``."""
        ...

    def end(self, stream: Stream) -> Position:
        """Return the position after the last entry."""
        ...

    def register(self, stream: Stream, reader: str, position: Position) -> None:
        """Have what is after ``position`` kept for ``reader``."""
        ...

    def release(self, stream: Stream, reader: str, position: Position) -> None:
        """Let go of what is before ``position``, as far as ``reader`` is concerned."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows of a stream at one moment.

    Attributes:
        contents: The files.
        batches: What is in none of them yet.
        end: The place up to which the intake was read.
    """

    contents: Contents
    batches: Sequence[RecordBatch]
    end: int


class Follower:
    """Follows one stream."""

    def __init__(
        self,
        stream: Stream,
        source: Source,
        catalog: Catalog,
        engine: Engine,
        shelf: Shelf,
        clock: Clock,
        keep: Keep,
    ) -> None:
        """Wire it; :meth:`run` begins."""
        self.stream = stream
        self.form = form_of(stream)
        self.catalog = catalog
        self._source = source
        self._engine = engine
        self._shelf = shelf
        self._clock = clock
        self._keep = keep
        self._filling = Tail()
        self._writing: Tail | None = None
        self._end = self._to = 0
        self._since: float | None = None
        self._full = asyncio.Event()
        self._free = asyncio.Event()
        self._day = ""
        self._turn = asyncio.Lock()

    @contextmanager
    def look(self, after: int = -1) -> Iterator[Snapshot]:
        """Return all rows as they are now; those in memory only as far as their place can be above ``after``."""
        with self.catalog.hold() as contents:
            tails = [tail for tail in (self._writing, self._filling) if tail is not None]
            yield Snapshot(contents, [batch for tail in tails for batch in tail.batches(after)], self._end)

    async def run(self) -> None:
        """Read and write until it is cancelled."""
        await asyncio.to_thread(load, self.catalog, self._engine)
        self._end = self.catalog.contents.place
        if self._end > place_of(self._source.end(self.stream)):
            _log.warning("%s: the intake began anew; its files are kept", self.stream)
            self._end = 0
        self._source.register(self.stream, READER, position_of(self._end))
        self._free.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_on())
            tasks.create_task(self._write_on())

    async def _read_on(self) -> None:
        while True:
            await self._free.wait()
            await self._source.wait(self.stream, position_of(self._end))
            began = self._clock.monotonic()
            try:
                batches, end = await asyncio.to_thread(self._read, position_of(self._end))
            except OSError as error:
                _log.warning("%s cannot be read from the intake: %s", self.stream, error)
                await asyncio.sleep(LOOK)
                continue
            now = self._clock.monotonic()
            for batch, last in batches:
                self._filling.add(batch, last)
            self._end = end
            if self._since is None:
                self._since = now
            self._balance()
            await asyncio.sleep(now - began)  # half of the interpreter's time is the event loop's

    def _read(self, after: Position) -> tuple[list[tuple[RecordBatch, int]], int]:
        """Return the next rows with the highest place of each batch, and where they end. Blocks.

        Few bytes may be many rows: once a batch is full, the other entries are read the next time.
        """
        read: Callable[..., Iterator[LogRow | PointRow]] = read_logs if self.form is LOGS else read_points
        found: list[tuple[RecordBatch, int]] = []
        places: list[int] = []
        rows: list[LogRow | PointRow] = []
        end, text = place_of(after), 0
        for entry in self._source.read(self.stream, after, limit=SLICE):
            end = place_of(entry.position_after)
            for row in read(entry, self._shelf.put):
                places.append(end)
                rows.append(row)
                text += len(row.attributes) + len(row.resource)
                if len(rows) == _ROWS or text > _TEXT:
                    found.append((make_batch(self.form, places, rows), end))
                    places, rows, text = [], [], 0
            if found:
                break
        if rows:
            found.append((make_batch(self.form, places, rows), end))
        return found, end

    async def _write_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._full.wait()
            except TimeoutError:
                old = self._since is not None and self._clock.monotonic() - self._since >= OLD
                failed = self._writing is not None
                if not old and not failed and self._day == day_of(self._now()):
                    continue
            try:
                await self.write()
            except (OSError, EngineError) as error:
                _log.warning(
                    "%s cannot be written into files, and waits in the intake: %s", self.stream, error
                )
                await asyncio.sleep(LOOK)

    async def write(self) -> None:
        """Write what is in memory into files, merge those that are small, and drop those that are old.

        Raises:
            OSError, EngineError: The disk takes nothing; the same is tried again at the next call.
        """
        async with self._turn:
            if self._writing is None:
                self._writing, self._filling = self._filling, Tail()
                self._to, self._since = self._end, None
            self._balance()
            contents = await _whole(partial(self._write, self._writing.batches(), self._to))
            self._show(contents, read=True)
            while files := find_merge(self.catalog.contents.files):
                merged = await _whole(partial(self._merge, files))
                if merged is not None:
                    self._show(merged)
                elif not await self._inspect():
                    break
            self._show(await _whole(self._drop))
            self._day = day_of(self._now())

    async def inspect(self) -> bool:
        """Read all files, and set aside those that are damaged; return whether there were any."""
        async with self._turn:
            return await self._inspect()

    async def _inspect(self) -> bool:
        contents = await _whole(partial(set_aside, self.catalog, self._engine))
        found = contents is not self.catalog.contents
        self._show(contents)
        return found

    def _show(self, contents: Contents, *, read: bool = False) -> None:
        """Let readers see what was saved; what was in memory is in files now, if ``read``."""
        self.catalog.show(contents)
        if read:
            self._writing = None
            self._source.release(self.stream, READER, position_of(contents.place))
            self._balance()

    def _balance(self) -> None:
        """Let more be read, or have it written first."""
        if self._filling.bytes < FULL:
            self._full.clear()
            self._free.set()
        else:
            self._free.clear()
            self._full.set()

    def _write(self, batches: Sequence[RecordBatch], to: int) -> Contents:
        """Write files, and the catalog that names them; return it. Blocks."""
        held = self.catalog.contents
        since, rows = self._oldest(), sum(batch.num_rows for batch in batches)
        files: list[PartFile] = []
        if batches:
            with self._engine.open() as connection:
                files = write_days(connection, self.catalog.folder, self.form, batches, since)
        dropped = Counter(held.dropped)
        dropped["age"] += rows - sum(file.rows for file in files)
        contents = Contents(
            files=(*held.files, *files),
            place=to,
            aside=dict(Counter(held.aside) + self._shelf.take()),
            dropped=dict(+dropped),
        )
        self.catalog.save(contents)
        return contents

    def _merge(self, files: Sequence[PartFile]) -> Contents | None:
        """Merge files, and return what counts then; None if that failed. Blocks."""
        held = self.catalog.contents
        try:
            with self._engine.open() as connection:
                merged = merge(connection, self.catalog.folder, self.form, files)
        except EngineError as error:
            _log.warning("%s: %d files cannot be merged: %s", self.stream, len(files), error)
            return None
        kept = tuple(file for file in held.files if file not in files)
        contents = msgspec.structs.replace(held, files=(*kept, merged))
        self.catalog.save(contents)
        return contents

    def _drop(self) -> Contents:
        """Drop what is too old or too much, and return what counts then. Blocks."""
        held = self.catalog.contents
        self.catalog.tidy()
        found = list(find_dropped(held.files, self._keep, day_of(self._oldest())))
        if not found:
            return held
        counts = count_rows(found)
        _log.info("%s: %d files are dropped, with records: %s", self.stream, len(found), dict(counts))
        gone = {file for _, file in found}
        contents = msgspec.structs.replace(
            held,
            files=tuple(file for file in held.files if file not in gone),
            dropped=dict(Counter(held.dropped) + counts),
        )
        self.catalog.save(contents)
        return contents

    def _oldest(self) -> int:
        """Return when the first day begins that is kept, in unix nanoseconds."""
        return begin_of(day_of(self._now() - int(self._keep.seconds) * 1_000_000_000))

    def _now(self) -> int:
        return int(self._clock.now()) * 1_000_000_000


async def _whole(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, done in a thread; also where this is cancelled, it is done to its end."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(doing)
    finally:
        if not doing.done():
            await asyncio.wait({doing})
