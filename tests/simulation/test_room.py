"""A Manager whose links are all taken: the next agents pull, and return when there is room."""

from popham.model.communication import CommunicationSettings, Mode
from popham.model.status import Presence, presence
from popham.testing.virtual import pass_time

from .conftest import LAB

HEARTBEAT = 300.0
PUSH = CommunicationSettings(mode=Mode.PUSH, heartbeat=HEARTBEAT)


async def begin(simulation, *, cap, agents, settings=PUSH):
    simulation.manager.hub.room.cap = cap
    await simulation.manager.put_group("lab", settings)
    added = await simulation.add_agents("lab", [f"a{n}" for n in range(agents)])
    await pass_time(10)
    return added


def holding(simulation):
    return {name for name, agent in simulation.agents.items() if record(simulation, agent).link is not None}


def record(simulation, agent):
    return simulation.manager.book.record(agent.state.uid)


def present(simulation, agent):
    known = record(simulation, agent)
    return presence(known.last_contact, known.promise, simulation.clock.now())


def test_f_p5_the_next_agent_is_told_that_all_links_are_taken_and_pulls_by_itself(simulate):
    async def story(simulation):
        agents = await begin(simulation, cap=2, agents=3)
        assert len(holding(simulation)) == 2
        (left,) = [agent for agent in agents if agent.name not in holding(simulation)]
        state = record(simulation, left).state
        assert (state.mode, state.fallback) == ("pull", "link.full")
        assert left.driver.link_wait > 0
        assert left.said[-1] == ""  # nothing failed
        for agent in agents:
            if agent is not left:
                known = record(simulation, agent).state
                assert (known.mode, known.fallback) == ("push", "")

    simulate(story)


def test_f_p5_an_agent_without_a_link_gets_its_policies_within_a_heartbeat_and_stays_on_time(simulate):
    async def story(simulation):
        agents = await begin(simulation, cap=1, agents=3)
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(HEARTBEAT + 1)
        assert [agent.applied for agent in agents] == [("motd@1",)] * 3
        for _ in range(20):
            await pass_time(HEARTBEAT / 3)
            assert [present(simulation, agent) for agent in agents] == [Presence.ON_TIME] * 3
            assert record(simulation, agents[0]).promise == HEARTBEAT

    simulate(story)


def test_f_p5_an_agent_without_a_link_comes_once_per_heartbeat_however_often_it_asks_for_one(simulate):
    async def story(simulation):
        agents = await begin(simulation, cap=1, agents=2, settings=PUSH)
        (left,) = [agent for agent in agents if agent.name not in holding(simulation)]
        await pass_time(2 * HEARTBEAT)
        hub = simulation.manager.hub
        rounds, asked = hub.counts.rounds, hub.room.refused
        await pass_time(10 * HEARTBEAT)
        assert 9 <= hub.counts.rounds - rounds <= 11
        assert 20 <= hub.room.refused - asked <= 200
        assert left.said[-1] == ""

    simulate(story)


def test_f_p5_it_returns_to_a_link_when_there_is_room(simulate):
    async def story(simulation):
        agents = await begin(simulation, cap=2, agents=3)
        (left,) = [agent for agent in agents if agent.name not in holding(simulation)]
        gone = next(agent for agent in agents if agent is not left)
        await gone.stop()
        await pass_time(90)  # well before its heartbeat
        assert left.name in holding(simulation)
        state = record(simulation, left).state
        assert (state.mode, state.fallback) == ("push", "")
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(1)
        assert left.applied == ("motd@1",)

    simulate(story)


def test_f_p5_nobody_loses_a_link_to_another(simulate):
    async def story(simulation):
        await begin(simulation, cap=5, agents=20)
        first = holding(simulation)
        assert len(first) == 5
        for _ in range(12):
            await pass_time(HEARTBEAT)
            assert holding(simulation) == first

    simulate(story)


def test_f_p5_a_check_in_is_a_round_at_once_without_a_link_too(simulate):
    async def story(simulation):
        agents = await begin(simulation, cap=1, agents=2)
        (left,) = [agent for agent in agents if agent.name not in holding(simulation)]
        await simulation.manager.publish(LAB.format(text="one"))
        left.end.check_in()
        await pass_time(1)
        assert left.applied == ("motd@1",)

    simulate(story)


def test_f_p5_whoever_is_ordered_to_pull_asks_for_no_link_any_more(simulate):
    async def story(simulation):
        agents = await begin(simulation, cap=1, agents=2)
        (left,) = [agent for agent in agents if agent.name not in holding(simulation)]
        await simulation.manager.put_group("lab", CommunicationSettings(mode=Mode.PULL, heartbeat=HEARTBEAT))
        await pass_time(2 * HEARTBEAT)
        asked = simulation.manager.hub.room.refused
        await pass_time(5 * HEARTBEAT)
        assert simulation.manager.hub.room.refused == asked
        state = record(simulation, left).state
        assert (state.mode, state.fallback) == ("pull", "")

    simulate(story)


def test_f_p5_a_manager_that_restarts_meanwhile_is_found_again(simulate):
    async def story(simulation):
        agents = await begin(simulation, cap=1, agents=3)
        simulation.manager.cap = 2
        await simulation.manager.crash()
        await pass_time(2 * HEARTBEAT)
        await simulation.manager.start()
        await pass_time(2 * HEARTBEAT)
        assert len(holding(simulation)) == 2
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(HEARTBEAT + 1)
        assert [agent.applied for agent in agents] == [("motd@1",)] * 3

    simulate(story)


def test_f_p5_an_agent_without_a_link_says_goodbye_when_it_is_stopped(simulate):
    async def story(simulation):
        agents = await begin(simulation, cap=1, agents=2)
        (left,) = [agent for agent in agents if agent.name not in holding(simulation)]
        rounds = simulation.manager.hub.counts.rounds
        await left.stop()
        assert simulation.manager.hub.counts.rounds == rounds + 1

    simulate(story)
