"""All data of agents: follows the streams of the intake, and answers what people ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from popham.clock import Clock
from popham.errors import DefinitionError
from popham.manager.data.aside import Shelf
from popham.manager.data.asking import PageOf, Rows, Wanted, find_rows, floor_of
from popham.manager.data.catalog import Catalog
from popham.manager.data.engine import Engine, EngineError, check_grep
from popham.manager.data.follower import Follower, Snapshot, Source
from popham.manager.data.series import find_names, find_series
from popham.manager.data.settings import DataSettings
from popham.manager.data.views import KeptView, MetricView, Series
from popham.streams.frame import Stream

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")
FOLDER: Final = "data"
"""Name of the folder in the state directory; the intake's is in it too."""
MEASURED: Final = (Stream.METRICS, Stream.SUMMARY)
"""The streams that have metrics."""
Looked = list[tuple[Follower, Snapshot]]


class Data:
    """The data of one Manager.

    Attributes:
        engine: What reads and writes files.
    """

    def __init__(self, folder: Path, source: Source, settings: DataSettings, clock: Clock) -> None:
        """Wire it; :meth:`run` begins.

        Args:
            folder: Where files are.
            source: The intake's segments.
            settings: What is kept.
            clock: Dates what is too old.
        """
        self.engine = Engine(folder, memory=settings.memory)
        self._followers = {
            stream: Follower(
                stream,
                source,
                Catalog(folder / stream),
                self.engine,
                Shelf(folder / "aside" / stream),
                clock,
                settings.keep(stream),
            )
            for stream in Stream
        }

    async def run(self) -> None:
        """Follow the streams until this is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for follower in self._followers.values():
                    tasks.create_task(follower.run())
        finally:
            self.engine.close()

    def catalog(self, stream: Stream) -> Catalog:
        """Return which files a stream has."""
        return self._followers[stream].catalog

    def kept(self, stream: Stream) -> KeptView:
        """Return what is kept of a stream."""
        contents = self._followers[stream].catalog.contents
        return KeptView(
            records=sum(file.rows for file in contents.files),
            files=len(contents.files),
            bytes=sum(file.bytes for file in contents.files),
            oldest=min((file.day for file in contents.files), default=""),
            aside=contents.aside,
            dropped=contents.dropped,
        )

    async def rows(self, stream: Stream, wanted: Wanted, page: PageOf) -> Rows:
        """Return a page of the rows of a stream; errors as :meth:`Engine.ask`."""

        def work(connection: DuckDBPyConnection, looked: Looked) -> Rows:
            ((follower, snapshot),) = looked
            if wanted.grep:
                check_grep(connection, wanted.grep)
            return find_rows(connection, follower, snapshot, wanted, page)

        return await self._ask((stream,), work, after=floor_of(page))

    async def names(self, wanted: Wanted) -> list[MetricView]:
        """Return which metrics there are; errors as :meth:`Engine.ask`."""
        return await self._ask(MEASURED, lambda connection, looked: find_names(connection, looked, wanted))

    async def series(self, wanted: Wanted, *, step: int, limit: int) -> tuple[list[Series], bool]:
        """Return one metric over time, as :func:`find_series` does; errors as :meth:`Engine.ask`."""
        return await self._ask(
            MEASURED,
            lambda connection, looked: find_series(connection, looked, wanted, step=step, limit=limit),
        )

    async def _ask(
        self, streams: tuple[Stream, ...], work: Callable[[DuckDBPyConnection, Looked], T], *, after: int = -1
    ) -> T:
        """Return what ``work`` finds; a file that is damaged is set aside, and the question asked again."""
        followers = [self._followers[stream] for stream in streams]
        try:
            return await self._look(followers, work, after)
        except EngineError as error:
            found = [await follower.inspect() for follower in followers]
            if not any(found):
                problem = f"this cannot be answered: {error}"
                raise DefinitionError("query", problem, "Ask for something else, or report it") from error
        return await self._look(followers, work, after)

    async def _look(
        self, followers: list[Follower], work: Callable[[DuckDBPyConnection, Looked], T], after: int
    ) -> T:
        with ExitStack() as stack:
            looked = [(follower, stack.enter_context(follower.look(after))) for follower in followers]
            return await self.engine.ask(lambda connection: work(connection, looked))
