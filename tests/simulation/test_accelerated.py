"""Rounds that come sooner because something happened, and downloads that come later because many do."""

import random

from popham.errors import LinkError
from popham.link.pace import IN_A_ROW
from popham.model.communication import CommunicationSettings, Mode
from popham.testing.virtual import pass_time

from .conftest import LAB

DAY = 86_400.0
SLOW = CommunicationSettings(mode=Mode.PULL, heartbeat=DAY, spread=0.0, accelerated=20.0)


async def begin(simulation, settings=SLOW, agents=1):
    await simulation.manager.put_group("lab", settings)
    await simulation.manager.publish(LAB.format(text="one"))
    added = await simulation.add_agents("lab", [f"a{n}" for n in range(agents)])
    await pass_time(600)
    return added if agents > 1 else added[0]


def listen(simulation, agent):
    """Return a list that grows by the time of each round of the agent."""
    rounds, exchange = [], agent.dialer().exchange

    async def noted(body):
        if not rounds or simulation.clock.elapsed - rounds[-1] > 2:
            rounds.append(simulation.clock.elapsed)
        return await exchange(body)

    agent.dialer().exchange = noted
    return rounds


async def until(claim):
    while not claim():
        await pass_time(1)


def number_of_rounds(simulation):
    return simulation.manager.hub.counts.rounds


def test_f_l11_after_a_change_one_round_follows_within_the_accelerated_seconds_and_then_the_heartbeat(
    simulate,
):
    async def story(simulation):
        agent = await begin(simulation)
        rounds = listen(simulation, agent)
        await simulation.manager.publish(LAB.format(text="two"))
        agent.end.check_in()
        await pass_time(1000)
        assert len(rounds) == 2
        assert 10 <= rounds[1] - rounds[0] <= 21
        await pass_time(DAY + 100)
        assert len(rounds) == 3

    simulate(story)


