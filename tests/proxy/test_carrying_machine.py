"""Whatever happens to a proxy, its disk and the wires: what agents wrote is above once, and nothing is counted as lost."""

import asyncio
import contextlib
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.proxy.streams_rig import Rig, heads

from popham.errors import LinkError, StateError
from popham.proxy.spool.bounds import Limits
from popham.streams.frame import Stream
from popham.testing.disk import EndedError

AGENTS = st.integers(0, 1)
STREAMS = st.sampled_from([Stream.EVENTS, Stream.LOGS])
COUNTS = st.lists(st.integers(1, 5), min_size=1, max_size=3)
LIMITS = st.sampled_from([1, 700, 1 << 20])
ORDER = list(Stream)


class Carrying(RuleBasedStateMachine):
    """Agents with spools, a proxy that is killed, and exchanges that are lost on either way."""

    custody = "hop"

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.rig = Rig(self.custody, limits=Limits(reserve=0, segment=1500))
        self.run(self.rig.begin())

    def run(self, coroutine):
        return self.runner.run(coroutine)

    @rule(agent=AGENTS, stream=STREAMS, counts=COUNTS)
    def write(self, agent, stream, counts):
        self.rig.agents[agent].write(stream, *counts)

    @rule(agent=AGENTS, stream=STREAMS, limit=LIMITS, answered=st.booleans())
    def send(self, agent, stream, limit, answered):
        # No room, or nobody knows how far it is above: the agent comes again.
        with contextlib.suppress(LinkError):
            self.run(self.rig.agents[agent].send(self.rig.intake, stream, limit=limit, answered=answered))

    @rule(limit=LIMITS, arrives=st.booleans(), answered=st.booleans())
    def exchange(self, limit, arrives, answered):
        if not self.rig.manager.away:
            carried = len(self.rig.manager.carried)
            self.run(self.rig.exchange(limit=limit, arrives=arrives, answered=answered))
            self.look(self.rig.manager.carried[carried:])

    def look(self, carried):
        """What is carried at once has what is dear first, and each agent's frames in order."""
        places = [ORDER.index(Stream(one.stream)) for one in carried]
        assert places == sorted(places)
        for one in carried:
            found = heads(one.frames)
            assert all(first.end <= then.first for first, then in pairwise(found))
            assert {head.uid for head in found} == {one.key}

    @rule()
    def the_manager_goes_away_or_comes_back(self):
        self.rig.manager.away = not self.rig.manager.away

    @rule(wait=st.sampled_from([0.0, 5.0]))
    def the_manager_has_no_room(self, wait):
        self.rig.manager.wait = wait

    @rule(seconds=st.sampled_from([1.0, 20.0, 400.0]))
    def time_passes(self, seconds):
        self.rig.clock.time += seconds

    @rule()
    def tidy(self):
        self.run(self.rig.intake._keeping.tidy())

    @rule()
    def kill(self):
        self.run(self.rig.restart())

    @rule(seed=st.integers(0, 1000))
    def cut_the_power(self, seed):
        self.run(self.rig.restart(cut=seed))

    @rule()
    def stop_and_start(self):
        self.run(self.rig.intake.close())
        self.run(self.rig.begin())

    @rule(nth=st.integers(1, 5), agent=AGENTS, stream=STREAMS)
    def kill_in_the_middle(self, nth, agent, stream):
        disk = self.rig.disk
        disk.calls, disk.ends_at = 0, nth
        with contextlib.suppress(StateError, EndedError):
            self.send(agent, stream, 1 << 20, answered=True)
            self.tidy()
        disk.ends_at = 0
        self.kill()

    @rule(nth=st.integers(1, 5), lasts=st.booleans(), agent=AGENTS, stream=STREAMS)
    def the_disk_fails(self, nth, lasts, agent, stream):
        disk = self.rig.disk
        disk.calls, disk.fails_at, disk.fails_on = 0, nth, lasts
        self.send(agent, stream, 1 << 20, answered=True)
        self.tidy()
        disk.fails_at = 0

    @rule(agent=AGENTS, stream=STREAMS)
    def the_disk_is_full(self, agent, stream):
        self.rig.disk.left = 0
        self.send(agent, stream, 1 << 20, answered=True)
        self.tidy()
        self.rig.disk.left = None

    @invariant()
    def nothing_is_doubled(self):
        for agent in self.rig.agents:
            for stream in agent.durable:
                assert set(self.rig.manager.records(agent.uid, stream).values()) <= {1}

    @invariant()
    def what_was_acknowledged_is_somewhere(self):
        """Under end to end it is above; under hop it is at least here."""
        if self.custody == "hop":
            return
        for agent in self.rig.agents:
            for stream, numbers in agent.durable.items():
                above = self.rig.manager.records(agent.uid, stream)
                waiting = agent.spool(stream).waiting
                assert all(above[one] for one in numbers[: len(numbers) - waiting])

    def teardown(self):
        try:
            self.run(self.rig.drain())
            self.rig.check()
            assert not self.rig.intake.depth()["dropped"].get("refused")
        finally:
            self.run(self.rig.intake.close())
            self.runner.close()


class EndToEnd(Carrying):
    """Beside that the proxy loses its disk, what is on it rots, and agents go to the Manager and come back."""

    custody = "end to end"

    @rule()
    def lose_the_disk(self):
        self.run(self.rig.end())
        self.rig.disk.restore({})
        self.run(self.rig.begin())

    @precondition(lambda self: self.rig.disk.copy())
    @rule(data=st.data())
    def a_byte_rots(self, data):
        path = data.draw(st.sampled_from(sorted(self.rig.disk.copy())))
        if size := self.rig.disk.size(path):
            self.rig.disk.damage(path, data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, 255)))

    @precondition(lambda self: not self.rig.manager.away)
    @rule(agent=AGENTS, stream=STREAMS, limit=LIMITS)
    def go_to_the_manager(self, agent, stream, limit):
        self.run(self.rig.agents[agent].send(self.rig.manager.intake, stream, limit=limit))


SETTINGS = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestByHop = pytest.mark.timeout(120)(Carrying.TestCase)
TestEndToEnd = pytest.mark.timeout(120)(EndToEnd.TestCase)
TestByHop.settings = TestEndToEnd.settings = SETTINGS
