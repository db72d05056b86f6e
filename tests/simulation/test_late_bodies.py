"""Bodies that an agent in pull asks for, and that are not there yet, or not any more."""

import pytest

from popham.errors import LinkError
from popham.model.communication import CommunicationSettings, Mode
from popham.testing.virtual import pass_time

from .test_accelerated import LARGE, begin

PULL = CommunicationSettings(mode=Mode.PULL, heartbeat=3600.0, spread=0.0)
COMES = LinkError("busy", "it is on its way", retry_after=5.0, status=503)
GONE = LinkError("status", "it is there no more", status=404)


def failing(simulation, agent, error, times):
    """Have an agent's first requests for bodies fail; return when all were made."""
    asked, fetch = [], agent.dialer().fetch

    async def fail(path, *, limit):
        asked.append(simulation.clock.elapsed)
        if len(asked) <= times:
            raise error
        return await fetch(path, limit=limit)

    agent.dialer().fetch = fail
    return asked


@pytest.mark.parametrize(
    ("error", "times", "seconds"),
    [(COMES, 3, 30.0), (GONE, 1, 2.0)],
    ids=["it is on its way", "another bundle named it"],
)
def test_an_agent_in_pull_does_not_wait_a_heartbeat_for_a_body(simulate, error, times, seconds):
    async def story(simulation):
        agent = await begin(simulation, PULL)
        asked = failing(simulation, agent, error, times)
        await simulation.manager.publish(LARGE.format(text="2"))
        agent.end.check_in()
        await pass_time(seconds)
        assert (len(asked), agent.applied) == (times + 1, ("motd@2",))

    simulate(story)


def test_a_body_that_nobody_has_is_asked_for_twice_and_then_with_each_heartbeat(simulate):
    async def story(simulation):
        agent = await begin(simulation, PULL)
        asked = failing(simulation, agent, GONE, 100)
        await simulation.manager.publish(LARGE.format(text="2"))
        agent.end.check_in()
        await pass_time(3000.0)
        assert len(asked) == 2
        await pass_time(3600.0)
        assert len(asked) <= 4

    simulate(story)
