"""Our agent under an upstream that is no Manager: Elastic's mock of an OpAMP server, good and bad.

Whatever it answers, the agent keeps what it had, says why it is not in touch, stays away for longer each
time or for as long as it was asked to, and is in touch again once a Manager answers.
"""

import asyncio
from contextlib import asynccontextmanager

import pytest

from popham.errors import LinkError
from popham.link.driver import Driver
from popham.link.ways import OneWay
from popham.net.dialer import AiohttpDialer
from popham.net.seam import Limits
from popham.testing.direct import DirectDialer, DirectManager
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock

from .stock_node import StrangeUpstream, install

PULLS = """
apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec: {type: files, files: [{path: /etc/popham.d/motd, content: one}]}
---
apiVersion: popham/v1
kind: Group
metadata: {name: lab}
spec:
  parent: fleet
  inheritance: {communication: false, policies: {files: false}}
  communication: {preset: PRESET, heartbeat: 30s}
  policies: {files: motd}
"""
DRAW = 0.001
"""What jitter draws: waits stay in order, and short."""


@pytest.fixture(scope="module")
def modules():
    return install()


@pytest.fixture(scope="module")
def keys():
    return make_keys(VirtualClock())


@pytest.fixture
def enroll(keys):
    """Return a function that makes an agent with a policy in force."""

    async def make(preset="Pull by heartbeat"):
        manager = DirectManager(keys)
        await manager.start()
        await manager.publish(PULLS.replace("PRESET", preset))
        agent = await manager.add_agent("a", "lab")
        await agent.round()
        assert agent.applier.applied == [("motd@1",)]
        return manager, agent

    return make


class Journey:
    """What a driver said on its way.

    Attributes:
        told: Sentence and seconds until the next contact, of each step.
        dialer: Where it dials next.
    """

    def __init__(self, agent):
        self.agent = agent
        self.told = []
        self.news = asyncio.Event()
        self.dialer = None
        agent.end.retry_window = 0.0  # as long as no Manager named one, jitter alone says how long a wait is
        self.driver = Driver(agent.end, OneWay(lambda: self.dialer), draw=lambda: DRAW, said=self._said)

    def _said(self, text, wait):
        self.told.append((text, wait))
        self.news.set()

    async def until(self, holds):
        async with asyncio.timeout(60):
            while not holds(self.told):
                self.news.clear()
                await self.news.wait()

    @asynccontextmanager
    async def under(self, url):
        """Drive the agent with ``url`` upstream."""
        self.dialer = AiohttpDialer(url, context=None, limits=Limits(), instance_uid=self.agent.end.uid)
        running = asyncio.ensure_future(self.driver.run())
        try:
            yield
            assert not running.done()
        finally:
            self.driver.stop()
            await running
            await self.dialer.aclose()


def unharmed(agent, before):
    """Return whether the agent has what it had."""
    return (agent.state.bundle(), agent.state.certificate(), list(agent.applier.applied)) == before


def possessions(agent):
    return agent.state.bundle(), agent.state.certificate(), list(agent.applier.applied)


async def test_opc_17_errors_of_an_unknown_kind_are_told_and_waited_for_longer_each_time(modules, enroll):
    _, agent = await enroll()
    before, journey = possessions(agent), Journey(agent)
    with StrangeUpstream(modules, mode="server_error_response_unknown") as upstream:
        async with journey.under(upstream.url):
            await journey.until(lambda told: len(told) >= 6)
    assert all("some unknown error" in text for text, _ in journey.told[:6])
    waits = [wait for _, wait in journey.told[:6]]
    assert waits == sorted(waits)
    assert waits[5] > 8 * waits[0]
    assert unharmed(agent, before)
    # It is the upstream that is strange: what was said is said again.
    assert len(upstream.taken) >= 6


async def test_opc_16_unavailable_with_a_time_is_obeyed(modules, enroll):
    _, agent = await enroll()
    before, journey = possessions(agent), Journey(agent)
    with StrangeUpstream(modules, mode="server_error_response_unavailable") as upstream:
        async with journey.under(upstream.url):
            await journey.until(lambda told: told)
    text, wait = journey.told[0]
    assert "some reason" in text
    assert 42 <= wait <= 42 * 1.1
    # What came after is its goodbye.
    assert len(upstream.taken) <= 2
    assert unharmed(agent, before)


