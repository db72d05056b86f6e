"""A proxy and what stands above it, over a way that loses and repeats, while either of them begins anew."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popham.net.seam import Refused
from popham.opamp.codec import parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.proxy.saying import full_message

from .desk import body_of
from .dock import AGENTS, NONCES, Dock

FATES = st.sampled_from(["arrives", "up lost", "down lost", "twice"])
AT = st.integers(0, len(AGENTS) - 1)
STEPS = st.one_of(
    st.tuples(st.just("exchange"), FATES),
    st.tuples(st.just("visit"), FATES),
    st.tuples(st.sampled_from(["say", "order", "result", "rename", "remove", "give"]), AT),
    st.tuples(st.sampled_from(["group", "manager boots", "proxy boots", "proxy loses its disk"]), st.just(0)),
)


class Story:
    """What happens to a fleet; afterwards both ends are to know the same."""

    def __init__(self, folder):
        self.dock = Dock(folder)
        self.desk = self.dock.desk
        self.version, self.disks, self.folder = 1, 0, folder
        self.sent = {}

    async def begin(self):
        self.desk.put_group(body_of("0"))
        self.desk.add(*AGENTS)
        await self.dock.boot()

    async def do(self, step, what):
        await getattr(self, step.replace(" ", "_"))(what)

    async def exchange(self, fate):
        await self.dock.exchange(fate)

    async def visit(self, fate):
        await self.dock.visit(fate)

    async def say(self, at, *results):
        """Have an agent make a round that brings something new, with an exchange beside it if it has to be met."""
        agent = AGENTS[at]
        agent.revision += 1
        asking = asyncio.ensure_future(self.dock.say(agent, *results, full=True))
        await asyncio.sleep(0)
        for _ in range(6):
            if asking.done():
                break
            await self.dock.exchange()
            await asyncio.sleep(0)
        try:
            await asking
        except Refused:
            assert agent.key not in self.desk.agents, "one that may be here is let in"

    async def result(self, at):
        agent = AGENTS[at]
        result = agent.result(NONCES[at], revision=agent.revision)
        await self.say(at, result)
        if agent.key in self.desk.agents:
            self.sent[agent.key] = result

    async def order(self, at):
        told = self.desk.agents.get(AGENTS[at].key)
        if told is not None:
            del told.orders[:]
            told.orders.add(nonce=NONCES[10 + at], envelope=AGENTS[at].operation(NONCES[10 + at]))
            self.dock.relays.agent_changed(AGENTS[at].uid)

    async def rename(self, at):
        told = self.desk.agents.get(AGENTS[at].key)
        if told is not None:
            told.name += "x"
            self.dock.relays.agent_changed(AGENTS[at].uid)

    async def remove(self, at):
        self.desk.agents.pop(AGENTS[at].key, None)
        self.desk.said_of.pop(AGENTS[at].key, None)
        self.sent.pop(AGENTS[at].key, None)
        self.dock.relays.agent_changed(AGENTS[at].uid)

    async def give(self, at):
        self.desk.agents.setdefault(AGENTS[at].key, AGENTS[at].told())
        self.dock.relays.agent_changed(AGENTS[at].uid)

    async def group(self, _):
        self.version += 1
        self.desk.put_group(body_of(str(self.version)), version=self.version)
        self.dock.relays.groups_changed(["fleet"])

    async def manager_boots(self, _):
        self.dock.boot_manager()

    async def proxy_boots(self, _):
        self.sent.clear()  # agents say them again
        await self.dock.write()
        await self.dock.boot()

    async def proxy_loses_its_disk(self, _):
        self.disks += 1
        self.sent.clear()
        self.dock.folder = self.folder / f"disk{self.disks}"
        await self.dock.boot()

    async def end(self):
        """Have all faults over, and look whether both ends know the same."""
        await self.dock.settle()
        book, desk = self.dock.book, self.desk
        for record in book.records():
            told = desk.agents[record.key]
            assert (record.name, record.group) == (told.name, told.group)
            orders = set(record.orders.open) if record.orders else set()
            assert orders == {one.nonce for one in told.orders}
            if record.envelope:
                said = AgentToServer.FromString(desk.said_of[record.key].message)
                known = full_message(record)
                assert said.agent_description == known.agent_description
                assert parse_custom(said.custom_message).state == record.envelope
        if any(True for _ in book.records()):
            assert book.wanted("fleet").serial == self.version
            assert dict(book.wanted("fleet").blobs) == {
                sha256: desk.bodies[sha256] for sha256 in desk.groups["fleet"].blobs
            }
        assert set(self.sent.values()) <= desk.results
        assert not self.dock.calls
        assert not self.dock.uplink.saying.waits


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=30))
def test_in_the_end_both_ends_know_the_same_whatever_was_lost_repeated_or_begun_anew(steps):
    async def tell():
        with tempfile.TemporaryDirectory() as folder:
            story = Story(Path(folder) / "cache")
            await story.begin()
            for step, what in steps:
                await story.do(step, what)
            await story.end()

    asyncio.run(tell())
