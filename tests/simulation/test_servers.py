"""A list of servers: who is dialled, what happens when one fails, and the way back."""

from itertools import pairwise

import pytest

from popham.errors import LinkError
from popham.model.communication import Mode
from popham.model.servers import Server, order_servers
from popham.model.status import Presence, presence
from popham.testing.virtual import pass_time

from .conftest import LAB

HEARTBEAT, HOLD = 60.0, 300.0
GROUP = (
    LAB
    + """\
  communication:
    mode: {mode}
    heartbeat: 60s
    spread: {spread}
    servers: {servers}
    hold: {hold}
"""
)
EQUALS = [("paris", 1), ("lyon", 1), ("reserve", 2)]


@pytest.fixture(params=list(Mode))
def mode(request):
    return request.param


async def publish(simulation, mode, servers, *, text="one", hold="5m", spread="off"):
    listed = [{"url": f"https://{name}:4320", "priority": priority} for name, priority in servers]
    await simulation.manager.publish(
        GROUP.format(mode=mode, servers=listed or "null", text=text, hold=hold, spread=spread)
    )


def serve(simulation, *names):
    """Have the Manager listen under other names too."""
    for name in names:
        simulation.network.services[name] = simulation.manager.hub


def fail(simulation, *names):
    for name in names:
        simulation.network.stop(name)


async def begin(simulation, mode, servers=EQUALS, agents=1, **rest):
    serve(simulation, *(name for name, _ in servers))
    await publish(simulation, mode, servers, **rest)
    added = await simulation.add_agents("lab", [f"a{n}" for n in range(agents)])
    await pass_time(2 * HEARTBEAT)
    return added if agents > 1 else added[0]


def first_of(agent, servers=EQUALS):
    listed = [Server(priority, f"https://{name}:4320") for name, priority in servers]
    return [url for level in order_servers(listed, agent.end.uid) for url in level]


def known(simulation, agent):
    return simulation.manager.book.record(agent.state.uid)


def name_of(url):
    return url.removeprefix("https://").removesuffix(":4320")


def held_by(simulation, agent):
    return [pipe.upstream for pipe in simulation.network.pipes if pipe.name == agent.name and not pipe.code]


def test_f_c8_the_list_takes_the_place_of_the_join_strings_addresses(simulate, mode):
    async def story(simulation):
        agent = await begin(simulation, mode)
        (first, *_) = first_of(agent)
        assert (agent.end.server, known(simulation, agent).state.server) == (first, first)
        assert known(simulation, agent).state.fallback == ""
        if mode is Mode.PUSH:
            assert held_by(simulation, agent) == [name_of(first)]
        await publish(simulation, mode, [])
        await pass_time(2 * HEARTBEAT)
        assert known(simulation, agent).state.server == "https://manager:4320"

    simulate(story)


@pytest.mark.parametrize("servers", [[("paris", 1), ("lyon", 2)], EQUALS])
def test_f_c8_within_two_heartbeats_the_next_equal_is_dialled_and_then_the_next_priority(
    simulate, mode, servers
):
    async def story(simulation):
        agent = await begin(simulation, mode, servers)
        order = first_of(agent, servers)
        for down, following in pairwise(order):
            fail(simulation, name_of(down))
            began = simulation.clock.now()
            while known(simulation, agent).state.server != following:
                await pass_time(1)
                assert simulation.clock.now() - began < 2 * HEARTBEAT
            if mode is Mode.PUSH:
                assert held_by(simulation, agent) == [name_of(following)]
        await publish(simulation, mode, servers, text="two")
        await pass_time(HEARTBEAT + 1)
        assert agent.applied == ("motd@2",)

    simulate(story)


def test_f_c8_after_the_hold_it_returns_to_its_first_and_not_before(simulate, mode):
    async def story(simulation):
        agent = await begin(simulation, mode)
        first, second, _ = first_of(agent)
        fail(simulation, name_of(first))
        await pass_time(2 * HEARTBEAT)
        assert agent.end.server == second
        serve(simulation, name_of(first))
        await pass_time(HOLD - 2 * HEARTBEAT - 1)
        assert agent.end.server == second
        await pass_time(4 * HEARTBEAT)
        assert known(simulation, agent).state.server == first
        if mode is Mode.PUSH:
            assert held_by(simulation, agent) == [name_of(first)]

    simulate(story)


