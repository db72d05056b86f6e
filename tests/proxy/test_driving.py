"""When a Proxy Manager exchanges with its Manager: by who dials, by mode, and after a failure."""

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from popham.errors import LinkError, WireError
from popham.model.communication import CommunicationSettings, Mode
from popham.opamp.relay import RELAY_LIMIT, RELAY_PATH
from popham.proxy.driving import CALLS, GATHER, NO_PROXY, OLDER, REFUSED, UNKNOWN, Driving
from popham.testing.virtual import VirtualClock, pass_time, run_virtual

PUSH = CommunicationSettings(mode=Mode.PUSH, heartbeat=60.0)
PULL = replace(PUSH, mode=Mode.PULL)


class Uplink:
    """This end of an exchange; ``more`` exchanges follow the next one."""

    def __init__(self):
        self.news = asyncio.Event()
        self.calling = False
        self.more = 0
        self.heard, self.times_lost = [], 0

    def up(self):
        return b"up"

    async def hear(self, down):
        if down == b"nonsense":
            raise WireError("relay", "that is no message of a relay")
        self.heard.append(down)
        self.more -= 1
        return self.more >= 0

    def lost(self):
        self.times_lost += 1


class World:
    """What is around: a Manager that is dialled, and the agent's own contact with it."""

    def __init__(self, clock, settings):
        self.clock, self.failure = clock, None
        self.times, self.said = [], []
        self.dials, self.held, self.contact = True, False, -math.inf
        self.end = SimpleNamespace(
            settings=settings, fallback="", retry_window=0.0, beside=lambda message: message.type.encode()
        )
        self.uplink = Uplink()
        self.driving = Driving(self.uplink, self, self.end, lambda: self, clock=clock, draw=lambda: 0.5)

    async def upload(self, path, body, *, limit):
        assert (path, body, limit) == (RELAY_PATH, b"up", RELAY_LIMIT)
        self.times.append(self.clock.elapsed)
        if self.failure is not None:
            raise self.failure
        return b"down"

    async def say(self, message):
        if not self.held:
            raise LinkError("closed", "no link is held")
        self.said.append((self.clock.elapsed, message))

    def take(self):
        found, self.times = self.times, []
        return found


def play(story, settings=PUSH):
    """Run a story in which the driving goes on."""
    clock = VirtualClock()

    @asynccontextmanager
    async def going():
        world = World(clock, settings)
        running = asyncio.ensure_future(world.driving.run())
        try:
            yield world
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def told():
        async with going() as world:
            await story(world)

    run_virtual(told(), clock)


def test_in_push_news_go_at_once_and_together_and_each_heartbeat_relays():
    async def story(world):
        await pass_time(1.0)
        assert world.take() == [0.0], "it begins at once"
        for _ in range(3):
            world.uplink.news.set()
        await pass_time(0.0001)
        assert world.take() == [1.0], "nothing was exchanged lately, so nothing is waited for"
        for _ in range(3):
            world.uplink.news.set()
            await pass_time(0.0001)
        await pass_time(0.9996)
        assert world.take() == pytest.approx([1.0 + GATHER]), "what follows is gathered"
        await pass_time(130.0)
        assert len(world.take()) == 2
        now = world.clock.elapsed
        world.driving.woken()
        await pass_time(1.0)
        assert world.take() == [now], "the Manager said that it has something, which waits for nothing"

    play(story)


def test_a_pass_goes_on_while_there_is_more():
    async def story(world):
        world.uplink.more = 4
        await pass_time(1.0)
        assert len(world.take()) == 5
        assert world.driving.describe() == {
            "last_exchange": world.clock.now() - 1.0,
            "exchanges": 5,
            "problem": "",
        }

    play(story)


def test_in_pull_it_relays_after_each_round_and_each_second_while_somebody_waits():
    async def story(world):
        await pass_time(1.0)
        world.take()
        world.uplink.news.set()
        await pass_time(200.0)
        assert world.take() == [], "news wait for the round"
        world.driving.rounded()
        await pass_time(1.0)
        assert len(world.take()) == 1
        world.uplink.calling = True
        world.uplink.news.set()
        await pass_time(3.0)
        found = world.take()
        assert len(found) in {2, 3}
        assert found[1] - found[0] >= CALLS

    play(story, PULL)


