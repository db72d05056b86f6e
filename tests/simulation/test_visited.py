"""Agents that are visited, and those that are to be and are not."""

import pytest

from popham.errors import LinkError
from popham.link.visits import AWAITED, LAPSED, MISSED, OFF
from popham.model.communication import Dialer, Mode
from popham.model.status import Outcome, Presence, presence
from popham.testing.simulation import FLUSH
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT
from .test_cells import in_sync, known, on_time, publish, state

VISITED = [(mode, Dialer.MANAGER) for mode in Mode]
BEAT = "60s"


@pytest.fixture(params=VISITED, ids=lambda cell: f"{cell[0]}-dialled-by-manager")
def visited(request):
    return request.param


async def begin(simulation, cell, text="one", names=("a",), **terms):
    await publish(simulation, text, cell, BEAT, **terms)
    agents = await simulation.add_agents("lab", list(names))
    await pass_time(2 * HEARTBEAT)
    assert in_sync(simulation, agents)
    return agents


async def settle(simulation, agent, text, cell, **terms):
    """Publish, and expect it to be in force after an interval at most."""
    await publish(simulation, text, cell, BEAT, **terms)
    await pass_time(HEARTBEAT + 2)
    # Who waits for visits is pending, and does all the same what it is told.
    said, wanted = state(simulation, agent), simulation.manager.book.wanted("lab")
    assert (said.content_digest, said.outcome) == (wanted.content_digest, Outcome.APPLIED)


def sight(simulation, agent):
    return simulation.manager.visits.visitor.sight(agent.state.uid)


def test_f_c3_with_the_service_off_it_dials_in_the_mode_that_was_ordered_and_says_so(simulate, visited):
    async def story(simulation):
        (agent,) = await begin(simulation, (Mode.PULL, Dialer.AGENT))
        agent.serve(on=False)
        for number in range(5):
            await settle(simulation, agent, f"text {number}", visited)
            assert (state(simulation, agent).fallback, state(simulation, agent).mode) == (OFF, visited[0])
            assert on_time(simulation, [agent])
        assert not any(agent.said)
        dialled = agent.dials
        await pass_time(5 * HEARTBEAT)
        assert agent.dials - dialled <= 12, "it dials once per interval"
        agent.serve(on=True)
        await pass_time(HEARTBEAT + 15)
        assert state(simulation, agent).fallback == ""
        dialled = agent.dials
        await settle(simulation, agent, "the last", visited)
        assert agent.dials == dialled

    simulate(story)


def test_f_c3_where_nobody_knows_its_address_it_dials_and_says_that_it_waits(simulate, visited):
    async def story(simulation):
        (agent,) = await begin(simulation, (Mode.PUSH, Dialer.AGENT))
        agent.said_of_service = "unix"
        agent.serve(on=True)
        await pass_time(1)
        for number in range(5):
            await settle(simulation, agent, f"text {number}", visited)
            assert state(simulation, agent).fallback == AWAITED
            assert on_time(simulation, [agent])
        assert not any(agent.said)
        assert sight(simulation, agent) is None

    simulate(story)


def test_f_c3_where_another_agent_stands_at_its_address_it_stays_on_its_own_way(simulate, visited):
    async def story(simulation):
        agent, _ = await begin(simulation, (Mode.PULL, Dialer.AGENT), names=("a", "b"))
        simulation.moved["a"] = "b"
        for number in range(4):
            await settle(simulation, agent, f"text {number}", visited)
            assert state(simulation, agent).fallback == AWAITED
        error = sight(simulation, agent).error
        assert error.code == "visit.identity"
        assert "the agent b answers instead" in str(error)
        simulation.moved.clear()
        await pass_time(HEARTBEAT + 15)
        assert state(simulation, agent).fallback == ""
        assert sight(simulation, agent).error is None

    simulate(story)


def test_after_three_missed_visits_it_dials_and_is_handed_back_to_them(simulate, visited):
    async def story(simulation):
        (agent,) = await begin(simulation, visited)
        dialled = agent.dials
        simulation.moved["a"] = ""
        for pipe in list(simulation.network.pipes):
            pipe.end(1006)
        await pass_time((MISSED - 1) * HEARTBEAT - 1)
        assert agent.dials == dialled, "not before three visits were missed"
        await pass_time(2 * HEARTBEAT)
        assert agent.dials > dialled
        assert state(simulation, agent).fallback == LAPSED
        assert sight(simulation, agent).error.code == "visit.refused"
        await settle(simulation, agent, "two", visited)
        simulation.moved.clear()
        await pass_time(HEARTBEAT + 15)
        assert state(simulation, agent).fallback == ""
        dialled = agent.dials
        await settle(simulation, agent, "three", visited)
        await pass_time(5 * HEARTBEAT)
        assert agent.dials == dialled
        assert {pipe.reversed for pipe in simulation.network.pipes} <= {True}

    simulate(story)


def test_f_l2_who_may_never_dial_waits_however_long_the_manager_is_away_and_is_found_again(simulate, visited):
    async def story(simulation):
        (agent,) = await begin(simulation, visited, never_dial="on")
        dialled = agent.dials
        await simulation.manager.crash()
        await pass_time(500 * HEARTBEAT)
        await agent.crash()
        agent.start()
        dialled_anew = agent.dials
        await pass_time(500 * HEARTBEAT)
        assert (dialled_anew, agent.dials) == (0, 0)
        await simulation.manager.start()
        await pass_time(2 * HEARTBEAT)
        assert on_time(simulation, [agent])
        await settle(simulation, agent, "two", visited, never_dial="on")
        assert agent.dials == 0 < dialled

    simulate(story)


