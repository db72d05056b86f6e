"""The age of what is shown: the API is asked all the time for an attribute that is the agent's wall clock."""

from dataclasses import replace

import pytest

from popham.model.status import OVERDUE, Presence
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import settings

QUARTER, LOOK = 900.0, 7.0


async def shown(simulation, agent):
    return await simulation.manager.service.agent(ADMIN, agent.state.uid)


async def look(simulation, agent):
    """Return the view of an agent, having compared what it says of the age with the true one."""
    view = await shown(simulation, agent)
    true = simulation.clock.now() - float(view.detail["facts"]["clock"])
    assert view.age == pytest.approx(simulation.clock.now() - view.last_contact)
    assert view.age_bound is None or true <= view.age_bound, (true, view.age, view.presence)
    return view


async def tell_time(simulation):
    (agent,) = await simulation.add_agents("lab", ["a"])
    said = agent.end.record
    agent.end.record = lambda *given: replace(said(*given), facts={"clock": repr(simulation.clock.now())})
    await pass_time(90)
    return agent


@pytest.mark.parametrize("heartbeat", [30.0, 60.0])
def test_f_l8_for_a_quarter_of_an_hour_nothing_shown_is_older_than_its_bound_says(simulate, cell, heartbeat):
    async def story(simulation):
        await simulation.manager.put_group("lab", settings(cell, heartbeat))
        agent = await tell_time(simulation)
        begin = simulation.clock.now()
        while simulation.clock.now() - begin < QUARTER:
            view = await look(simulation, agent)
            assert (view.presence, view.age_bound) == (Presence.ON_TIME, OVERDUE * heartbeat)
            await pass_time(LOOK)

    simulate(story)


def test_f_l8_the_bound_knows_of_the_time_in_which_this_manager_was_away(simulate, cell):
    async def story(simulation):
        await simulation.manager.put_group("lab", settings(cell))
        agent = await tell_time(simulation)
        await simulation.manager.crash()
        await pass_time(200)
        await simulation.manager.start()
        bounds = []
        for _ in range(40):
            bounds.append((await look(simulation, agent)).age_bound)
            await pass_time(LOOK)
        assert max(bound for bound in bounds if bound is not None) > 200

    simulate(story)


def test_f_l8_nothing_bounds_the_age_of_what_an_agent_said_that_is_not_heard_of(simulate, cell):
    async def story(simulation):
        await simulation.manager.put_group("lab", settings(cell))
        agent = await tell_time(simulation)
        await agent.crash()
        await pass_time(300)
        view = await look(simulation, agent)
        assert (view.presence, view.age_bound) == (Presence.MISSING, None)
        assert view.age > 200

    simulate(story)
