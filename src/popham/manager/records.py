"""The records that agents send: the intake that takes them, and what follows it, in the order in which they begin and end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from popham.clock import Clock
from popham.manager.book import ManagerBook
from popham.manager.data.data import Data
from popham.manager.intake.intake import Intake
from popham.manager.intake.views import IntakeView
from popham.manager.otlp.otlp import Otlp
from popham.manager.settings import ManagerSettings
from popham.manager.summary.summary import Summary
from popham.store.data_rows import EventRow
from popham.store.seam import Store
from popham.streams.disk import SystemDisk
from popham.streams.frame import Stream

FOLDER = "data"
"""Folder of the state directory that has all of it."""


class Records:
    """What one Manager does with records.

    Attributes:
        intake: Takes them.
        otlp: Takes those that come as plain OTLP.
        data: Keeps logs and metrics to be read.
        summary: Makes the summary window, and what came of it over time.
    """

    def __init__(
        self,
        state: Path,
        settings: ManagerSettings,
        store: Store,
        book: ManagerBook,
        clock: Clock,
        *,
        draw: Callable[[], float],
        told: Callable[[Sequence[EventRow]], None] = lambda _events: None,
    ) -> None:
        """Wire the parts.

        Args:
            state: The state directory.
            settings: What they may use.
            store: The database.
            book: All agents.
            clock: Dates everything.
            draw: Random number in [0, 1).
            told: Told of events of agents, once they are durable. Must not wait.
        """
        folder = state / FOLDER
        self.intake = Intake(
            folder / "intake", store, clock, limits=settings.intake.bounds(), draw=draw, disk=SystemDisk()
        )
        self.otlp = Otlp(self.intake, clock)
        self.data = Data(folder, self.intake.segments, settings.data, clock)
        self.summary = Summary(
            store,
            book,
            clock,
            source=self.intake.segments,
            known=self.intake.known,
            data=self.data,
            folder=folder,
            keepalive=settings.limits.keepalive,
            told=told,
        )

    def views(self) -> tuple[IntakeView, ...]:
        """Return how the intake of each stream is, with what is kept of it in files."""
        found = self.intake.views()
        return tuple(replace(view, kept=self.data.kept(Stream(view.name))) for view in found)

    async def begin(self) -> None:
        """Read how far everything is. Raises StateError."""
        await self.intake.load()
        await self.summary.begin()

    def work(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what runs until it is cancelled; if one ends with a StateError, the process must end."""
        return self.intake.run(), self.data.run(), self.summary.run()

    async def close(self) -> None:
        """Write what waits, before the store is closed."""
        await self.intake.close()
