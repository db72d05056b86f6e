"""A Proxy Manager's process: the agent of its machine, and beside it a door for agents below, and a relay to above."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from popham.agent.app import Agent
from popham.agent.extension import Extension, Parts
from popham.clock import Clock
from popham.proxy.downlink import Downlink
from popham.proxy.settings import ProxySettings
from popham.statedir import StateDir
from popham.upstream.lag import COLLECT


class ProxyManager:
    """A running Proxy Manager, enrolled or not yet.

    Attributes:
        agent: What it is to its Manager.
        downlink: What it is to agents below; None before it was accepted.
    """

    def __init__(
        self, settings: ProxySettings, source: Path, state_dir: StateDir, clock: Clock, rng: random.Random
    ) -> None:
        """Read what is kept; :meth:`run` begins. Arguments as of :class:`popham.agent.app.Agent`."""
        self.agent = Agent(settings, source, state_dir, clock, rng)
        self.agent.extend = self._extend
        self.downlink: Downlink | None = None
        self._settings = settings
        self._clock = clock
        self._rng = rng

    async def run(self, ready: asyncio.Event, stopping: asyncio.Event) -> bool:
        """Keep this machine on its orders, and relay, until ``stopping`` is set.

        Returns:
            Whether the program is to begin anew, because that was ordered.

        Raises:
            StateError: It never began to enroll, or what it keeps is damaged.
            ConfigError: An address cannot be listened on.
        """
        usual = gc.get_threshold()
        gc.set_threshold(*COLLECT)
        try:
            return await self.agent.run(ready, stopping)
        finally:
            gc.set_threshold(*usual)

    async def _extend(self, parts: Parts) -> Extension:
        downlink = self.downlink = Downlink(self._settings, parts, self._clock, self._rng)
        await downlink.begin()
        driving = downlink.driving
        parts.end.woken = driving.woken
        return Extension(
            work=(downlink.run,),
            relay=driving.relay,
            rounded=driving.rounded,
            renewed=downlink.shown.renewed,
            describe=lambda: {"proxy": downlink.describe()},
        )


@asynccontextmanager
async def open_proxy(
    settings: ProxySettings, source: Path, clock: Clock, rng: random.Random
) -> AsyncIterator[ProxyManager]:
    """Open a Proxy Manager's state directory, and close it at the end.

    Raises:
        StateError: It cannot be used, or another process uses it.
    """
    with StateDir.open(Path(settings.state), settings.kind, create=False) as state:
        yield ProxyManager(settings, source, state, clock, rng)
