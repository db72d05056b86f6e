"""Operations in each cell, over the network in memory: once, whatever is lost, repeated, or killed on the way."""

import asyncio
from collections import Counter

import pytest

from popham.agent.commands import Ended
from popham.agent.settings import OperationsSettings
from popham.manager.operations.stored import Asked
from popham.model.cell import Dialer, Mode
from popham.model.operation import ORDERED, Kind
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB, settings

HEARD = 3 * HEARTBEAT
"""Time in which every agent was in contact, and once more."""
PERMITS = OperationsSettings(run=["count", "wait"])


class Lab:
    """Three agents of one cell, and what they ran."""

    def __init__(self, simulation):
        self.simulation = simulation
        self.service = simulation.manager.service
        self.ran = Counter()
        self.release = asyncio.Event()

    async def begin(self, cell, count=3):
        await self.simulation.manager.put_group("lab", settings(cell))
        await self.simulation.manager.publish(LAB.format(text="one"))
        self.agents = await self.simulation.add_agents("lab", [f"a{n}" for n in range(count)])
        for agent in self.agents:
            await agent.crash()
            agent.permits = PERMITS
            agent.programs = {"count": self._count(agent), "wait": self._wait(agent)}
            agent.start()
        await pass_time(HEARD)
        return self

    def _count(self, agent):
        async def count(kept):
            self.ran[agent.name] += 1
            kept.data_received(b"counted")
            return Ended(0, "counted")

        return count

    def _wait(self, agent):
        count = self._count(agent)

        async def wait(kept):
            ended = await count(kept)
            await self.release.wait()
            return ended

        return wait

    async def order(self, kind, *names, **more):
        asked = Asked(agents=names) if names else Asked(groups=("lab",))
        if "expires" in more:
            asked = Asked(agents=names, groups=() if names else ("lab",), expires=more.pop("expires"))
        return (await self.simulation.manager.service.order(ADMIN, str(kind), asked, **more)).name

    async def targets(self, name):
        page = await self.simulation.manager.service.operation_targets(ADMIN, name)
        return {one.name: one for one in page.items}

    async def states(self, name):
        return {one.state for one in (await self.targets(name)).values()}


@pytest.fixture
def tell(simulate):
    """Return a function that tells a story in a lab of one cell."""

    def run(cell, story, seed=7, count=3):
        async def begin(simulation):
            await story(await Lab(simulation).begin(cell, count))

        simulate(begin, seed)

    return run


@pytest.mark.parametrize("kind", [kind for kind in ORDERED if kind is not Kind.APPLY])
def test_f_o4_f_l7_every_operation_reaches_its_agents_in_every_cell(tell, cell, kind):
    async def story(lab):
        if kind is Kind.RESUME_COLLECTION:
            await lab.order(Kind.PAUSE_COLLECTION)
            await pass_time(HEARD)
            assert all(agent.end.record().paused_at for agent in lab.agents)
        name = await lab.order(kind, args={"name": "count"} if kind is Kind.RUN else {})
        await pass_time(HEARD)
        found = await lab.targets(name)
        assert {one.state for one in found.values()} == {"succeeded"}, found
        assert all(one.began <= one.ended for one in found.values())
        if kind is Kind.RUN:
            assert lab.ran == {"a0": 1, "a1": 1, "a2": 1}
        if kind is Kind.RESTART:
            assert [agent.restarts for agent in lab.agents] == [1, 1, 1]
        if kind is Kind.RESUME_COLLECTION:
            assert not any(agent.end.record().paused_at for agent in lab.agents)
        if kind is Kind.DIAGNOSE:
            for one in found:
                data = await lab.service.operation_output(ADMIN, name, one)
                assert data == f"diagnosis of {one}".encode()
        assert (await lab.service.operation(ADMIN, name)).state == "over"
        assert not lab.simulation.manager.operations.open

    tell(cell, story)


def test_f_o4_a_nonce_is_obeyed_once_whatever_is_lost_and_repeated(tell, cell):
    async def story(lab):
        weather = lab.simulation.network.weather
        weather.loss, weather.duplicate, weather.reorder = 0.3, 0.5, 0.2
        names = [await lab.order(Kind.RUN, args={"name": "count"}, expires=40 * HEARTBEAT) for _ in range(4)]
        await pass_time(20 * HEARTBEAT)
        weather.loss = weather.duplicate = weather.reorder = 0.0
        await pass_time(20 * HEARTBEAT)
        for name in names:
            assert await lab.states(name) == {"succeeded"}
        assert lab.ran == {"a0": 4, "a1": 4, "a2": 4}

    tell(cell, story)


