"""The task that keeps roll-ups, and whoever asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from popham.clock import Clock
from popham.errors import DefinitionError
from popham.manager.data.catalog import Catalog
from popham.manager.data.engine import Engine, EngineError
from popham.manager.summary.levels import Level
from popham.manager.summary.rolled import RolledView, read_rolled
from popham.manager.summary.rolling import Rolling

_log = logging.getLogger(__name__)
LOOK: Final = 30.0
"""Seconds between two looks at whether a window is to be made."""
REST: Final = 0.2
"""Seconds between two windows: others use the same disk and interpreter."""


class Rollups:
    """Makes roll-ups of the summary's files, and reads them."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        catalog: Catalog,
        clock: Clock,
        plans: Callable[[], Awaitable[Mapping[str, float]]],
    ) -> None:
        """Keep roll-ups below ``folder``, the data's.

        Args:
            folder: Of all data.
            engine: Reads and writes there.
            catalog: Of the files of the stream ``summary``.
            clock: Says which windows are over.
            plans: Returns agent → seconds between two samples, where that is not the default.
        """
        self._folder = folder
        self._engine = engine
        self._catalog = catalog
        self._clock = clock
        self._plans = plans
        self._rolling = Rolling(folder, engine)

    async def run(self) -> None:
        """Make roll-ups until cancelled."""
        while True:
            try:
                await self.look()
            except (OSError, EngineError) as error:
                _log.warning("roll-ups of the summary are made later: %s", error)
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Make every window that is due, one after the other, and delete the days that are kept no more.

        Raises:
            OSError: A file could not be written; the same is tried again at the next look.
            EngineError: A file could not be read; likewise.
        """
        with self._catalog.hold() as contents:
            folder, now = self._catalog.folder, self._clock.now()
            ready = await asyncio.to_thread(self._rolling.note, contents, folder)
            if ready and await asyncio.to_thread(self._rolling.due, now):
                plans = await self._plans()
                while True:
                    if not await asyncio.to_thread(self._rolling.make, contents, folder, plans, now):
                        break
                    await asyncio.sleep(REST)
        for day in await asyncio.to_thread(self._rolling.drop, now):
            _log.info("roll-ups of %s are kept no more", day)

    async def ask(
        self, level: Level, uid: str, *, since: float, until: float, item: str = ""
    ) -> Sequence[RolledView]:
        """Return an agent's values; arguments as of :func:`read_rolled`, errors as of :meth:`Engine.ask`.

        Raises:
            DefinitionError: ``definition.query``: a file cannot be read.
        """
        try:
            return await self._engine.ask(
                lambda connection: read_rolled(
                    connection,
                    self._folder,
                    level,
                    uid,
                    since=level.window(int(since)),
                    until=until,
                    item=item,
                )
            )
        except EngineError as error:
            problem = f"this cannot be answered: {error}"
            raise DefinitionError("query", problem, "Ask for another time, or restore the file") from error
