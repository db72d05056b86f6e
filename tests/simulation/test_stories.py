"""The session stories: one set of bodies, told in each of the four cells."""

import pytest

from popham.model.communication import CommunicationSettings, Dialer, Mode
from popham.model.status import Outcome, SyncState, sync_state
from popham.testing.simulation import Simulation
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB, settings


async def begin(simulation: Simulation, cell, agents: int = 2):
    await simulation.manager.put_group("lab", settings(cell))
    added = await simulation.add_agents("lab", [f"a{n}" for n in range(agents)])
    await pass_time(2 * HEARTBEAT)
    return added


def in_sync(simulation: Simulation, agents) -> bool:
    book = simulation.manager.book
    wanted = book.wanted("lab")
    return all(
        sync_state(wanted.content_digest, book.record(agent.state.uid).state) is SyncState.IN_SYNC
        for agent in agents
    )


def latency(cell) -> float:
    return 1.0 if cell[0] is Mode.PUSH else HEARTBEAT + 1.0


def test_a_change_arrives_at_once_by_push_and_within_one_heartbeat_by_pull(simulate, cell):
    async def story(simulation):
        agents = await begin(simulation, cell)
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(latency(cell))
        assert [agent.applied for agent in agents] == [("motd@1",)] * 2
        assert in_sync(simulation, agents)

    simulate(story)


def test_two_changes_inside_one_heartbeat_end_with_the_second(simulate, cell):
    async def story(simulation):
        agents = await begin(simulation, cell)
        await simulation.manager.publish(LAB.format(text="one"))
        await simulation.manager.publish(LAB.format(text="two"))
        await pass_time(latency(cell))
        assert [agent.applied for agent in agents] == [("motd@2",)] * 2
        assert in_sync(simulation, agents)

    simulate(story)


def test_a_manager_that_restarts_finds_its_agents_again_and_asks_nothing_twice(simulate, cell):
    async def story(simulation):
        agents = await begin(simulation, cell)
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(2 * HEARTBEAT)
        applied = [len(agent.applier.applied) for agent in agents]
        await simulation.manager.crash()
        await pass_time(3 * HEARTBEAT)
        await simulation.manager.start()
        await pass_time(400)
        assert in_sync(simulation, agents)
        assert [len(agent.applier.applied) for agent in agents] == applied
        await simulation.manager.publish(LAB.format(text="two"))
        await pass_time(latency(cell))
        assert [agent.applied for agent in agents] == [("motd@2",)] * 2

    simulate(story)


def test_an_agent_that_restarts_keeps_its_last_good_set_and_catches_up(simulate, cell):
    async def story(simulation):
        (agent,) = await begin(simulation, cell, agents=1)
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(2 * HEARTBEAT)
        await agent.crash()
        await simulation.manager.publish(LAB.format(text="two"))
        await pass_time(3 * HEARTBEAT)
        assert agent.state.progress().outcome is Outcome.APPLIED
        assert agent.applied == ("motd@1",)
        agent.start()
        # An upstream that dials tries once per interval at least.
        await pass_time((latency(cell) if cell[1] is Dialer.AGENT else HEARTBEAT) + 10)
        assert agent.applied == ("motd@2",)
        assert in_sync(simulation, [agent])

    simulate(story)


def test_f_p6_a_half_open_link_is_found_and_what_it_swallowed_arrives_by_another(simulate, cell):
    async def story(simulation):
        agents = await begin(simulation, cell)
        for agent in agents:
            simulation.network.half_open(agent.name)
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(2 * HEARTBEAT + 10)
        assert [agent.applied for agent in agents] == [("motd@1",)] * 2
        assert in_sync(simulation, agents)

    simulate(story)


