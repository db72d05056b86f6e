"""Operations for a large fleet in which one in twenty breaks in each way: every target ends as it must. Minutes."""

import asyncio
import os
from collections import Counter

import pytest
from tests.simulation.conftest import HEARTBEAT, LAB, settings

from popham.agent.commands import Ended
from popham.agent.settings import OperationsSettings
from popham.errors import StateError
from popham.manager.operations.stored import Asked
from popham.model.cell import Dialer, Mode
from popham.model.operation import Kind
from popham.testing.simulation import ADMIN, Simulation, make_keys
from popham.testing.virtual import VirtualClock, pass_time, run_virtual

pytestmark = pytest.mark.soak

AGENTS = int(os.environ.get("POPHAM_SOAK_AGENTS", "5000"))
CELLS = [(mode, dialer) for mode in Mode for dialer in Dialer]
WAYS = ("absent", "killed", "broken", "full", "loud", "off")
"""How agents are broken: never there, killed between running and result, takes no policy, its disk is full, prints a
lot, and its service is off (where it is visited)."""
SHARE = 20
GIANT = 1024**3
PIECE = 64 * 1024 * 1024
HEARD = 14 * HEARTBEAT
"""Time in which everybody was in contact, also who dials because nobody visits it."""
PERMITS = OperationsSettings(run=["job"])


class FullDisk:
    """Refuses outputs; what else an agent keeps has its reserve."""

    def __init__(self, storage):
        self._write = storage.write

    def __call__(self, name, data, mode=0o600):
        if name.startswith("outputs/"):
            raise StateError("disk", "the disk is full")
        return self._write(name, data, mode)


class Field:
    """The fleet, who of it is broken how, and what ran."""

    def __init__(self, simulation):
        self.simulation, self.manager = simulation, simulation.manager
        self.way, self.ran, self.agents = {}, Counter(), {}
        self.killing = []

    async def begin(self):
        each = AGENTS // len(CELLS)
        for number, cell in enumerate(CELLS):
            group = f"cell-{number}"
            await self.manager.put_group(group, settings(cell))
            await self.manager.publish(LAB.format(text="one").replace("name: lab", f"name: {group}"))
            names = [f"{group}-{n}" for n in range(each)]
            for agent in await self.simulation.add_agents(group, names):
                self.agents[agent.name] = agent
            for at, way in enumerate(WAYS):
                visited = cell[1] is Dialer.MANAGER
                chosen = names[at::SHARE] if way != "off" or visited else []
                self.way |= dict.fromkeys(chosen, way)
        await pass_time(HEARD)
        for agent in self.agents.values():
            await agent.crash()
            way = self.way.get(agent.name, "")
            agent.permits, agent.programs = PERMITS, {"job": self._job(agent)}
            agent.applier.broken = "no such user" if way == "broken" else ""
            agent.serving = way != "off"
            if way == "full":
                agent.state.storage.write = FullDisk(agent.state.storage)
            if way != "absent":
                agent.start()
        await pass_time(HEARD)

    def _job(self, agent):
        async def job(kept):
            self.ran[agent.name] += 1
            way = self.way.get(agent.name, "")
            if way == "killed":
                self.killing.append(agent)
                await asyncio.Event().wait()
            if way == "loud":
                piece = bytes(PIECE)
                for _ in range(GIANT // PIECE):
                    kept.data_received(piece)
            kept.data_received(b"done")
            return Ended(0, "done")

        return job

    async def order(self, kind, hosts, **args):
        asked = Asked(agents=tuple(hosts), expires=4 * HEARD)
        return (await self.manager.service.order(ADMIN, str(kind), asked, args=args)).name

    async def found(self, name):
        """Return how the targets of an operation stand: how each is broken → states."""
        states: dict[str, Counter[str]] = {}
        after = ""
        while True:
            page = await self.manager.service.operation_targets(ADMIN, name, after=after)
            for one in page.items:
                states.setdefault(self.way.get(one.name, ""), Counter())[one.state] += 1
            if not page.cursor:
                return {way: set(held) for way, held in states.items()}, sum(
                    sum(held.values()) for held in states.values()
                )
            after = page.cursor


@pytest.mark.parametrize("seed", [7])
def test_f_y9_f_o4_thousands_in_four_cells_are_sent_to_and_ordered_and_each_ends_as_it_must(seed):
    clock = VirtualClock()
    simulation = Simulation(clock, make_keys(VirtualClock()), seed)

    async def tell():
        await simulation.manager.start()
        field = Field(simulation)
        try:
            await field.begin()
            await _story(field)
        finally:
            await simulation.end()

    run_virtual(tell(), clock)


async def _story(field):
    manager, weather = field.manager, field.simulation.network.weather
    weather.duplicate, weather.loss = 0.1, 0.01
    for number in range(len(CELLS)):
        await manager.publish(LAB.format(text="two").replace("name: lab", f"name: cell-{number}"))
    hosts = [*field.agents, "nobody-1", "nobody-2"]
    send = await field.order(Kind.SEND, hosts)
    job = await field.order(Kind.RUN, hosts, name="job")
    look = await field.order(Kind.DIAGNOSE, hosts)
    for name in (send, job, look):
        shown = await manager.service.operation(ADMIN, name)
        assert (shown.unknown, shown.targets) == (("nobody-1", "nobody-2"), len(field.agents))
    await pass_time(HEARTBEAT / 2)
    await manager.crash()
    await pass_time(5)
    await manager.start()
    await pass_time(HEARD)
    for agent in field.killing:
        await agent.crash()
        agent.start()
    weather.duplicate = weather.loss = 0.0
    await pass_time(5 * HEARD)
    good = {"": {"succeeded"}, "loud": {"succeeded"}, "killed": {"succeeded"}}
    sent, count = await field.found(send)
    assert count == len(field.agents)
    assert sent["broken"] == {"failed"}
    assert sent["absent"] <= {"expired", "failed"}
    assert {way: sent[way] for way in good} == good
    ran, _ = await field.found(job)
    assert ran["killed"] == {"unknown"}
    assert ran["absent"] <= {"expired", "failed"}
    assert ran[""] == ran["loud"] == ran["broken"] == {"succeeded"}
    assert set(field.ran.values()) == {1}
    looked, _ = await field.found(look)
    assert looked["full"] == {"failed"}
    assert looked[""] == looked["loud"] == {"succeeded"}
    assert not manager.operations.open
