"""Machines change their keys while they are managed, in each cell: nothing is lost, whatever breaks on the way."""

import asyncio

import pytest

from popham.testing.network import Weather
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB, settings

ROUNDS = 12 * HEARTBEAT


async def begin(simulation, cell):
    await simulation.manager.put_group("lab", settings(cell))
    await simulation.manager.publish(LAB.format(text="one"))
    (agent,) = await simulation.add_agents("lab", ["web-1"])
    await pass_time(ROUNDS)
    assert agent.applied == ("motd@1",)
    return agent


async def rotate(agent):
    """Have a new key made, and return the id of the one before."""
    before = agent.state.identity_key().keyid
    rotating = asyncio.ensure_future(agent.credentials.rotate())
    await pass_time(ROUNDS)
    await rotating
    return before


async def is_well(simulation, agent):
    """Return whether the agent goes on: it is heard of, and what is published is applied and known to be."""
    await simulation.manager.publish(LAB.format(text="two"))
    await pass_time(ROUNDS)
    view = await simulation.manager.service.agent(ADMIN, "web-1")
    return agent.applied == ("motd@2",), view.sync, view.presence, view.detail["spki"]


def test_rel_9_a_machine_changes_its_key_in_each_cell_and_goes_on(simulate, cell):
    async def story(simulation):
        agent = await begin(simulation, cell)
        agent.said.clear()
        before = await rotate(agent)
        assert set(agent.said) <= {""}, "nothing failed by it"
        key = agent.state.identity_key().keyid
        assert key != before
        assert await is_well(simulation, agent) == (True, "in sync", "on time", key)
        record = simulation.manager.book.record(agent.state.uid)
        assert (record.link is not None) is (cell[0] == "push")
        assert agent.credentials.serves

    simulate(story)


@pytest.mark.parametrize("ends", ["the agent", "the way between"])
def test_rel_9_an_answer_that_is_lost_locks_nobody_out_in_any_cell(simulate, cell, ends):
    async def story(simulation):
        agent = await begin(simulation, cell)
        before, network = agent.state.identity_key().keyid, simulation.network
        renew, ending = simulation.manager.book.renew, []

        async def give_and_lose(*asked):
            given = await renew(*asked)
            simulation.manager.book.renew = renew
            if ends == "the agent":
                ending.append(asyncio.ensure_future(agent.crash()))
            else:
                network.cut.add("web-1")
                network.half_open("web-1")
                network.weather = Weather(loss=1.0)
            await pass_time(1)
            return given

        simulation.manager.book.renew = give_and_lose
        rotating = asyncio.ensure_future(agent.credentials.rotate())
        await pass_time(ROUNDS)
        rotating.cancel()
        await asyncio.gather(*ending)
        record = simulation.manager.book.record(agent.state.uid)
        assert record.former_key
        assert agent.state.identity_key().keyid == before
        network.cut.clear()
        network.weather = Weather()
        if ends == "the agent":
            agent.start()
        await pass_time(2 * ROUNDS)
        key = agent.state.identity_key().keyid
        assert key != before
        assert await is_well(simulation, agent) == (True, "in sync", "on time", key)

    simulate(story)
