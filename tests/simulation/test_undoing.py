"""A policy that blocks the Manager, on many machines at once: each undoes it by itself, and tells of it."""

import pytest

from popham.model.cell import Dialer, Mode
from popham.model.communication import CommunicationSettings
from popham.model.status import Outcome
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB

WINDOW = 600.0
KNOWN = 30.0
"""Seconds from the first failure in which a policy is undone. Source: guarantees, REL-11."""


@pytest.fixture(params=list(Mode))
def settings(request):
    return CommunicationSettings(mode=request.param, dialer=Dialer.AGENT, heartbeat=HEARTBEAT)


def blocks(simulation, agent, bad):
    """Have the revisions in ``bad`` cut their machine off from the Manager."""
    apply = agent.applier.apply

    async def applied(policies):
        await apply(policies)
        cut = any(one.ref.revision in bad for one in policies)
        block = simulation.network.cut.add if cut else simulation.network.cut.discard
        block(agent.name)
        if cut:
            for pipe in [pipe for pipe in simulation.network.pipes if pipe.name == agent.name]:
                pipe.end(1006)

    agent.applier.apply = applied


async def watched(simulation, settings, number):
    """Return agents whose policy has proven itself; its second revision blocks the Manager."""
    await simulation.manager.put_group("lab", settings)
    agents = await simulation.add_agents("lab", [f"a{number}" for number in range(number)])
    for agent in agents:
        blocks(simulation, agent, {2})
        await agent.crash()
        agent.window = WINDOW
        agent.start()
    await pass_time(HEARTBEAT)
    await simulation.manager.publish(LAB.format(text="one"))
    await pass_time(WINDOW + 2 * HEARTBEAT)
    assert {agent.applied for agent in agents} == {("motd@1",)}
    return agents


def state_of(simulation, agent):
    return simulation.manager.book.record(agent.state.uid).state


def test_f_y15_every_machine_that_a_policy_cuts_off_is_back_and_the_manager_knows_why(simulate, settings):
    async def story(simulation):
        agents = await watched(simulation, settings, 5)
        await simulation.manager.publish(LAB.format(text="blocks"))
        await pass_time(2.5 * HEARTBEAT + 2 * KNOWN + 10)
        assert {agent.applied for agent in agents} == {("motd@1",)}
        for agent in agents:
            names = agent.applier.applied
            assert names.count(("motd@2",)) == 2, "it was tried once more, and no more"
        await pass_time(10 * HEARTBEAT)
        for agent in agents:
            state = state_of(simulation, agent)
            assert (state.outcome, state.error_code) == (Outcome.FAILED, "policy.undone_contact")
            assert "tried twice" in state.error
            assert agent.applier.applied.count(("motd@2",)) == 2
        await simulation.manager.publish(LAB.format(text="good"))
        await pass_time(2 * HEARTBEAT)
        assert {agent.applied for agent in agents} == {("motd@3",)}

    simulate(story)


def test_f_y15_a_manager_that_dies_after_the_apply_finds_the_set_in_force_when_it_is_back(simulate, settings):
    async def story(simulation):
        agents = await watched(simulation, settings, 5)
        await simulation.manager.publish(LAB.format(text="blocks"))
        await simulation.manager.publish(LAB.format(text="good"))
        await pass_time(2 * HEARTBEAT)
        assert {agent.applied for agent in agents} == {("motd@3",)}
        await simulation.manager.crash()
        await pass_time(HEARTBEAT + KNOWN + 20)
        assert {agent.applied for agent in agents} == {("motd@1",)}
        await simulation.manager.start()
        await pass_time(WINDOW + 20 * HEARTBEAT)
        assert {agent.applied for agent in agents} == {("motd@3",)}
        assert {state_of(simulation, agent).outcome for agent in agents} == {Outcome.APPLIED}

    simulate(story)
