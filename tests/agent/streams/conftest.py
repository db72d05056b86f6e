"""Agents with streams, and a Manager that takes them, in virtual time."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from popham.model.cell import Cell
from popham.model.communication import CommunicationSettings, Dialer, Mode
from popham.streams.frame import Stream
from popham.testing.intake import MemoryIntake
from popham.testing.simulation import Simulation
from popham.testing.virtual import VirtualClock, pass_time, run_virtual

HEARTBEAT = 60.0
FOUR_CELLS = [(mode, dialer) for mode in Mode for dialer in Dialer]
PATIENCE = 3600.0
"""Simulated seconds after which a story that waits has failed."""


class World:
    """One agent of a group, its Manager, and what came of its streams.

    Attributes:
        said: What was appended, by stream.
    """

    def __init__(self, simulation: Simulation, intake: MemoryIntake) -> None:
        self.simulation, self.intake = simulation, intake
        self.manager, self.network = simulation.manager, simulation.network
        self.said = {stream: [] for stream in Stream}
        self.agent = None

    async def begin(self, cell=(Mode.PUSH, Dialer.AGENT), data=None, **rest):
        await self.order(cell, data, **rest)
        (self.agent,) = await self.simulation.add_agents("lab", ["a0"])
        await self.until(lambda: self.agent.end.settings == self.settings)
        await pass_time(2)
        if cell[1] is Dialer.MANAGER:
            await self.until(lambda: not self.agent.driver.dials)
        if cell[0] is Mode.PUSH:
            await self.until(lambda: self.agent.driver.held)
        await pass_time(1)

    async def order(self, cell, data=None, **rest):
        mode, dialer = cell
        rest = {"heartbeat": HEARTBEAT, "spread": 0.0} | rest
        found = Cell(mode=data[0], dialer=data[1]) if data else None
        self.settings = CommunicationSettings(mode=mode, dialer=dialer, data=found, **rest)
        await self.manager.put_group("lab", self.settings)

    @property
    def uid(self):
        return self.agent.state.uid

    async def append(self, stream=Stream.LOGS, *, number=1, size=50):
        for _ in range(number):
            kept = self.said[stream]
            text = f"{stream} {len(kept)} ".encode()
            payload = text + self.simulation.network.random.randbytes(max(0, size - len(text)))
            await self.agent.spools.append(stream, payload, 1)
            kept.append(payload)

    def came(self, stream=Stream.LOGS):
        return self.intake.payloads(self.uid, stream)

    def is_whole(self, *streams):
        return all(self.came(stream) == self.said[stream] for stream in streams or Stream)

    async def all_came(self, *streams):
        await self.until(lambda: len(self.came_all(streams)) >= len(self.said_all(streams)))
        assert self.is_whole(*streams)

    def came_all(self, streams):
        return [one for stream in streams or Stream for one in self.came(stream)]

    def said_all(self, streams):
        return [one for stream in streams or Stream for one in self.said[stream]]

    async def until(self, holds, most=PATIENCE):
        """Return how long it took until something holds."""
        begun = self.simulation.clock.elapsed
        while not holds():
            assert self.simulation.clock.elapsed < begun + most, "it never came"
            await pass_time(0.05)
        return self.simulation.clock.elapsed - begun


@pytest.fixture(params=FOUR_CELLS, ids=lambda cell: f"{cell[0]}-dialled-by-{cell[1]}")
def cell(request):
    return request.param


@pytest.fixture
def tell(keys, tmp_path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    """Return what tells a story of one agent and its streams."""

    return partial(tell_in, keys, tmp_path)


def tell_in(keys, folder, story, seed=7):
    """Tell a story of one agent, whose streams are in a folder."""
    clock = VirtualClock()
    simulation, intake = Simulation(clock, keys, seed), MemoryIntake()
    simulation.manager.intake = intake
    simulation.streams_in = folder

    async def told():
        await simulation.manager.start()
        try:
            await story(World(simulation, intake))
        finally:
            await simulation.end()

    run_virtual(told(), clock)