async def test_opc_22_an_offer_of_somebody_elses_configuration_is_refused_with_a_sentence(modules, enroll):
    _, agent = await enroll()
    before, journey = possessions(agent), Journey(agent)
    with StrangeUpstream(modules, config='{"logging_level": "debug"}') as upstream:
        async with journey.under(upstream.url):
            await journey.until(lambda told: len(told) >= 3)
    assert all("an offer has no bundle" in text for text, _ in journey.told[:3])
    assert unharmed(agent, before)


async def test_opc_9_an_upstream_that_asks_for_everything_gets_it_and_knows_nothing_of_us(modules, enroll):
    """It answers well and offers nothing: the agent keeps its heartbeat, and what it had."""
    _, agent = await enroll()
    before, journey = possessions(agent), Journey(agent)
    with StrangeUpstream(modules) as upstream:
        async with journey.under(upstream.url):
            await journey.until(lambda told: told)
            assert journey.told[0][0] == ""
    assert 0 < journey.told[0][1] <= 30
    assert {one["status"] for one in upstream.taken} == {200}
    assert unharmed(agent, before)


async def test_opc_1_an_upstream_without_held_links_is_told_as_such(modules, enroll):
    _, agent = await enroll("Push")
    before, journey = possessions(agent), Journey(agent)
    with StrangeUpstream(modules) as upstream:
        async with journey.under(upstream.url):
            await journey.until(lambda told: told)
            assert "it pulls, because it cannot hold a link" in journey.told[0][0]
            assert "501" in journey.told[0][0]
            assert agent.end.fallback == "link.unexpected"
    assert 200 in {one["status"] for one in upstream.taken}, "rounds go on"
    assert unharmed(agent, before)


async def test_opc_1_an_upstream_elsewhere_on_that_host_is_told_as_such(modules, enroll):
    _, agent = await enroll()
    before, journey = possessions(agent), Journey(agent)
    with StrangeUpstream(modules) as upstream:
        async with journey.under(upstream.url.replace("/v1/opamp", "/fleet/v1/opamp")):
            await journey.until(lambda told: len(told) >= 3)
    assert all("404" in text for text, _ in journey.told[:3])
    assert unharmed(agent, before)


@pytest.mark.parametrize("mode", ["server_error_response_unknown", None])
async def test_it_outlives_an_upstream_that_dies_and_is_in_touch_once_a_manager_answers(
    modules, enroll, mode
):
    manager, agent = await enroll()
    journey = Journey(agent)
    options = {"mode": mode} if mode else {"config": "{}"}
    with StrangeUpstream(modules, **options) as upstream:
        strange = AiohttpDialer(upstream.url, context=None, limits=Limits(), instance_uid=agent.end.uid)
        journey.dialer = strange
        running = asyncio.ensure_future(journey.driver.run())
        await journey.until(lambda told: len(told) >= 2)
    try:
        await journey.until(lambda told: "cannot be reached" in told[-1][0])
        await manager.publish(PULLS.replace("PRESET", "Pull by heartbeat").replace("one", "two"))
        journey.dialer = DirectDialer(manager, agent.peer())
        await journey.until(lambda told: told[-1][0] == "")
    finally:
        journey.driver.stop()
        await running
        await strange.aclose()
    assert agent.applier.applied == [("motd@1",), ("motd@2",)]
    assert agent.end.record().error == ""


async def test_opc_1_whoever_wants_to_join_there_learns_that_no_manager_answers(modules):
    with StrangeUpstream(modules) as upstream:
        dialer = AiohttpDialer(upstream.url, context=None, limits=Limits())
        try:
            with pytest.raises(LinkError) as caught:
                await dialer.fetch("/v1/trust/ca", limit=10_000)
        finally:
            await dialer.aclose()
    assert (caught.value.code, caught.value.status) == ("link.unexpected", 404)
