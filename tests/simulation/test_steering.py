"""A Manager with too much to do puts rounds off, and a fleet that returns is no storm."""

from popham.model.communication import CommunicationSettings, Mode
from popham.model.status import Presence, presence
from popham.testing.storm import Door, Storm
from popham.testing.virtual import pass_time
from popham.upstream.shedding import LAG, Load
from popham.upstream.steering import EVERY

HEARTBEAT = 60.0
PULL = CommunicationSettings(mode=Mode.PULL, heartbeat=HEARTBEAT)
BUSY = Load(10 * LAG)


async def begin(simulation, agents=10):
    await simulation.manager.put_group("lab", PULL)
    added = await simulation.add_agents("lab", [f"a{n}" for n in range(agents)])
    await pass_time(3 * HEARTBEAT)
    return added


async def rounds_within(simulation, seconds):
    before = simulation.manager.hub.counts.rounds
    await pass_time(seconds)
    return simulation.manager.hub.counts.rounds - before


def all_on_time(simulation, agents):
    now, book = simulation.clock.now(), simulation.manager.book
    found = [book.record(agent.state.uid) for agent in agents]
    return {presence(known.last_contact, known.promise, now) for known in found} == {Presence.ON_TIME}


def test_f_c10_under_load_agents_come_a_quarter_as_often_and_again_at_their_heartbeat_afterwards(simulate):
    async def story(simulation):
        agents = await begin(simulation)
        assert 38 <= await rounds_within(simulation, 4 * HEARTBEAT) <= 40
        simulation.manager.load = BUSY
        await pass_time(8 * HEARTBEAT)
        assert 18 <= await rounds_within(simulation, 8 * HEARTBEAT) <= 22
        assert [agent.said[-1] for agent in agents] == [""] * 10
        simulation.manager.load = Load()
        await pass_time(6 * HEARTBEAT)
        assert 38 <= await rounds_within(simulation, 4 * HEARTBEAT) <= 40

    simulate(story)


def test_f_c10_nobody_is_missed_who_comes_later_because_it_was_asked_to(simulate):
    async def story(simulation):
        agents = await begin(simulation)
        simulation.manager.load = BUSY
        for step in range(120):
            if step == 60:
                simulation.manager.load = Load()
            await pass_time(HEARTBEAT / 4)
            assert all_on_time(simulation, agents)

    simulate(story)


def test_f_c10_a_stretch_is_forgotten_by_an_agent_that_restarts(simulate):
    async def story(simulation):
        (agent,) = await begin(simulation, agents=1)
        simulation.manager.load = BUSY
        await pass_time(8 * HEARTBEAT)
        assert agent.end.stretch == 3 * HEARTBEAT
        simulation.manager.load = Load()
        await pass_time(20 * EVERY)
        await agent.crash()
        agent.start()
        await pass_time(1)
        assert agent.end.stretch == 0.0

    simulate(story)


def test_f_c10_a_change_waits_no_longer_than_four_heartbeats(simulate):
    async def story(simulation):
        (agent,) = await begin(simulation, agents=1)
        simulation.manager.load = BUSY
        await pass_time(8 * HEARTBEAT)
        await simulation.manager.put_group("lab", CommunicationSettings(mode=Mode.PULL, heartbeat=30.0))
        await pass_time(4 * HEARTBEAT + 1)
        assert agent.end.settings.heartbeat == 30.0
        assert agent.end.stretch == 90.0

    simulate(story)


def test_f_c10_a_restart_makes_no_storm():
    ten_thousand = Storm(agents=10_000, window=25.0, door=Door.HOLD).run()
    assert ten_thousand.returned == 10_000
    assert ten_thousand.drained <= 1.1 * ten_thousand.ideal
    assert ten_thousand.peak <= 2_000


def test_f_c10_503_with_retry_after_is_obeyed_with_jitter_and_drains_the_fleet():
    sent_away = Storm(agents=10_000, window=1.0, door=Door.ANSWER).run()
    assert sent_away.returned == 10_000
    assert sent_away.most <= 20
    assert sent_away.drained <= 4 * sent_away.ideal
