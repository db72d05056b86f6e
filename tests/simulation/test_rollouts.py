"""Rollouts told with real agents' ends: who starts, when it stops, and that a crash changes nothing."""

import math

from popham.manager.definitions import Terms
from popham.model.cell import Dialer, Mode
from popham.model.rollout import RolloutTerms
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB, settings

PUSH = (Mode.PUSH, Dialer.AGENT)
PULL = (Mode.PULL, Dialer.AGENT)


async def begin(simulation, cell, agents):
    await simulation.manager.put_group("lab", settings(cell))
    await simulation.manager.publish(LAB.format(text="one"))
    added = await simulation.add_agents("lab", [f"a{n:03}" for n in range(agents)])
    await pass_time(2 * HEARTBEAT)
    assert all(agent.applied == ("motd@1",) for agent in added)
    return added


async def roll_out(simulation, *shares, soak=600.0, halt_on=0.05, text="two"):
    terms = RolloutTerms.of(shares, soak=soak, halt_on=halt_on)
    return await simulation.manager.publish(LAB.format(text=text), Terms(rollout=terms))


def having(agents, what="motd@2"):
    return [agent for agent in agents if agent.applied == (what,)]


def hit(agents, what="motd@2"):
    return [agent for agent in agents if (what,) in agent.applier.applied]


def test_f_y17_a_change_widens_wave_by_wave_until_all_have_it(simulate):
    async def story(simulation):
        agents = await begin(simulation, PUSH, 40)
        assert await roll_out(simulation, 0.05, 0.5, soak=60.0) == ("lab",)
        await pass_time(10)
        view = await simulation.manager.service.rollout(ADMIN, "r1")
        assert (view.wave, view.agents, view.cohort, view.applied) == (
            1,
            40,
            len(having(agents)),
            view.cohort,
        )
        assert 1 <= len(having(agents)) <= 2
        assert view.next.startswith("wave 2 (50 %) in ")
        await pass_time(60)
        view = await simulation.manager.service.rollout(ADMIN, "r1")
        assert view.wave == 2
        assert 2 < len(having(agents)) < 40
        await pass_time(70)
        assert having(agents) == agents
        await pass_time(70)
        view = await simulation.manager.service.rollout(ADMIN, "r1")
        assert (view.state, view.applied, view.cohort) == ("promoted", 40, 40)
        assert all(set(wave.marks) == {50, 95, 99} for wave in view.waves)

    simulate(story)


def test_sec_42_no_more_than_a_hundredth_is_hit_by_what_breaks_it(simulate):
    async def story(simulation):
        agents = await begin(simulation, PULL, 200)
        for agent in agents:
            agent.applier.broken = "the check of the files failed"
        await roll_out(simulation, 0.01)
        await pass_time(HEARTBEAT + 10)
        view = await simulation.manager.service.rollout(ADMIN, "r1")
        assert view.state == "halted"
        assert 1 <= view.cohort <= 2
        assert "failed of" in view.reason
        assert [one.code for one in view.errors] == ["policy.validate"] * view.failed
        assert "the check of the files failed" in view.errors[0].reason
        for agent in agents:
            agent.applier.broken = ""
        await pass_time(2 * HEARTBEAT)
        assert not hit(agents)
        assert having(agents, "motd@1") == agents

    simulate(story)


def test_sec_42_agents_that_fall_silent_halt_it(simulate):
    async def story(simulation):
        agents = await begin(simulation, PUSH, 200)
        await roll_out(simulation, 0.01)
        await pass_time(2)
        struck = having(agents)
        assert 1 <= len(struck) <= 2
        for agent in struck:
            await agent.crash()
        await pass_time(2 * HEARTBEAT)
        view = await simulation.manager.service.rollout(ADMIN, "r1")
        assert (view.state, view.silent) == ("halted", len(struck))
        assert {one.name for one in view.errors} == {agent.name for agent in struck}
        assert "not seen for" in view.errors[0].reason
        assert hit(agents) == struck

    simulate(story)


def test_sec_41_one_call_halts_all_and_nobody_starts_after_that(simulate):
    async def story(simulation):
        agents = await begin(simulation, PUSH, 60)
        await roll_out(simulation, 0.5, soak=10.0)
        await pass_time(5)
        assert len(hit(agents)) > 10
        halted = await simulation.manager.service.halt_rollouts(ADMIN, "enough")
        assert [(view.id, view.state, view.reason) for view in halted] == [("r1", "halted", "enough")]
        await pass_time(5)
        started = hit(agents)
        assert having(agents, "motd@1") == agents
        await pass_time(300)
        assert hit(agents) == started
        await simulation.manager.service.resume_rollout(ADMIN, "r1")
        await pass_time(60)
        assert having(agents) == agents

    simulate(story)


def test_sec_41_by_pull_nobody_starts_after_one_heartbeat(simulate):
    async def story(simulation):
        agents = await begin(simulation, PULL, 60)
        await roll_out(simulation, 0.9)
        await pass_time(HEARTBEAT / 2)
        await simulation.manager.service.halt_rollouts(ADMIN)
        await pass_time(HEARTBEAT + 1)
        assert having(agents, "motd@1") == agents

    simulate(story)


def test_f_y17_a_manager_that_is_killed_goes_on_from_its_state(simulate):
    async def story(simulation):
        agents = await begin(simulation, PUSH, 40)
        await roll_out(simulation, 0.05, soak=120.0)
        await pass_time(5)
        first = having(agents)
        await simulation.manager.crash()
        await pass_time(600)
        await simulation.manager.start()
        await pass_time(60)
        view = await simulation.manager.service.rollout(ADMIN, "r1")
        assert (view.state, view.wave) == ("running", 1)
        assert having(agents) == first
        await pass_time(70)
        view = await simulation.manager.service.rollout(ADMIN, "r1")
        assert (view.state, view.wave) == ("running", 2)
        assert set(first) <= set(having(agents))
        assert len(having(agents)) <= math.ceil(0.7 * 40)
        await pass_time(400)
        assert having(agents) == agents

    simulate(story)
