"""Other settings at some times of day and on a metered link; simulated time begins on a Friday at 08:00 UTC."""

from itertools import pairwise

import pytest

from popham.model.communication import CommunicationSettings, Dialer, Mode
from popham.model.criteria import Surroundings
from popham.model.schedule import Override, Period
from popham.model.status import Presence, presence
from popham.testing.virtual import pass_time

HOUR, DAY = 3600.0, 86_400.0
DAILY = tuple(range(7))
PULL = Override(mode=Mode.PULL, heartbeat=DAY)


def office(override, *, begin=9, end=18, days=DAILY, **rest):
    period = Period(days=days, begin=begin * 60, end=end * 60, override=override)
    return CommunicationSettings(times=(period,), spread=rest.pop("spread", 0.0), **rest)


async def begin(simulation, settings, agents=1):
    await simulation.manager.put_group("lab", settings)
    added = await simulation.add_agents("lab", [f"a{n}" for n in range(agents)])
    await pass_time(60)
    return added if agents > 1 else added[0]


def state(simulation, agent):
    return simulation.manager.book.record(agent.state.uid).state


def is_on_time(simulation, agent):
    known = simulation.manager.book.record(agent.state.uid)
    return presence(known.last_contact, known.promise, simulation.clock.now()) is Presence.ON_TIME


def links(simulation):
    return [pipe.name for pipe in simulation.network.pipes if not pipe.code]


async def until(simulation, hour):
    """Wait until so many hours after the midnight before simulated time began."""
    await pass_time((hour - 8) * HOUR - simulation.clock.elapsed)


def test_f_c7_the_mode_changes_with_the_time_of_day_and_back(simulate):
    async def story(simulation):
        agent = await begin(simulation, office(PULL))
        assert (state(simulation, agent).mode, state(simulation, agent).promise) == (Mode.PUSH, 300)
        await until(simulation, 8.99)
        assert links(simulation) == ["a0"]
        await until(simulation, 9.01)
        assert (state(simulation, agent).mode, state(simulation, agent).promise) == (Mode.PULL, DAY)
        assert not links(simulation)
        await until(simulation, 17.99)
        assert not links(simulation)
        await until(simulation, 18.01)
        assert (state(simulation, agent).mode, state(simulation, agent).promise) == (Mode.PUSH, 300)
        assert links(simulation) == ["a0"]
        assert not any(agent.said), "make before break: nothing failed"

    simulate(story)


def test_f_c7_no_promise_is_broken_across_a_boundary(simulate):
    async def story(simulation):
        agent = await begin(simulation, office(PULL, mode=Mode.PULL, heartbeat=60.0))
        rounds = simulation.manager.hub.counts.rounds
        for _ in range(24 * 60):
            await pass_time(60)
            known = simulation.manager.book.record(agent.state.uid)
            silent = simulation.clock.now() - known.last_contact
            assert silent <= known.promise + 1
            assert is_on_time(simulation, agent)
        # Fifteen hours of the day at one a minute, and one for each boundary.
        assert 895 <= simulation.manager.hub.counts.rounds - rounds <= 910

    simulate(story)


def test_f_c7_a_fleet_changes_over_within_the_spread_and_not_in_one_second(simulate):
    async def story(simulation):
        agents = await begin(simulation, office(Override(mode=Mode.PULL), spread=300.0), agents=40)
        await until(simulation, 9)
        held = [len(links(simulation))]
        for _ in range(10):
            await pass_time(30)
            held.append(len(links(simulation)))
        await pass_time(2)
        assert held[0] == 40
        assert not links(simulation)
        assert max(a - b for a, b in pairwise(held)) <= 12, "in 30 of 300 seconds"
        assert all(state(simulation, agent).mode == Mode.PULL for agent in agents)

    simulate(story)


def test_f_c7_a_machine_that_starts_inside_a_period_keeps_to_it_at_once(simulate):
    async def story(simulation):
        await until(simulation, 12)
        agent = await begin(simulation, office(PULL))
        assert (state(simulation, agent).mode, state(simulation, agent).promise) == (Mode.PULL, DAY)
        await agent.crash()
        agent.start()
        await until(simulation, 18.01)
        assert state(simulation, agent).mode == Mode.PUSH

    simulate(story)


def test_f_c7_on_a_metered_link_other_values_hold_and_the_agent_finds_out_by_itself(simulate):
    async def story(simulation):
        settings = CommunicationSettings(metered=Override(mode=Mode.PULL, heartbeat=6 * HOUR), spread=0.0)
        agent = await begin(simulation, settings)
        assert state(simulation, agent).mode == Mode.PUSH
        agent.host.change(interfaces={"wwan0": "mobile", "lo": "loopback"}, addresses=("10.9.9.9",))
        await pass_time(5)
        assert (state(simulation, agent).mode, state(simulation, agent).promise) == (Mode.PULL, 6 * HOUR)
        assert not links(simulation)
        agent.host.change(interfaces={"wlan0": "wireless", "wwan0": "mobile"}, addresses=("10.1.1.1",))
        await pass_time(5)
        assert (state(simulation, agent).mode, links(simulation)) == (Mode.PUSH, ["a0"])

    simulate(story)


def test_f_c7_the_interface_alone_decides_also_where_nothing_else_changed(simulate):
    async def story(simulation):
        settings = CommunicationSettings(metered=Override(mode=Mode.PULL), spread=0.0)
        agent = await begin(simulation, settings)
        assert agent.host.around == Surroundings()
        agent.host.change(interfaces={"wwan0": "mobile"})
        await pass_time(5)
        assert state(simulation, agent).mode == Mode.PULL

    simulate(story)


@pytest.mark.parametrize("by_day", list(Mode))
@pytest.mark.parametrize("by_night", list(Mode))
def test_f_c7_who_dials_changes_with_the_time_of_day_and_back_with_no_gap(simulate, by_day, by_night):
    async def story(simulation):
        override = Override(mode=by_day, dialer=Dialer.MANAGER, heartbeat=600.0)
        agent = await begin(simulation, office(override, mode=by_night, heartbeat=600.0))
        for day in range(2):
            for hour, cell in ((9, (by_day, Dialer.MANAGER)), (18, (by_night, Dialer.AGENT))):
                while simulation.clock.elapsed < (24 * day + hour - 8) * HOUR + 900:
                    await pass_time(300)
                    assert is_on_time(simulation, agent)
                found = state(simulation, agent)
                assert (found.mode, found.dialer, found.fallback) == (*cell, "")
                dialled = agent.dials
                await pass_time(1200)
                assert (agent.dials == dialled) is (cell[1] is Dialer.MANAGER or cell[0] is Mode.PUSH)
                held = [pipe.reversed for pipe in simulation.network.pipes]
                assert held == ([cell[1] is Dialer.MANAGER] if cell[0] is Mode.PUSH else [])
        assert not any(agent.said), "make before break: nothing failed"

    simulate(story)