def test_rel_8_duplicate_reordered_and_lost_messages_change_nothing_in_the_end(simulate, cell):
    async def story(simulation):
        agents = await begin(simulation, cell, agents=5)
        weather = simulation.network.weather
        weather.duplicate, weather.reorder, weather.loss, weather.delay = 0.3, 0.3, 0.2, 2.0
        for number in range(10):
            await simulation.manager.publish(LAB.format(text=f"text {number}"))
            await pass_time(HEARTBEAT / 3)
        weather.duplicate = weather.reorder = weather.loss = 0.0
        await pass_time(12 * HEARTBEAT)
        assert [agent.applied for agent in agents] == [("motd@10",)] * 5
        assert in_sync(simulation, agents)

    simulate(story)


def test_rel_6_a_slow_reader_is_let_go_and_keeps_nobody_waiting(simulate, cell):
    async def story(simulation):
        slow, quick = await begin(simulation, cell)
        for pipe in simulation.network.pipes:
            if pipe.name == slow.name:
                pipe.stall()
        for number in range(400):
            await simulation.manager.publish(LAB.format(text=f"text {number}"))
            await pass_time(0.05)
        await pass_time(latency(cell))
        assert quick.applied == ("motd@400",)
        waiting = [pipe.lower.waiting for pipe in simulation.network.pipes]
        assert max(waiting, default=0) <= simulation.network.limits.queue
        await pass_time(12 * HEARTBEAT)
        assert in_sync(simulation, [slow, quick])

    simulate(story)


def test_rel_5_a_partition_changes_nothing_on_the_machine_and_heals_by_itself(simulate, cell):
    async def story(simulation):
        agents = await begin(simulation, cell)
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(2 * HEARTBEAT)
        simulation.network.cut = {agent.name for agent in agents}
        await simulation.manager.publish(LAB.format(text="two"))
        await pass_time(10 * HEARTBEAT)
        assert [agent.applied for agent in agents] == [("motd@1",)] * 2
        simulation.network.cut = set()
        await pass_time(320 + 2 * HEARTBEAT)
        assert [agent.applied for agent in agents] == [("motd@2",)] * 2
        assert in_sync(simulation, agents)

    simulate(story)


def test_a_set_that_fails_is_reported_and_the_next_good_one_heals_it(simulate, cell):
    async def story(simulation):
        (agent,) = await begin(simulation, cell, agents=1)
        agent.applier.broken = "no such account"
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(latency(cell) + 1)
        record = simulation.manager.book.record(agent.state.uid).state
        assert (record.outcome, record.error_code) == (Outcome.FAILED, "policy.validate")
        assert "no such account" in record.error
        agent.applier.broken = ""
        await simulation.manager.publish(LAB.format(text="two"))
        await pass_time(latency(cell) + 1)
        assert agent.applied == ("motd@2",)
        assert in_sync(simulation, [agent])

    simulate(story)


@pytest.mark.parametrize("heartbeat", [10.0, 3600.0])
def test_f_l1_the_first_round_is_at_start_whatever_the_heartbeat(simulate, cell, heartbeat):
    async def story(simulation):
        await simulation.manager.put_group("lab", settings(cell, heartbeat))
        await simulation.manager.publish(LAB.format(text="one"))
        (agent,) = await simulation.add_agents("lab", ["a"])
        await pass_time(2.0)
        assert agent.applied == ("motd@1",)

    simulate(story)


def test_f_c3_a_switch_of_mode_and_dialer_needs_no_restart_and_misses_nothing(simulate, cell):
    async def story(simulation):
        agents = await begin(simulation, (Mode.PUSH, settings(cell).dialer))
        for number, mode in enumerate([Mode.PULL, Mode.PUSH] * 3):
            fresh = CommunicationSettings(mode=mode, dialer=cell[1], heartbeat=HEARTBEAT)
            await simulation.manager.put_group("lab", fresh)
            await simulation.manager.publish(LAB.format(text=f"text {number}"))
            await pass_time(3 * HEARTBEAT)
            assert [agent.applied for agent in agents] == [(f"motd@{number + 1}",)] * 2
            assert in_sync(simulation, agents)

    simulate(story)
