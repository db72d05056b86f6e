"""The agent's service beside its session: begun once, with whoever is behind it before birth and afterwards."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

from popham.agent.birth import Unborn
from popham.agent.end import AgentEnd
from popham.agent.local import LocalDoor
from popham.agent.service import AgentService
from popham.agent.service_settings import ServiceSettings
from popham.agent.settings import AgentSettings, load_settings
from popham.agent.state import AgentState
from popham.agent.status import Status
from popham.clock import Clock
from popham.downstream.visited import Visited


class Serving:
    """Keeps the service of one agent's process.

    Attributes:
        end: Told where the service is to be visited, once there is one.
        tasks: What must go on as long as the process; empty before the service has begun.
    """

    def __init__(
        self,
        settings: AgentSettings,
        source: Path,
        state: AgentState,
        folder: Path,
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """Keep what is needed; nothing begins yet. Arguments as of :class:`popham.agent.app.Agent`."""
        self._settings = settings
        self._source = source
        self._state = state
        self._folder = folder
        self._clock = clock
        self._rng = rng
        self._service: AgentService | None = None
        self._unborn: Unborn | None = None
        self.end: AgentEnd | None = None
        self.tasks: list[asyncio.Future[Any]] = []

    def begin(self, agent: Visited) -> AgentService:
        """Return the service behind which ``agent`` is from now on; one that there is goes on."""
        if self._service is None:
            self._service = AgentService(
                self._state,
                self._folder,
                read=self._read,
                world=agent,
                clock=self._clock,
                rng=self._rng,
                told=self._note,
            )
            self.tasks.append(asyncio.create_task(self._service.run(), name="service"))
        elif self._unborn is not None:
            self._unborn.become(agent)
        self._note(self._service.address)
        return self._service

    async def be_born(self, door: LocalDoor, status: Status, stopping: asyncio.Event) -> bool:
        """Wait behind the service until a visit brings a certificate; False if the process stops first."""
        unborn = self._unborn = Unborn(self._state, self._settings, status.say)
        service = self.begin(unborn)
        door.service = service.do
        status.serve(service.describe)
        waiting = [asyncio.ensure_future(event.wait()) for event in (unborn.born, stopping)]
        try:
            await asyncio.wait({*waiting, *self.tasks}, return_when=asyncio.FIRST_COMPLETED)
            for one in self.tasks:
                if one.done():
                    await one
        finally:
            for event in waiting:
                event.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        if unborn.born.is_set():
            service.renewed()
        return unborn.born.is_set()

    def renewed(self) -> None:
        """Show the new certificate from the next connection on."""
        if self._service is not None:
            self._service.renewed()

    async def aclose(self) -> None:
        """End the service."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _note(self, address: str) -> None:
        if self.end is not None:
            self.end.serves(address)

    def _read(self) -> ServiceSettings:
        """Return where the service is to listen, as the configuration says now."""
        if not self._source.exists():
            return self._settings.service
        return load_settings(self._source, env=os.environ, form=type(self._settings)).service