def test_f_l11_after_an_error_too_and_what_was_corrected_meanwhile_arrives(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        agent.applier.broken = "no such place"
        await simulation.manager.publish(LAB.format(text="two"))
        agent.end.check_in()
        await pass_time(1)
        assert simulation.manager.book.record(agent.state.uid).state.error_code == "policy.validate"
        agent.applier.broken = ""
        await simulation.manager.publish(LAB.format(text="three"))
        await pass_time(20)
        assert agent.applied == ("motd@3",)

    simulate(story)


def test_f_l11_after_a_change_of_the_network_and_after_a_resume(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        rounds = listen(simulation, agent)
        agent.host.change(addresses=("10.0.0.2",), gateways=("10.0.0.1",))
        await pass_time(1000)
        assert len(rounds) == 1
        agent.host.change(interfaces={"veth7": "other"})
        await pass_time(1000)
        assert len(rounds) == 1, "a container that starts is no other network"
        agent.driver.hurry(network=False, since=simulation.clock.elapsed)
        await pass_time(1000)
        assert len(rounds) == 2

    simulate(story)


def test_f_l11_at_most_three_rounds_in_a_row_come_sooner(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        await pass_time(DAY)
        rounds = listen(simulation, agent)
        for number in range(200):
            agent.host.change(addresses=(f"10.0.0.{number}",))
            await pass_time(100)
        assert len(rounds) == IN_A_ROW
        await pass_time(DAY)
        for number in range(50):
            agent.host.change(addresses=(f"10.0.1.{number}",))
            await pass_time(100)
        assert len(rounds) == 2 * IN_A_ROW + 1, "after a heartbeat three may again"

    simulate(story)


def test_f_l11_switched_off_or_with_a_shorter_heartbeat_nothing_comes_sooner(simulate):
    for settings in (
        CommunicationSettings(mode=Mode.PULL, heartbeat=DAY, spread=0.0, accelerated=0.0),
        CommunicationSettings(mode=Mode.PULL, heartbeat=15.0, spread=0.0, accelerated=60.0),
    ):

        async def story(simulation, settings=settings):
            agent = await begin(simulation, settings)
            before = number_of_rounds(simulation)
            agent.host.change(addresses=("10.0.0.2",))
            await pass_time(60)
            expected = 4 if settings.heartbeat < 60 else 0
            assert abs(number_of_rounds(simulation) - before - expected) <= (1 if expected else 0)

        simulate(story)


def test_f_l11_a_held_link_says_nothing_more_than_ever(simulate):
    async def story(simulation):
        agent = await begin(simulation, CommunicationSettings(mode=Mode.PUSH, heartbeat=DAY, spread=0.0))
        said, report = [], agent.end.report

        def noted(*, force):
            message = report(force=force)
            if message is not None:
                said.append(message)
            return message

        agent.end.report = noted
        agent.host.change(addresses=("10.0.0.2",))
        agent.driver.hurry(network=False, since=simulation.clock.elapsed)
        await pass_time(1000)
        assert not said

    simulate(story)


def test_f_l11_another_network_cuts_a_wait_after_a_failure_short_once(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        simulation.network.cut.add(agent.name)
        agent.end.check_in()
        await pass_time(3000)
        dials, exchange = [], agent.ways.dial

        def dial():
            dials.append(simulation.clock.elapsed)
            return exchange()

        agent.ways.dial = dial
        agent.end.retry_window = 3600.0
        await until(lambda: dials)
        await pass_time(30)
        simulation.network.cut.clear()
        began = simulation.clock.elapsed
        agent.host.change(addresses=("10.0.0.2",))
        await until(lambda: agent.said[-1] == "")
        assert simulation.clock.elapsed - began <= 25

    simulate(story)


def test_f_l11_a_wait_that_upstream_asked_for_is_kept(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        exchange = agent.dialer().exchange

        async def busy(_body):
            raise LinkError("busy", "later", retry_after=500.0, status=503)

        agent.dialer().exchange = busy
        agent.end.check_in()
        await pass_time(1)
        agent.dialer().exchange = exchange
        agent.host.change(addresses=("10.0.0.2",))
        await pass_time(490)
        assert agent.said[-1] != ""
        await pass_time(100)
        assert agent.said[-1] == ""

    simulate(story)


def test_f_l11_f_c4_a_fleet_that_hears_of_a_change_stays_as_spread_as_it_was(simulate):
    async def story(simulation):
        settings = CommunicationSettings(mode=Mode.PULL, heartbeat=600.0, spread=300.0)
        agents = await begin(simulation, settings, agents=30)
        await pass_time(1200)
        await simulation.manager.publish(LAB.format(text="two"))
        await pass_time(700)
        rounds = [listen(simulation, agent) for agent in agents]
        await pass_time(600)
        times = sorted(times[0] % 600 for times in rounds)
        assert len(times) == 30
        gaps = [b - a for a, b in zip(times, [*times[1:], times[0] + 600], strict=True)]
        assert sum(sorted(gaps)[:-1]) > 150, "over the window still"

    simulate(story)


# Downloads.

LARGE = LAB.replace('"{text}"', '"{text}' + "x" * 300_000 + '"')


def fetches(simulation, agent):
    found, fetch = [], agent.dialer().fetch

    async def noted(path, *, limit):
        found.append(simulation.clock.elapsed)
        return await fetch(path, limit=limit)

    agent.dialer().fetch = noted
    return found


def all_at_once(agents):
    for agent in agents:
        agent.end.news.set()


def test_f_c4_in_pull_bodies_are_fetched_over_the_spread_and_everything_else_at_once(simulate):
    async def story(simulation):
        settings = CommunicationSettings(mode=Mode.PULL, heartbeat=3600.0, spread=300.0)
        agents = await begin(simulation, settings, agents=30)
        noted = [fetches(simulation, agent) for agent in agents]
        await simulation.manager.publish(LARGE.format(text=random.Random(1).getrandbits(64)))
        began = simulation.clock.elapsed
        all_at_once(agents)
        await pass_time(5)
        states = [simulation.manager.book.record(agent.state.uid).state for agent in agents]
        wanted = simulation.manager.book.wanted("lab").content_digest
        assert {state.content_digest for state in states} == {wanted}, "the bundle is known at once"
        await pass_time(310)
        first = [times[0] - began for times in noted]
        assert {agent.applied for agent in agents} == {("motd@2",)}
        assert max(first) <= 305
        tenths = [sum(1 for time in first if 30 * n <= time < 30 * (n + 1)) for n in range(11)]
        assert max(tenths) <= 9
        assert sum(1 for share in tenths[:10] if share) >= 6

    simulate(story)


def test_f_c4_a_push_order_a_first_round_and_a_check_in_are_not_put_off(simulate):
    async def story(simulation):
        pull = CommunicationSettings(mode=Mode.PULL, heartbeat=3600.0, spread=300.0)
        push = CommunicationSettings(mode=Mode.PUSH, heartbeat=3600.0, spread=300.0)
        agent = await begin(simulation, push)
        await simulation.manager.publish(LARGE.format(text=2))
        await pass_time(2)
        assert agent.applied == ("motd@2",)
        await simulation.manager.put_group("lab", pull)
        await pass_time(100)
        await simulation.manager.publish(LARGE.format(text=3))
        agent.end.check_in()
        await pass_time(2)
        assert agent.applied == ("motd@3",)
        await simulation.manager.publish(LARGE.format(text=4))
        await agent.crash()
        agent.start()
        await pass_time(2)
        assert agent.applied == ("motd@4",)
        await simulation.manager.publish(LARGE.format(text=5))
        agent.end.news.set()
        await pass_time(2)
        assert agent.applied == ("motd@4",), "put off"
        agent.end.check_in()
        await pass_time(2)
        assert agent.applied == ("motd@5",), "and asked for"

    simulate(story)