def test_f_o4_a_manager_that_is_killed_between_sent_and_result_hears_it_once(tell, cell):
    async def story(lab):
        name = await lab.order(Kind.RUN, args={"name": "wait"})
        await pass_time(HEARD)
        assert await lab.states(name) == {"running"}
        await lab.simulation.manager.crash()
        lab.release.set()
        await pass_time(2)
        await lab.simulation.manager.start()
        await pass_time(10 * HEARTBEAT)
        assert await lab.states(name) == {"succeeded"}
        assert lab.ran == {"a0": 1, "a1": 1, "a2": 1}

    tell(cell, story)


def test_f_o4_an_agent_that_is_killed_between_running_and_result_says_that_nobody_knows(tell, cell):
    async def story(lab):
        name = await lab.order(Kind.RUN, "a0", args={"name": "wait"})
        await pass_time(HEARD)
        assert await lab.states(name) == {"running"}
        await lab.agents[0].crash()
        lab.agents[0].start()
        await pass_time(HEARD)
        one = (await lab.targets(name))["a0"]
        assert (one.state, one.code) == ("unknown", "operation.unknown")
        await pass_time(10 * HEARTBEAT)
        assert lab.ran == {"a0": 1}

    tell(cell, story)


def test_f_o4_an_operation_for_an_agent_that_never_returns_expires_and_is_not_obeyed_later(tell, cell):
    async def story(lab):
        await lab.agents[0].crash()
        name = await lab.order(Kind.RUN, "a0", "a1", args={"name": "count"}, expires=10 * HEARTBEAT)
        await pass_time(9 * HEARTBEAT)
        assert (await lab.targets(name))["a1"].state == "succeeded"
        await pass_time(2 * HEARTBEAT)
        one = (await lab.targets(name))["a0"]
        assert (one.state, (await lab.service.operation(ADMIN, name)).state) == ("expired", "over")
        lab.agents[0].start()
        await pass_time(10 * HEARTBEAT)
        assert lab.ran == {"a1": 1}

    tell(cell, story)


def test_f_o4_a_cancel_ends_what_runs_and_takes_back_what_waits(tell, cell):
    async def story(lab):
        first = await lab.order(Kind.RUN, "a0", args={"name": "wait"})
        await pass_time(HEARD)
        second = await lab.order(Kind.RUN, "a0", args={"name": "count"})
        await lab.agents[1].crash()
        third = await lab.order(Kind.RUN, "a1", args={"name": "count"})
        for name in (first, second, third):
            await lab.service.cancel_operation(ADMIN, name)
        await pass_time(10 * HEARTBEAT)
        for name in (first, second, third):
            assert await lab.states(name) == {"cancelled"}, name
        assert lab.ran == {"a0": 1}

    tell(cell, story)


def test_f_o4_clocks_that_are_wrong_by_a_year_obey_nothing_twice_and_say_why(tell):
    async def story(lab):
        clock = lab.simulation.clock
        name = await lab.order(Kind.RUN, "a0", args={"name": "count"})
        await pass_time(HEARD)
        assert await lab.states(name) == {"succeeded"}
        clock.offset = -365 * 86400.0
        await pass_time(10 * HEARTBEAT)
        assert lab.ran == {"a0": 1}

    tell((Mode.PUSH, Dialer.AGENT), story)


def test_f_y10_two_sends_at_once_are_both_told_what_happened(tell, cell):
    async def story(lab):
        await lab.simulation.manager.publish(LAB.format(text="two"))
        names = [await lab.order(Kind.SEND), await lab.order(Kind.SEND)]
        await pass_time(HEARD)
        for name in names:
            assert await lab.states(name) == {"succeeded"}
        assert all(agent.applied == ("motd@2",) for agent in lab.agents)
        assert names[0] in (await lab.targets(names[1]))["a0"].text or await lab.states(names[1]) == {
            "succeeded"
        }

    tell(cell, story)


def test_f_y9_a_send_tells_who_failed_and_why(tell, cell):
    async def story(lab):
        lab.agents[1].applier.broken = "no such user"
        await lab.simulation.manager.publish(LAB.format(text="two"))
        name = await lab.order(Kind.SEND)
        await pass_time(HEARD)
        found = await lab.targets(name)
        assert {key: one.state for key, one in found.items()} == {
            "a0": "succeeded",
            "a1": "failed",
            "a2": "succeeded",
        }
        assert found["a1"].code.startswith("policy.")

    tell(cell, story)


def test_f_y8_f_l3_a_visited_agent_whose_service_is_off_fails_at_once_with_the_command(tell):
    async def story(lab):
        lab.agents[0].serve(on=False)
        await pass_time(10 * HEARTBEAT)
        name = await lab.order(Kind.SEND)
        await pass_time(HEARD)
        found = await lab.targets(name)
        assert found["a1"].state == "succeeded"
        # It dials by itself meanwhile, and is served by that way.
        assert found["a0"].state in {"succeeded", "failed"}

    tell((Mode.PULL, Dialer.MANAGER), story)
