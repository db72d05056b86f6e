"""The collection of an agent: what a policy starts, bounds and ends, in the agent's own streams."""

import asyncio
import os
from types import SimpleNamespace

import pytest
from tests.agent.conftest import make_typed
from tests.agent.orders import KEY, UID

from popham.agent.apply import Applier, at_once
from popham.agent.collect.collection import FILE, FILE_MAX, Premises, begin_collection
from popham.agent.settings import AgentSettings, CollectSettings
from popham.agent.state import AgentState
from popham.agent.streams.spools import Spools
from popham.clock import SystemClock
from popham.statedir import StateDir
from popham.streams.frame import Stream
from popham.streams.packing import unpack

from .collecting import points_of, records_of

LONG = 30.0


class Agent:
    """An agent's parts that collect, on real files."""

    def __init__(self, folder):
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(exist_ok=True)
        self.settings = AgentSettings(
            state=str(folder / "state"),
            collect=CollectSettings(logs=(str(self.logs),)),
            commands={"count": ("/bin/sh", "-c", "echo no >&2; while [ $(nice) -lt 10 ]; do :; done; nice")},
        )
        self.sends = SimpleNamespace(withheld=frozenset(), bandwidth=0.0)
        self.pausing = SimpleNamespace(paused_at=0.0)
        self.news = asyncio.Event()

    async def start(self, *held):
        new = not (self.folder / "state").exists()
        self.dir = StateDir.open(self.folder / "state", "agent", create=new)
        state = AgentState(self.dir)
        if new:
            state.create_identity(UID, KEY)
        clock = SystemClock()
        self.applier = Applier(self.settings, self.dir.path("applier"), offload=at_once)
        self.spools = Spools(
            self.dir.path("streams"), bytes(16), clock, boot=os.urandom(8), offload=asyncio.to_thread
        )
        self.spools.appended = lambda _stream: self.news.set()
        await self.spools.begin()
        premises = Premises(self.settings, self.folder / "agent.toml", state, self.applier, clock)
        self.collection = await begin_collection(premises, held, self.spools, self.sends, self.pausing)
        self.running = asyncio.ensure_future(self.collection.run())

    async def stop(self):
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.spools.close()
        self.dir.close()

    async def payloads(self, stream):
        """Return the payloads that wait in a stream."""
        view = self.spools.view(stream)
        if view is None:
            return []
        frames = await self.spools.read(stream, view.first, limit=10**6, key=lambda: KEY)
        return [unpack(frame) for frame in frames]

    async def until(self, test):
        """Return what ``test`` finds, once it finds something."""
        async with asyncio.timeout(LONG):
            while not (found := await test()):
                self.news.clear()
                waiting = asyncio.ensure_future(self.news.wait())
                await asyncio.wait({waiting, self.running}, return_when=asyncio.FIRST_COMPLETED)
                if self.running.done():
                    await self.running
        return found

    async def lines(self):
        return [
            record.body.string_value for one in await self.payloads(Stream.LOGS) for record in records_of(one)
        ]


@pytest.fixture
async def agent(tmp_path):
    found = Agent(tmp_path)
    await found.start()
    yield found
    await found.stop()


def collect(**spec):
    return make_typed("collect", spec, "c")


async def test_a_policy_is_applied_and_its_data_is_in_the_streams(agent):
    path = agent.logs / "shop.log"
    path.write_text("one\ntwo\n")
    policy = collect(
        metrics={"cpu": True, "memory": True},
        logs=[{"name": "shop", "paths": [f"{agent.logs}/*.log"], "from": "beginning"}],
        commands=[{"name": "nice", "command": "count", "interval": "1s", "into": "metrics"}],
        probes=[{"name": "none", "tcp": "localhost:1", "interval": "1s"}],
    )
    await agent.applier.apply([policy])
    await agent.until(agent.lines)
    await agent.collection.look_now()
    assert await agent.lines() == ["one", "two"]
    measured = [point for one in await agent.payloads(Stream.METRICS) for point in points_of(one)]
    values = {name: value for name, value, _ in measured}
    assert values["popham.probe.up"] == 0.0
    # It gives way, and its errors are no number.
    assert values["popham.command.value"] == 10.0
    assert "system.memory.usage" in values
    (event, *_) = records_of((await agent.payloads(Stream.EVENTS))[0])
    assert event.event_name == "popham.probe"


async def test_f_d2_a_policy_bounds_how_much_is_kept_and_what_is_dropped_is_counted(agent):
    (agent.logs / "x").write_text("".join(f"{number}\n" for number in range(300)))
    logs = [{"name": "x", "paths": [f"{agent.logs}/x"], "from": "beginning"}]
    await agent.applier.apply([collect(limits={"records": 100}, logs=logs)])

    async def bounded():
        view = agent.spools.view(Stream.LOGS)
        return view if view is not None and view.next >= 300 else None

    await agent.until(bounded)
    await agent.spools.append(Stream.LOGS, b"", 1)
    view = await agent.until(bounded)
    assert view.waiting == 1, "what came last is kept however much it is, until something follows"
    assert view.lost == {"count": 300}


async def test_f_d8_a_policy_says_what_is_sent_and_how_fast(agent):
    await agent.applier.apply([collect(bandwidth="1KiB", upload={"logs": "off"})])
    assert (agent.sends.withheld, agent.sends.bandwidth) == (frozenset({Stream.LOGS}), 1024.0)
    await agent.applier.apply([])
    assert (agent.sends.withheld, agent.sends.bandwidth) == (frozenset(), 0.0)


async def test_a_process_collects_what_was_in_force_before_anybody_is_asked(tmp_path):
    agent = Agent(tmp_path)
    logs = [{"name": "x", "paths": [f"{agent.logs}/x"], "from": "beginning"}]
    policy = collect(summary=False, logs=logs)
    written = []
    for line in ("first", "second", "third"):
        written.append(line)
        (agent.logs / "x").write_text("".join(f"{one}\n" for one in written))
        await agent.start(policy)
        assert await agent.until(lambda: _more(agent, len(written) - 1)) == written
        await agent.stop()


async def test_rel_16_states_of_thresholds_that_cannot_be_read_end_no_agent(tmp_path):
    agent = Agent(tmp_path)
    await agent.start()
    await agent.stop()
    with (tmp_path / "state" / FILE).open("wb") as file:
        file.truncate(FILE_MAX + 1)
    (agent.logs / "x").write_text("line\n")
    await agent.start(
        collect(summary=False, logs=[{"name": "x", "paths": [f"{agent.logs}/x"], "from": "beginning"}])
    )
    assert await agent.until(lambda: _more(agent, 0)) == ["line"]
    await agent.stop()


async def _more(agent, number):
    lines = await agent.lines()
    return lines if len(lines) > number else []


async def test_an_agent_without_a_policy_loads_nothing_that_collects(agent):
    assert agent.collection.wanted is None
    await agent.collection.look_now()
    agent.collection.look_again()
    assert all(agent.spools.view(stream) is None for stream in Stream)