def test_f_c8_a_try_that_fails_costs_nothing_but_the_try(simulate, mode):
    async def story(simulation):
        agent = await begin(simulation, mode)
        first, second, _ = first_of(agent)
        fail(simulation, name_of(first))
        await pass_time(2 * HEARTBEAT)
        links = held_by(simulation, agent)
        for _ in range(10):
            await pass_time(HOLD / 3)
            assert simulation.clock.now() - known(simulation, agent).last_contact <= HEARTBEAT + 1
            assert held_by(simulation, agent) == links
        tries = [text for text in agent.said if "stays, because another" in text or "server in use" in text]
        assert 1 <= len(tries) <= 4, "in 1000 s"
        assert agent.end.server == second
        await publish(simulation, mode, EQUALS, text="two")
        await pass_time(HEARTBEAT + 1)
        assert agent.applied == ("motd@2",)

    simulate(story)


def test_f_c8_a_first_server_that_comes_and_goes_is_stayed_away_from_for_longer(simulate, mode):
    async def story(simulation):
        agent = await begin(simulation, mode)
        first, *_ = first_of(agent)
        changes, server = 0, agent.end.server
        for step in range(240):
            # A minute up, three down; in an hour of this a plain hold would bring it back ten times.
            (serve if step % 4 == 0 else fail)(simulation, name_of(first))
            await pass_time(60)
            if agent.end.server != server:
                changes, server = changes + 1, agent.end.server
        assert changes <= 20, "in four hours"

    simulate(story)


def test_f_c8_a_list_of_which_nobody_answers_cuts_nobody_off_and_is_reported(simulate, mode):
    async def story(simulation):
        agent = await begin(simulation, mode)
        fail(simulation, "paris", "lyon", "reserve")
        await pass_time(2 * HEARTBEAT)
        state = known(simulation, agent).state
        assert (state.server, state.fallback, state.mode) == ("https://manager:4320", "link.servers", mode)
        await publish(simulation, mode, [("manager", 1)])
        await pass_time(2 * HEARTBEAT)
        state = known(simulation, agent).state
        assert (state.server, state.fallback) == ("https://manager:4320", "")

    simulate(story)


def test_f_c8_a_wrong_list_leaves_nobody_without_a_server(simulate, mode):
    async def story(simulation):
        agent = await begin(simulation, mode)
        await publish(simulation, mode, [("nowhere", 1), ("nobody", 2)], text="two")
        for _ in range(20):
            await pass_time(HEARTBEAT / 2)
            assert simulation.clock.now() - known(simulation, agent).last_contact <= HEARTBEAT + 1
        assert agent.end.server == "https://manager:4320", "as in the join string"
        assert agent.applied == ("motd@2",)
        assert known(simulation, agent).state.fallback == "link.servers"

    simulate(story)


def test_f_c8_another_list_moves_a_running_fleet_make_before_break_over_the_spread(simulate):
    async def story(simulation):
        agents = await begin(simulation, Mode.PUSH, [("paris", 1)], agents=20, spread="60s")
        serve(simulation, "lyon")
        moved = {}
        await publish(simulation, Mode.PUSH, [("lyon", 1)], text="two", spread="60s")
        began = simulation.clock.now()
        for _ in range(140):
            await pass_time(0.5)
            for agent in agents:
                assert held_by(simulation, agent), "never without a link"
                if agent.end.server == "https://lyon:4320":
                    moved.setdefault(agent.name, simulation.clock.now() - began)
        assert len(moved) == 20
        assert max(moved.values()) <= 62
        assert max(moved.values()) - min(moved.values()) > 30
        assert {agent.applied for agent in agents} == {("motd@2",)}
        now = simulation.clock.now()
        for agent in agents:
            record = known(simulation, agent)
            assert presence(record.last_contact, record.promise, now) is Presence.ON_TIME
            assert not any(agent.said)

    simulate(story)


def test_f_c8_the_order_of_an_agent_outlives_its_process(simulate):
    async def story(simulation):
        agents = await begin(simulation, Mode.PULL, agents=10)
        before = [agent.end.server for agent in agents]
        assert len(set(before)) == 2, "two equals share them"
        for agent in agents:
            await agent.crash()
            agent.start()
        await pass_time(5)
        assert [agent.end.server for agent in agents] == before

    simulate(story)


def test_f_c8_a_server_that_asks_to_come_later_is_waited_for_before_another_is_dialled(simulate):
    async def story(simulation):
        agent = await begin(simulation, Mode.PULL)
        first, second, _ = first_of(agent)
        dialer, refusals = agent.dialer(name_of(first)), []

        async def busy(body):
            refusals.append(simulation.clock.now())
            raise LinkError("busy", "too many", retry_after=20.0, status=503)

        dialer.exchange = busy
        await pass_time(3 * HEARTBEAT)
        assert len(refusals) == 3
        assert all(b - a >= 20 for a, b in pairwise(refusals))
        assert agent.end.server == second

    simulate(story)
