"""Switching how a running fleet gets in touch, again and again; and where the new way is closed."""

from collections import defaultdict
from itertools import pairwise

from popham.errors import LinkError
from popham.model.communication import CommunicationSettings, Mode
from popham.model.status import Presence, SyncState, presence, sync_state
from popham.testing.network import Lower
from popham.testing.virtual import pass_time
from popham.upstream.record import Record

from .conftest import LAB

SWITCH, SPAN = 10.0, 1200.0
"""Seconds between two switches, and of all; an hour of them, through all cells, is in test_cells.py."""
GROUP = LAB + "  communication: {{preset: {preset}, heartbeat: {heartbeat}, spread: off}}\n"
PULL, PUSH = "Pull by heartbeat", "Push"


async def publish(simulation, text, preset, heartbeat="5s"):
    await simulation.manager.publish(GROUP.format(text=text, preset=preset, heartbeat=heartbeat))


def known(simulation, agent):
    return simulation.manager.book.record(agent.state.uid)


def in_sync(simulation, agents):
    wanted = simulation.manager.book.wanted("lab").content_digest
    return {sync_state(wanted, known(simulation, agent).state) for agent in agents} == {SyncState.IN_SYNC}


def on_time(simulation, agents):
    found = [known(simulation, agent) for agent in agents]
    now = simulation.clock.now()
    return {presence(one.last_contact, one.promise, now) for one in found} == {Presence.ON_TIME}


def test_f_c3_a_switch_every_ten_seconds_misses_and_doubles_nothing(simulate, monkeypatch):
    revisions, rounds, broken = defaultdict(list), defaultdict(int), []
    note_state, close = Record.note_state, Lower.close

    def noted(record, state, envelope):
        revisions[record.uid].append((state.revision, envelope))
        return note_state(record, state, envelope)

    async def closed(lower, code=1000, reason=""):
        name = lower._pipe.name
        if not lower._pipe.code:
            broken.append(rounds[name])
            rounds[name] = 0
        await close(lower, code, reason)

    monkeypatch.setattr(Record, "note_state", noted)
    monkeypatch.setattr(Lower, "close", closed)

    async def story(simulation):
        await publish(simulation, "0", PUSH)
        agents = await simulation.add_agents("lab", ["a", "b", "c"])
        for agent in agents:
            count(agent, rounds)
        await pass_time(SWITCH)
        drivers = [agent.driver for agent in agents]
        switches = int(SPAN / SWITCH)
        for number in range(1, switches + 1):
            await publish(simulation, str(number), PULL if number % 2 else PUSH)
            await pass_time(SWITCH)
            assert in_sync(simulation, agents)
            assert on_time(simulation, agents)
            modes = {known(simulation, agent).state.mode for agent in agents}
            assert modes == {Mode.PULL if number % 2 else Mode.PUSH}
        for agent in agents:
            assert [one for (one,) in agent.applier.applied] == [f"motd@{n + 1}" for n in range(switches + 1)]
            assert not any(agent.said), "nothing failed on the way"
        assert [agent.driver for agent in agents] == drivers, "nobody was restarted"
        assert len(broken) == len(agents) * switches / 2
        assert min(broken) >= 1, "a link is let go after a round by the new way only"

    simulate(story)
    assert len(revisions) == 3
    for said in revisions.values():
        assert all(a < b or (a, one) == (b, other) for (a, one), (b, other) in pairwise(said))


def count(agent, rounds):
    exchange = agent.dialer().exchange

    async def counted(body):
        answer = await exchange(body)
        rounds[agent.name] += 1
        return answer

    agent.dialer().exchange = counted


async def no_upgrade():
    raise LinkError("unexpected", "the proxy does not upgrade to a WebSocket", status=400)


def test_f_c3_where_no_link_can_be_opened_the_agent_stays_in_pull_says_so_and_leaves_no_gap(simulate):
    async def story(simulation):
        await publish(simulation, "one", PULL, "60s")
        (agent,) = await simulation.add_agents("lab", ["a"])
        await pass_time(100)
        hold, agent.dialer().hold = agent.dialer().hold, no_upgrade
        await publish(simulation, "two", PUSH, "60s")
        for _ in range(30):
            await pass_time(20)
            assert simulation.clock.now() - known(simulation, agent).last_contact <= 61
        state = known(simulation, agent).state
        assert (state.mode, state.fallback) == (Mode.PULL, "link.unexpected")
        assert agent.applied == ("motd@2",)
        assert agent.driver.link_wait > 0
        await publish(simulation, "three", PUSH, "60s")
        await pass_time(61)
        assert agent.applied == ("motd@3",)
        agent.dialer().hold = hold
        await pass_time(70)
        state = known(simulation, agent).state
        assert (state.mode, state.fallback) == (Mode.PUSH, "")
        await publish(simulation, "four", PUSH, "60s")
        await pass_time(1)
        assert agent.applied == ("motd@4",)

    simulate(story)


def test_f_c3_without_a_link_a_round_is_made_no_more_than_once_per_heartbeat(simulate):
    async def story(simulation):
        await publish(simulation, "one", PUSH, "60s")
        (agent,) = await simulation.add_agents("lab", ["a"])
        agent.dialer().hold = no_upgrade
        for pipe in list(simulation.network.pipes):
            pipe.end(1006)
        await pass_time(300)
        before = simulation.manager.hub.counts.rounds
        await pass_time(600)
        assert 9 <= simulation.manager.hub.counts.rounds - before <= 11

    simulate(story)


def test_f_c3_a_manager_that_is_away_is_not_dialled_twice_as_often_for_that(simulate):
    async def story(simulation):
        await publish(simulation, "one", PUSH, "60s")
        (agent,) = await simulation.add_agents("lab", ["a"])
        await pass_time(10)
        tried = []
        exchange = agent.dialer().exchange

        async def noted(body):
            tried.append(body)
            return await exchange(body)

        agent.dialer().exchange = noted
        await simulation.manager.crash()
        await pass_time(300)
        assert not tried

    simulate(story)


def test_f_c3_a_manager_that_goes_while_an_agent_has_no_link_is_waited_for_and_found_again(simulate):
    async def story(simulation):
        await publish(simulation, "one", PUSH, "60s")
        (agent,) = await simulation.add_agents("lab", ["a"])
        hold, agent.dialer().hold = agent.dialer().hold, no_upgrade
        for pipe in list(simulation.network.pipes):
            pipe.end(1006)
        await pass_time(100)
        await simulation.manager.crash()
        agent.dialer().hold = hold
        await pass_time(600)
        assert agent.end.fallback != "link.unreachable"
        await simulation.manager.start()
        await pass_time(400)
        state = known(simulation, agent).state
        assert (state.mode, state.fallback) == (Mode.PUSH, "")

    simulate(story)


def test_f_c1_with_upload_off_reports_are_sent_all_the_same(simulate):
    async def story(simulation):
        for mode in Mode:
            quiet = CommunicationSettings(mode=mode, heartbeat=60.0, upload=False, critical=False)
            await simulation.manager.put_group(str(mode), quiet)
        agents = [(await simulation.add_agents(str(mode), [f"{mode}-1"]))[0] for mode in Mode]
        await pass_time(600)
        assert on_time(simulation, agents)
        assert [known(simulation, agent).state.mode for agent in agents] == list(Mode)
        assert [agent.end.settings.upload for agent in agents] == [False, False]

    simulate(story)