def test_who_pulls_because_no_link_can_be_had_relays_with_its_rounds():
    async def story(world):
        world.end.fallback = "link.full"
        await pass_time(1.0)
        world.take()
        world.uplink.news.set()
        await pass_time(200.0)
        assert world.take() == []

    play(story)


def test_who_is_visited_dials_nobody_and_answers():
    async def story(world):
        world.dials = False
        world.uplink.news.set()
        await pass_time(100.0)
        assert world.take() == []
        assert world.said == []
        assert await world.driving.relay(b"down") == b"up"
        assert world.uplink.heard == [b"down"]
        with pytest.raises(WireError):
            await world.driving.relay(b"nonsense")
        assert world.uplink.times_lost == 1

    play(story)


def test_who_is_visited_says_over_the_link_that_there_is_something_to_relay():
    async def story(world):
        world.dials, world.held = False, True
        await pass_time(1.0)
        assert world.said == []
        world.uplink.news.set()
        await pass_time(1.0)
        assert [text for _, text in world.said] == [b"wake"]
        for _ in range(100):
            world.uplink.news.set()
            await pass_time(0.001)
        await pass_time(1.0)
        assert len(world.said) <= 5, "a burst is a few words"

    play(story)


def test_what_failed_is_tried_again_after_a_pause_and_after_a_round_that_worked():
    async def story(world):
        world.failure = LinkError("unreachable", "nobody answers")
        await pass_time(600.0)
        found = world.take()
        assert 4 <= len(found) <= 40, "pauses are drawn from 0 to the heartbeat"
        assert world.uplink.times_lost == len(found)
        assert "nobody answers" in world.driving.problem
        world.uplink.news.set()
        await pass_time(0.5)
        assert world.take() == [], "news change nothing"
        world.failure = None
        world.driving.rounded()
        await pass_time(0.5)
        assert len(world.take()) == 1
        assert world.driving.problem == ""

    play(story)


def test_what_failed_is_tried_again_once_the_manager_answers_the_agent_over_its_link():
    async def story(world):
        world.failure = LinkError("unreachable", "nobody answers")
        await pass_time(900.0)
        world.take()
        world.contact = world.clock.elapsed
        await pass_time(2 * CALLS)
        assert len(world.take()) >= 1
        await pass_time(30.0)
        assert len(world.take()) <= 1, "that it answered is no news any more"
        world.failure, world.contact = None, world.clock.elapsed
        await pass_time(2 * CALLS)
        assert world.driving.problem == ""

    play(story)


def test_a_manager_that_does_not_know_relaying_is_asked_again_in_an_hour_and_that_is_said_once(caplog):
    async def story(world):
        world.failure = LinkError("unexpected", "there is no such path", status=404)
        await pass_time(60.0)
        world.driving.rounded()
        await pass_time(UNKNOWN - 120.0)
        assert len(world.take()) == 1
        assert world.driving.problem == OLDER
        await pass_time(180.0)
        assert len(world.take()) == 1
        assert caplog.text.count(OLDER) == 1

    play(story)


def test_who_is_refused_and_again_a_minute_later_sends_its_agents_elsewhere():
    async def story(world):
        refused = LinkError(
            "denied", "an identity of kind agent may not do this (grant.not_permitted)", status=403
        )
        sent = []
        world.driving.on_refused = lambda: sent.append(world.clock.elapsed)
        world.failure = refused
        await pass_time(2.0)
        world.failure = LinkError("unreachable", "nobody answers")
        await pass_time(4 * REFUSED)
        assert (world.driving.problem, sent) == ("nobody answers (link.unreachable)", []), (
            "that is no refusal"
        )
        world.failure = None
        await pass_time(400.0)
        world.failure = refused
        begun = world.clock.elapsed
        world.driving.woken()
        await pass_time(30.0)
        assert world.driving.problem == NO_PROXY
        assert sent == [], "it may be a slip"
        await pass_time(400.0)
        assert sent
        assert sent[0] - begun >= REFUSED

    play(story)


def test_what_the_manager_asks_for_is_obeyed():
    async def story(world):
        world.failure = LinkError("busy", "it has too much to do", retry_after=300.0, status=503)
        await pass_time(1.0)
        world.driving.rounded()
        await pass_time(298.0)
        assert len(world.take()) == 1
        await pass_time(60.0)
        assert len(world.take()) == 1

    play(story)