def test_f_l2_who_was_restarted_where_visits_hold_opens_nothing_for_three_intervals(simulate, visited):
    async def story(simulation):
        (agent,) = await begin(simulation, visited)
        simulation.moved["a"] = ""
        await agent.crash()
        agent.start()
        await pass_time(MISSED * HEARTBEAT - 1)
        assert agent.dials == 0
        await pass_time(HEARTBEAT)
        assert agent.dials > 0
        assert state(simulation, agent).fallback == AWAITED

    simulate(story)


def test_f_l2_who_is_visited_opens_nothing_whatever_happens_to_the_manager(simulate, visited):
    async def story(simulation):
        agents = await begin(simulation, visited, names="abcd")
        dialled = [agent.dials for agent in agents]
        for number in range(20):
            await simulation.manager.crash()
            await pass_time(HEARTBEAT / 4)
            await simulation.manager.start()
            await pass_time(HEARTBEAT * (1 + number % 3))
            await publish(simulation, f"text {number}", visited, BEAT)
            await pass_time(HEARTBEAT + 1)
            assert in_sync(simulation, agents)
        assert [agent.dials for agent in agents] == dialled
        assert not any(
            text and "closed" not in text and "ended" not in text for a in agents for text in a.said
        )

    simulate(story)


def test_f_l8_a_restart_of_the_manager_makes_no_visit_later_than_its_interval(simulate, visited):
    async def story(simulation):
        names = [f"a{number}" for number in range(20)]
        agents = await begin(simulation, visited, names=names)
        for _ in range(10):
            await simulation.manager.crash()
            await pass_time(3)
            await simulation.manager.start()
            for _ in range(9):
                await pass_time(7)
                silent = [simulation.clock.now() - known(simulation, agent).last_contact for agent in agents]
                # Its interval, as long again as it was late, and what was not written when the Manager died.
                assert max(silent) <= HEARTBEAT + 2 * 4 + FLUSH

    simulate(story)


def test_make_before_break_a_wall_around_the_agent_leaves_it_with_the_visits_it_has(simulate, visited):
    async def story(simulation):
        (agent,) = await begin(simulation, visited)

        async def walled(*_args):
            agent.walled += 1
            raise LinkError("unreachable", "a wall stands there")

        agent.walled = 0
        agent.dialer().exchange = agent.dialer().hold = walled
        for mode in Mode:
            await settle(simulation, agent, f"by {mode}", (mode, Dialer.AGENT))
            await pass_time(10 * HEARTBEAT)
            assert on_time(simulation, [agent])
            assert state(simulation, agent).fallback == "visit.kept"
        assert 2 <= agent.walled <= 250, "it tries, and not in a loop"
        del agent.dialer().exchange, agent.dialer().hold
        await pass_time(6 * HEARTBEAT)
        assert state(simulation, agent).fallback == ""
        await pass_time(HEARTBEAT)
        assert sight(simulation, agent) is None
        assert not any(pipe.reversed for pipe in simulation.network.pipes)
        assert on_time(simulation, [agent])

    simulate(story)


def test_presence_of_who_is_never_visited_again_is_told_in_time(simulate, visited):
    async def story(simulation):
        (agent,) = await begin(simulation, visited, never_dial="on")
        await agent.crash()
        await pass_time(4 * HEARTBEAT)
        assert not on_time(simulation, [agent])
        one = known(simulation, agent)
        assert presence(one.last_contact, one.promise, simulation.clock.now()) is Presence.MISSING
        agent.start()
        await pass_time(HEARTBEAT + 10)
        assert on_time(simulation, [agent])

    simulate(story)


def test_the_stories_of_these_cells_are_told_over_the_agents_own_service(simulate, visited):
    async def story(simulation):
        (agent,) = await begin(simulation, visited)
        asked, dialled = sum(dials.asked for dials in simulation.dials), agent.dials
        await settle(simulation, agent, "two", visited)
        await pass_time(5 * HEARTBEAT)
        assert agent.dials == dialled
        assert agent.service.visitor.operation == ("hold" if visited[0] is Mode.PUSH else "visit")
        assert (sum(dials.asked for dials in simulation.dials) > asked) is (visited[0] is Mode.PULL)

    simulate(story)


def test_rel_11_a_change_of_who_dials_is_no_loss_of_contact_to_a_set_on_trial(simulate, visited):
    async def story(simulation):
        (agent,) = await begin(simulation, (Mode.PUSH, Dialer.AGENT))
        await agent.crash()
        agent.window = 600.0
        agent.start()
        await pass_time(HEARTBEAT)
        suspected = []
        agent.health.lost = lambda: suspected.append(simulation.clock.elapsed)
        for number, cell in enumerate(
            [visited, (Mode.PUSH, Dialer.AGENT), visited, (Mode.PULL, Dialer.AGENT)]
        ):
            await settle(simulation, agent, f"text {number}", cell)
            await pass_time(2 * HEARTBEAT)
        await pass_time(700)
        assert not suspected
        assert state(simulation, agent).outcome is Outcome.APPLIED
        assert agent.applied == ("motd@5",)

    simulate(story)
