"""A change that is published to nobody: held by all in each cell, applied by name, begun, and taken back."""

from popham.manager.candidates import assign_candidate, find_candidate, withdraw_candidate
from popham.manager.definitions import Terms
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB, settings

ROUNDS = 12 * HEARTBEAT
"""Time in which every agent is heard of twice, also where it is visited."""


async def hold(simulation, cell, agents=3):
    await simulation.manager.put_group("lab", settings(cell))
    await simulation.manager.publish(LAB.format(text="one"))
    added = await simulation.add_agents("lab", [f"a{n}" for n in range(agents)])
    for agent in added:
        agent.serve(on=True)
    await pass_time(ROUNDS)
    assert all(agent.applied == ("motd@1",) for agent in added)
    await simulation.manager.publish(LAB.format(text="two"), Terms(hold=True))
    await pass_time(ROUNDS)
    return added


async def name(simulation, *agents):
    """Name agents, as 'popham op apply' does, and tell the hub."""
    manager, uids = simulation.manager, [agent.state.uid for agent in agents]

    def work(tx):
        stored, now = find_candidate(tx, "lab"), simulation.clock.now()
        return assign_candidate(tx, simulation.keys.director, ADMIN, stored, uids, now=now)

    for uid in await manager.store.write(work):
        manager.live.agent_changed(uid)
    await pass_time(ROUNDS)


async def view(simulation):
    return await simulation.manager.service.rollout(ADMIN, "r1")


async def agent_view(simulation, agent):
    return await simulation.manager.service.agent(ADMIN, agent.name)


def test_f_y9_a_candidate_is_held_by_all_applied_by_name_and_taken_back(simulate, cell):
    async def story(simulation):
        agents = await hold(simulation, cell)
        for agent in agents:
            assert agent.applied == ("motd@1",)
            assert agent.applier.checked[-1] == ("motd@2",)
            shown = await agent_view(simulation, agent)
            assert (shown.sync, bool(shown.detail["candidate"])) == ("in sync", True)
        await name(simulation, agents[0])
        assert [agent.applied for agent in agents] == [("motd@2",), ("motd@1",), ("motd@1",)]
        shown = await agent_view(simulation, agents[0])
        assert (shown.sync, shown.applied, shown.wanted) == ("in sync", 3, 3)
        await pass_time(30)
        assert (await view(simulation)).named == 1
        await agents[0].crash()
        agents[0].start()
        if cell[1] == "manager":
            agents[0].serve(on=True)
        await pass_time(ROUNDS)
        assert agents[0].applied == ("motd@2",)
        await simulation.manager.service.undo_rollout(ADMIN, "r1")
        await pass_time(ROUNDS)
        assert all(agent.applied in {("motd@1",), ("motd@3",)} for agent in agents)
        assert {(await agent_view(simulation, agent)).sync for agent in agents} == {"in sync"}
        assert "overrides" not in (await agent_view(simulation, agents[0])).detail

    simulate(story)


def test_f_y9_an_apply_that_is_cancelled_gives_it_back(simulate):
    async def story(simulation):
        agents = await hold(simulation, ("push", "agent"))
        await name(simulation, *agents[:2])
        assert [agent.applied for agent in agents] == [("motd@2",), ("motd@2",), ("motd@1",)]
        uid, keys = agents[0].state.uid, simulation.keys

        def work(tx):
            return withdraw_candidate(tx, keys.director, ADMIN, "r1", [uid], now=simulation.clock.now())

        for changed in await simulation.manager.store.write(work):
            simulation.manager.live.agent_changed(changed)
        await pass_time(ROUNDS)
        assert [agent.applied for agent in agents] == [("motd@1",), ("motd@2",), ("motd@1",)]

    simulate(story)


def test_f_y9_its_waves_begin_when_somebody_says_so_and_end_with_all(simulate):
    async def story(simulation):
        agents = await hold(simulation, ("push", "agent"), agents=20)
        await pass_time(1800)
        assert {agent.applied for agent in agents} == {("motd@1",)}, "it neither widens nor soaks by itself"
        await name(simulation, agents[3])
        begun = await simulation.manager.service.resume_rollout(ADMIN, "r1")
        assert (begun.state, begun.wave) == ("running", 1)
        await pass_time(2600)
        assert {agent.applied for agent in agents} == {("motd@2",)}
        assert (await view(simulation)).state == "promoted"
        assert "overrides" not in (await agent_view(simulation, agents[3])).detail

    simulate(story)
