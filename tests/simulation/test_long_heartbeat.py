"""A heartbeat of a day, as the founding document advises: what comes at once, what waits, and what brings it."""

from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import LAB

HOUR, DAY = 3600.0, 86_400.0
QUIET = 600.0
"""Seconds after which nothing that follows a change is under way any more."""
GROUP = LAB + "  communication: {{preset: Pull by heartbeat, heartbeat: 24h, download: {download}}}\n"


async def publish(simulation, text, download="on"):
    await simulation.manager.publish(GROUP.format(text=text, download=download))


async def begin(simulation):
    await publish(simulation, "one")
    (agent,) = await simulation.add_agents("lab", ["laptop"])
    await pass_time(1)
    return agent


async def view(simulation):
    return await simulation.manager.service.agent(ADMIN, "laptop")


async def why(simulation):
    return await simulation.manager.service.why(ADMIN, "laptop")


def test_f_c1_the_first_round_is_at_once_and_a_new_policy_waits_for_the_heartbeat(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        assert agent.applied == ("motd@1",)
        assert (await why(simulation)).sentence == "has serial 1"
        await pass_time(QUIET)
        await publish(simulation, "two")
        await pass_time(1)
        found = await why(simulation)
        assert found.sentence == "waits for its heartbeat in 23h"
        assert (found.presence, found.link, found.sync) == ("on time", "none", "pending")
        assert "popham agent check-in" in found.step
        await pass_time(12 * HOUR)
        assert (await why(simulation)).sentence == "waits for its heartbeat in 11h"
        assert agent.applied == ("motd@1",)
        await pass_time(12 * HOUR)
        assert agent.applied == ("motd@2",)
        assert (await why(simulation)).sentence == "has serial 2"

    simulate(story)


def test_f_c1_a_check_in_on_the_machine_fetches_what_waits(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        await pass_time(QUIET)
        await publish(simulation, "two")
        (asked,) = await simulation.manager.service.check_in(ADMIN, ["laptop"])
        assert asked.state == "waits", "nobody reaches a machine that pulls"
        agent.end.check_in()
        await pass_time(1)
        assert agent.applied == ("motd@2",)
        assert (await why(simulation)).sentence == "has serial 2"

    simulate(story)


def test_f_c1_a_failed_apply_is_reported_at_once(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        await pass_time(QUIET)
        agent.applier.broken = "check-motd failed: no such file"
        await publish(simulation, "two")
        agent.end.check_in()
        await pass_time(1)
        found = await why(simulation)
        assert found.sentence == "refused: check-motd failed: no such file (policy.validate)"
        assert (found.presence, found.sync) == ("on time", "failed")
        assert "apply" in found.step
        agent.applier.broken = ""
        await pass_time(QUIET)
        await publish(simulation, "three")
        assert (await why(simulation)).sentence == "waits for its heartbeat in 23h"
        await pass_time(DAY)
        assert agent.applied == ("motd@3",)
        assert (await why(simulation)).sync == "in sync"

    simulate(story)


def test_f_c1_download_off_holds_the_policy_while_reports_flow_and_on_again_brings_it(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        await pass_time(QUIET)
        await publish(simulation, "two", download="off")
        assert (await why(simulation)).sentence == "waits for its heartbeat in 23h"
        for _ in range(3):
            before = (await view(simulation)).last_contact
            await pass_time(DAY)
            seen, found = await view(simulation), await why(simulation)
            assert seen.last_contact > before
            assert (seen.wanted, seen.applied, agent.applied) == (2, 1, ("motd@1",))
            assert found.sentence == "download is off for group lab"
            assert (found.presence, found.sync) == ("on time", "pending")
            assert "'communication: {download: on}' in group lab" in found.step
        await agent.crash()
        agent.start()
        await pass_time(1)
        assert (await view(simulation)).age < 2, "a restarted agent comes at once"
        assert (await why(simulation)).sentence == "download is off for group lab"
        await pass_time(QUIET)
        await publish(simulation, "two")
        assert (await why(simulation)).sentence == "waits for its heartbeat in 23h"
        await pass_time(DAY)
        assert agent.applied == ("motd@2",)
        assert (await why(simulation)).sentence == "has serial 3"

    simulate(story)


def test_f_o2_an_agent_that_comes_once_a_day_is_missed_after_three(simulate):
    async def story(simulation):
        agent = await begin(simulation)
        await pass_time(QUIET)
        await agent.crash()
        for presence, hours in (("on time", 30), ("overdue", 36), ("missing", 12)):
            await pass_time(hours * HOUR)
            assert (await view(simulation)).presence == presence
        found = await why(simulation)
        assert found.sentence.startswith("not seen for 3d, though it promised to come every 1d")

    simulate(story)
