"""Visits for a long time: what the tests of the schedule and of switching show for one seed, for several. Minutes."""

from itertools import pairwise

import pytest
from tests.simulation.test_cells import PAIRS, SWITCH, in_sync, on_time, publish, walk
from tests.upstream.fleet import INTERVAL, gaps, run

from popham.testing.simulation import Simulation, make_keys
from popham.testing.virtual import VirtualClock, pass_time, run_virtual
from popham.upstream.visitor import LANE

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("dead", [0.0, 0.1, 0.3])
def test_f_l2_ten_thousand_agents_are_visited_for_six_hours(dead):
    async def story(fleet):
        fleet.dead = {f"a{number}" for number in range(int(10_000 * dead))}
        await pass_time(36 * INTERVAL)
        assert len(fleet.visits) == 10_000 - len(fleet.dead)
        assert max(gaps(fleet)) <= 1.2 * INTERVAL
        assert fleet.most <= LANE

    run(story, 10_000)


@pytest.mark.parametrize("loss", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_f_c3_every_pair_of_cells_is_switched_for_an_hour_also_where_messages_are_lost(seed, loss):
    clock = VirtualClock()
    simulation = Simulation(clock, make_keys(VirtualClock()), seed)

    async def tell():
        path = walk(PAIRS, int(3600 / SWITCH), seed)
        await simulation.manager.start()
        try:
            await publish(simulation, "0", path[0])
            agents = await simulation.add_agents("lab", ["a", "b", "c"])
            simulation.network.weather.loss = loss
            for number, cell in enumerate(path[1:], 1):
                await publish(simulation, str(number), cell)
                await pass_time(SWITCH)
                if not loss:
                    assert in_sync(simulation, agents)
                    assert on_time(simulation, agents)
            simulation.network.weather.loss = 0.0
            await pass_time(400)
            assert in_sync(simulation, agents)
            for agent in agents:
                applied = [int(one.partition("@")[2]) for (one,) in agent.applier.applied]
                assert all(a < b for a, b in pairwise(applied))
        finally:
            await simulation.end()

    run_virtual(tell(), clock)
