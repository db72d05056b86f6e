"""Why an agent went to another server: one line of its log, and what its status says of the last change."""

import asyncio
import logging

from popham.agent.ways import UpstreamWays
from popham.model.communication import CommunicationSettings
from popham.model.servers import Server
from popham.testing.virtual import VirtualClock, run_virtual

DOCK, MANAGER = "https://dock:4320", "https://manager:4320"
BOTH = (Server(url=DOCK, priority=1), Server(url=MANAGER, priority=2))
REFUSED = "dock:4320 refused this agent: agent web-1 is in the group x, which was not given to dock"


class Silent:
    """A transport that only closes."""

    async def aclose(self):
        """Close nothing."""


class Story:
    """An agent's ways, and what holds for it."""

    def __init__(self, clock):
        self.settings, self.where = CommunicationSettings(servers=BOTH, hold=60.0), "office"
        self.ways = UpstreamWays(
            lambda _url: Silent(),
            uid=bytes(16),
            join=[MANAGER],
            ordered=lambda: self.settings,
            draw=lambda: 0.5,
            now=clock.now,
            location=lambda: self.where,
        )


def play(story):
    """Run a story in virtual time."""
    clock = VirtualClock()

    async def told():
        one = Story(clock)
        try:
            await story(one, clock)
        finally:
            await one.ways.aclose()

    run_virtual(told(), clock)


def test_f_c8_a_server_that_refused_is_named_with_its_sentence(caplog):
    async def story(one, clock):
        one.ways.succeeded()
        assert one.ways.moved is None
        one.ways.failed(refused=False, why=REFUSED)
        assert one.ways.moved is None, "nobody has answered yet"
        one.ways.succeeded()
        one.ways.succeeded()
        moved = one.ways.moved
        assert (moved.left, moved.taken, moved.why, moved.at) == (DOCK, MANAGER, REFUSED, clock.now())

    with caplog.at_level(logging.INFO, "popham.agent.ways"):
        play(story)
    assert [one.getMessage() for one in caplog.records] == [
        f"the server in use is {MANAGER} now, and was {DOCK}: {REFUSED}"
    ]


def test_f_c8_a_return_after_the_hold_says_so():
    async def story(one, _clock):
        one.ways.succeeded()
        one.ways.failed(refused=False, why="it is silent")
        one.ways.succeeded()
        await _until(one)
        assert one.ways.better() is not None
        one.ways.tried(works=True)
        assert one.ways.moved.taken == DOCK
        assert one.ways.moved.why == "it comes first in the list, and answers again ('hold' is 1m)"

    play(story)


def test_another_location_is_told_from_other_servers_of_the_group():
    async def story(one, _clock):
        one.ways.succeeded()
        for where, first, second, why in (
            ("office", MANAGER, DOCK, "the group's servers were changed"),
            ("ship", DOCK, MANAGER, "the location is ship now"),
        ):
            one.where = where
            one.settings = CommunicationSettings(
                servers=(Server(url=first, priority=1), Server(url=second, priority=2))
            )
            one.ways.dial()
            await _until(one)
            assert one.ways.better() is not None
            one.ways.tried(works=True)
            assert (one.ways.moved.left, one.ways.moved.taken, one.ways.moved.why) == (second, first, why)

    play(story)


def test_a_server_that_recovers_before_another_one_answers_is_no_change():
    async def story(one, _clock):
        one.ways.succeeded()
        one.ways.failed(refused=False, why="it is silent")
        one.ways.failed(refused=False, why="it is silent, too")
        one.ways.succeeded()
        assert (one.ways.current, one.ways.moved) == (DOCK, None)

    play(story)


async def _until(one):
    await asyncio.sleep(one.ways.until_better)  # virtual
