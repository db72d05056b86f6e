"""The summary of one Manager: what follows the streams for it, and what people are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from popham.clock import Clock
from popham.manager.data.data import Data
from popham.manager.intake.views import Known
from popham.manager.summary.deriving import Derivation, Source
from popham.manager.summary.rollups import Rollups
from popham.manager.summary.window import Fleet, Window
from popham.store.data_rows import EventRow
from popham.store.seam import Store
from popham.streams.frame import Stream


class Summary:
    """All that makes the summary.

    Attributes:
        window: Puts rows together.
        rollups: Makes and reads what came of it over time.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        clock: Clock,
        *,
        source: Source,
        known: Callable[[str], Mapping[Stream, Known]],
        data: Data,
        folder: Path,
        keepalive: float,
        told: Callable[[Sequence[EventRow]], None] = lambda _events: None,
    ) -> None:
        """Wire it; :meth:`begin` and :meth:`run` do the work.

        Args:
            store: Where rows are kept.
            fleet: All agents.
            clock: Dates what is shown.
            source: The intake's segments.
            known: Returns what the intake knows of the streams of one agent.
            data: All data of agents.
            folder: Where that is.
            keepalive: Seconds between pings on a held link.
            told: Told of events of agents, once they are durable. Must not wait.
        """
        self._derivation = Derivation(store, source, clock.now, told=told)
        self.window = Window(fleet, clock, self._derivation.newest, known, keepalive=keepalive)
        catalog = data.catalog(Stream.SUMMARY)
        self.rollups = Rollups(folder, data.engine, catalog, clock, self.window.intervals)

    async def begin(self) -> None:
        """Take up where the last process ended; before the intake deletes anything."""
        await self._derivation.begin()

    async def run(self) -> None:
        """Derive and roll up until cancelled.

        Raises:
            StateError: The database failed; the process must end.
        """
        work = [asyncio.ensure_future(part) for part in (self._derivation.run(), self.rollups.run())]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            results = await asyncio.gather(*work, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
