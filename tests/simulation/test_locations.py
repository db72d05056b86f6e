"""A machine that moves, with a real Manager: what it says, how often, and what holds."""

import asyncio
from itertools import pairwise

from popham.errors import LinkError
from popham.model.cell import Dialer, Mode
from popham.model.status import Outcome, SyncState, sync_state
from popham.testing.virtual import pass_time

GROUP = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: work}}
spec: {{type: files, files: [{{path: /etc/motd, content: "work {text}"}}]}}
---
apiVersion: popham/v1
kind: Policy
metadata: {{name: away}}
spec: {{type: files, files: [{{path: /etc/motd, content: "away"}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: lab}}
spec:
  parent: fleet
  inherits: true
  inheritance: {{communication: false, locations: false, policies: {{files: false}}}}
  policies: {{files: away}}
  communication: {settings}
  locations:
    - {{name: default, default: true}}
    - name: office
      weight: 10
      when: {{address: 10.0.0.0/8}}
      policies: {{files: work}}
      communication: {office}
"""
PUSH = "{preset: Push, heartbeat: 60s, spread: off}"
PULL = "{preset: Pull by heartbeat, heartbeat: 60s, spread: off}"
SLOW = "{preset: Pull by heartbeat, heartbeat: 1h, spread: off}"
AT_WORK, AWAY = ("10.1.2.3",), ("192.0.2.7",)


def group(settings=PUSH, office=None, text="one", *, download=True):
    whole = settings.replace("}", f", download: {'on' if download else 'off'}}}")
    return GROUP.format(settings=whole, office=office or settings, text=text)


async def begin(simulation, text):
    await simulation.manager.publish(text)
    (agent,) = await simulation.add_agents("lab", ["laptop"])
    await pass_time(90)
    return agent


def listen(agent):
    """Return a list that grows with each message of the agent."""
    said, report = [], agent.end.report

    def listened(*, force):
        message = report(force=force)
        if message is not None:
            said.append(asyncio.get_running_loop().time())
        return message

    agent.end.report = listened
    return said


def known(simulation, agent):
    return simulation.manager.book.record(agent.state.uid).state


def judged(simulation, agent):
    return sync_state(simulation.manager.book.wanted("lab").content_digest, known(simulation, agent))


def test_f_g3_a_change_of_location_is_said_in_one_round_and_the_manager_knows_it_at_once(simulate):
    for settings in (PUSH, PULL):

        async def story(simulation, settings=settings):
            agent = await begin(simulation, group(settings))
            assert agent.applied == ("away@1",)
            said = listen(agent)
            agent.host.change(addresses=AT_WORK)
            await pass_time(1)
            record = known(simulation, agent)
            assert (record.location, record.rules) == ("office", ("address 10.0.0.0/8",))
            assert agent.applied == ("work@1",)
            assert judged(simulation, agent) is SyncState.IN_SYNC
            assert len(said) == 1
            await pass_time(200)
            assert min(b - a for a, b in pairwise(said)) > 25, "and then heartbeats only"

        simulate(story)


def test_f_c2_the_way_to_get_in_touch_changes_with_the_location_in_one_round_and_back(simulate):
    async def story(simulation):
        agent = await begin(simulation, group(PUSH, SLOW))
        said = listen(agent)
        agent.host.change(addresses=AT_WORK)
        await pass_time(5)
        record = known(simulation, agent)
        assert (record.location, record.mode, record.promise) == ("office", Mode.PULL, 3600)
        assert len(said) == 1, "the round that tries the new way is the one"
        await pass_time(1800)
        assert len(said) == 1
        assert not [pipe for pipe in simulation.network.pipes if not pipe.code], "the link is let go"
        agent.host.change(addresses=AWAY)
        await pass_time(5)
        record = known(simulation, agent)
        assert (record.location, record.mode, record.dialer) == ("default", Mode.PUSH, Dialer.AGENT)
        assert len(said) == 2

    simulate(story)


def test_f_c2_a_link_is_kept_as_long_as_the_way_of_the_new_location_does_not_work(simulate):
    async def story(simulation):
        agent = await begin(simulation, group(PUSH, SLOW))
        exchange = agent.dialer().exchange
        agent.dialer().exchange = refuse
        agent.host.change(addresses=AT_WORK)
        await pass_time(5)
        assert known(simulation, agent).location == "office", "told over the held link"
        assert [pipe for pipe in simulation.network.pipes if not pipe.code]
        said = listen(agent)
        await pass_time(600)
        assert len(said) <= 40, "it tries again now and then"
        agent.dialer().exchange = exchange
        await pass_time(61)
        assert not [pipe for pipe in simulation.network.pipes if not pipe.code]

    simulate(story)


async def refuse(_body):
    raise LinkError("unreachable", "nobody answers")


def test_f_g3_a_laptop_changes_its_policy_while_nobody_can_be_reached(simulate):
    async def story(simulation):
        agent = await begin(simulation, group(PULL))
        await simulation.manager.crash()
        agent.host.change(addresses=AT_WORK)
        await pass_time(1)
        assert agent.applied == ("work@1",)
        await agent.crash()
        agent.start()
        await pass_time(1)
        agent.host.change(addresses=AWAY)
        await pass_time(1)
        assert agent.applied == ("away@1",)
        await simulation.manager.start()
        await pass_time(400)
        assert known(simulation, agent).location == "default"
        assert judged(simulation, agent) is SyncState.IN_SYNC

    simulate(story)


def test_f_c1_download_off_is_pending_with_its_reason_and_on_again_brings_everything(simulate):
    async def story(simulation):
        agent = await begin(simulation, group())
        whole = known(simulation, agent)
        await simulation.manager.publish(group(text="two", download=False))
        await pass_time(5)
        record = known(simulation, agent)
        assert agent.applied == ("away@1",)
        assert record.outcome is Outcome.APPLIED
        assert record.serial == whole.serial + 1
        assert record.content_digest != whole.content_digest
        assert record.applied_serial == whole.serial
        assert record.applied_digest == whole.content_digest
        assert record.applied_resolved == whole.resolved
        assert judged(simulation, agent) is SyncState.PENDING
        agent.host.change(addresses=AT_WORK)
        await pass_time(5)
        assert agent.applied == ("work@1",)
        assert judged(simulation, agent) is SyncState.PENDING
        await simulation.manager.publish(group(text="two"))
        await pass_time(5)
        assert agent.applied == ("work@2",)
        assert judged(simulation, agent) is SyncState.IN_SYNC

    simulate(story)


def test_a_location_by_reachability_of_the_manager_follows_the_rounds(simulate):
    async def story(simulation):
        text = group(PULL).replace("{address: 10.0.0.0/8}", "{manager: reachable, not: {interface: vpn}}")
        agent = await begin(simulation, text)
        assert agent.applied == ("work@1",)
        simulation.network.cut.add("laptop")
        await pass_time(100)
        assert agent.applied == ("away@1",)
        simulation.network.cut.clear()
        await pass_time(600)
        assert agent.applied == ("work@1",)
        assert judged(simulation, agent) is SyncState.IN_SYNC

    simulate(story)
