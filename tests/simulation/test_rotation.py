"""Machines change their keys while they are managed, in each cell: nothing is lost, whatever breaks on the way."""

import asyncio

import pytest

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


from popham.testing.simulation import ADMIN  # noqa: E402


def test_rel_9_a_machine_changes_its_key_in_each_cell_and_goes_on(simulate, cell):
    async def story(simulation):
        agent = await begin(simulation, cell)
        before = await rotate(agent)
        key = agent.state.identity_key().keyid
        assert key != before
        assert await is_well(simulation, agent) == (True, "in sync", "on time", key)
        record = simulation.manager.book.record(agent.state.uid)
        assert (record.link is not None) is (cell[0] == "push")
        assert agent.credentials.serves

    simulate(story)


@pytest.mark.parametrize("crashes", ["the agent", "the Manager"])
def test_rel_9_an_answer_that_is_lost_locks_nobody_out_in_any_cell(simulate, cell, crashes):
    async def story(simulation):
        agent = await begin(simulation, cell)
        before = agent.state.identity_key().keyid
        change, renew = agent.state.change_key, simulation.manager.book.renew

        async def give_and_lose(*asked):
            given = await renew(*asked)
            simulation.manager.book.renew = renew
            if crashes == "the agent":
                asyncio.ensure_future(agent.crash())
            else:
                simulation.network.cut("web-1")
            await asyncio.sleep(1)
            return given

        simulation.manager.book.renew = give_and_lose
        rotating = asyncio.ensure_future(agent.credentials.rotate())
        await pass_time(ROUNDS)
        rotating.cancel()
        assert agent.state.change_key == change
        if crashes == "the agent":
            agent.start()
        else:
            simulation.network.heal("web-1")
        await pass_time(2 * ROUNDS)
        key = agent.state.identity_key().keyid
        assert key != before
        assert await is_well(simulation, agent) == (True, "in sync", "on time", key)

    simulate(story)
