"""What goes through two proxies and three to a real Manager: frames by the custody of each, stock agents, and enrollment."""

import contextlib

import pytest
from tests.manager.intake.framing import Sender, join
from tests.manager.intake.rig import StandingClock

from popham.net.seam import Refused
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentDescription, AgentToServer, AnyValue, KeyValue
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.beneath import Beneath
from popham.proxy.carrying import END_TO_END, HOP, ProxyIntake
from popham.proxy.chain import Chain
from popham.streams.frame import Stream
from popham.testing.direct import ADMIN, DirectAgent
from popham.testing.disk import LazyDisk
from popham.testing.intake import MemoryIntake
from popham.trust.join import JoinString
from popham.upstream.intake import Sent
from popham.upstream.relaying import Scope
from popham.upstream.standings import to_wire

from .dock import Dock
from .streams_rig import FOLDER
from .test_desk import GIVEN, Tower, Visits
from .test_with_manager import Below

LOGS = Stream.LOGS
STOCK = bytes(range(16))


class Keeper(Dock):
    """A proxy that keeps frames as a real one does."""

    def carry(self):
        found = ProxyIntake(FOLDER, StandingClock(), ask=self.ask, draw=lambda: 0.5, disk=LazyDisk())
        found.hold = 0.0
        return found

    def intake(self):
        return self.carrying

    async def ask(self, kind, key, body):
        return await self.uplink.call(kind, key, body, seconds=0.05)

    async def boot(self):
        await super().boot()
        await self.carrying.begin()
        self.carrying.on_standing = self._stands
        return self

    def _stands(self, uid, stream):
        record = self.book.find(uid)
        if record is not None and record.via:
            standing = to_wire(self.carrying.told(uid, stream))
            self.below.stands(record.via[0], wire.Stood(key=uid, standing=standing))


class Stack(Tower):
    """Two proxies with custody of their own, and a Manager that takes frames."""

    docks = Keeper

    async def begin(self, folder):
        self.intake = MemoryIntake()
        await super().begin(folder, self.intake)
        self.dock.below = self.chain.relays
        return self

    async def orders(self, dock, pier):
        """Have the Manager order what custody is, and an agent known at both."""
        for uid, word in zip(self.way, (dock, pier), strict=True):
            custody = dict.fromkeys(map(str, Stream), word)
            self.directory.scopes[uid] = Scope(groups=frozenset({"lab"}), custody=custody)
        self.above._changed()
        await self.rounds()
        self.sender = Sender(uid=self.known.key, key=self.agent.key)

    async def send(self, count):
        """Have the agent bring frames to the lower proxy; return how far it is told that it is."""
        record = self.pier.book.find(self.known.key)
        told = await self.pier.carrying.append(record, LOGS, join(self.sender.frames(count)), Sent())
        return told.next

    @property
    def told(self):
        """How far the agent is told that it is, by now."""
        return self.pier.carrying.told(self.known.key, LOGS, 1).next

    async def close(self):
        await self.pier.carrying.close()
        await self.dock.carrying.close()


@pytest.fixture
async def stack(tmp_path):
    made = await Stack().begin(tmp_path)
    try:
        yield made
    finally:
        await made.close()


async def test_f_t4_end_to_end_at_a_lower_proxy_means_the_manager_also_where_the_upper_one_has_hop(stack):
    await stack.orders(dock=HOP, pier=END_TO_END)
    assert await stack.send(3) == 0
    await stack.pier.settle()
    assert stack.dock.carrying.held == 3, "it is on the upper proxy's disk"
    assert stack.told == 0, "which is not the Manager's"
    assert stack.pier.carrying.held == 3
    await stack.dock.settle()
    await stack.pier.settle()
    assert stack.told == 3
    assert len(stack.intake.frames[stack.agent.uid, LOGS]) == 3
    assert (stack.dock.carrying.held, stack.pier.carrying.held) == (0, 0)


async def test_f_t4_under_hop_at_both_each_proxy_is_rid_of_what_the_next_one_has(stack):
    await stack.orders(dock=HOP, pier=HOP)
    assert await stack.send(3) == 3
    await stack.pier.settle()
    assert (stack.dock.carrying.held, stack.pier.carrying.held) == (3, 0)
    await stack.dock.settle()
    assert len(stack.intake.frames[stack.agent.uid, LOGS]) == 3


async def test_f_t4_under_hop_at_the_lower_proxy_it_keeps_what_an_upper_one_end_to_end_only_passes_on(stack):
    await stack.orders(dock=END_TO_END, pier=HOP)
    assert await stack.send(3) == 3
    await stack.pier.settle()
    assert (stack.dock.carrying.held, stack.pier.carrying.held) == (3, 3)
    await stack.dock.settle()
    await stack.pier.settle()
    assert (stack.dock.carrying.held, stack.pier.carrying.held) == (0, 0)


async def test_rel_7_an_upper_proxy_that_began_anew_does_not_promise_what_it_may_lose(stack):
    await stack.orders(dock=HOP, pier=END_TO_END)
    await stack.dock.write()
    await stack.dock.carrying.close()
    await stack.boot_dock()
    await stack.dock.book.load()  # as a process does: once all its parts are there
    record = stack.dock.book.find(stack.known.key)
    assert (record.via, record.contacted) == ((), None), "nobody has spoken of it yet"
    told = await stack.dock.carrying.append(record, LOGS, join(stack.sender.frames(2)), Sent())
    assert (stack.dock.carrying.held, told.next) == (2, 0)


async def test_f_t4_an_agent_that_dials_the_upper_proxy_itself_has_that_ones_custody(stack):
    await stack.orders(dock=HOP, pier=END_TO_END)
    stack.agent._manager = Below(stack.dock, stack.manager)
    async with stack.dock.connected():
        await stack.agent.round()
        await stack.dock.settle()
    record = stack.dock.book.find(stack.known.key)
    told = await stack.dock.carrying.append(record, LOGS, join(stack.sender.frames(2)), Sent())
    assert (stack.dock.carrying.held, told.next) == (2, 2)


async def test_f_t4_a_stock_agent_behind_two_proxies_is_let_in_by_its_token_and_vouched_for(stack):
    peer = await stack.manager.stock_peer("lab")
    below, message = Below(stack.pier, stack.manager), AgentToServer(instance_uid=STOCK, capabilities=1)
    name = KeyValue(key="service.name", value=AnyValue(string_value="collector"))
    message.agent_description.CopyFrom(AgentDescription(identifying_attributes=[name]))
    await stack.rounds()
    async with stack.connected():
        with pytest.raises(Refused) as refused:
            await below.round(peer, message.SerializeToString())
        assert refused.value.refusal.status == 503
        assert refused.value.refusal.retry_after, "its token is being looked at above"
        await stack.settle()
        answer = parse_upstream(await below.round(peer, message.SerializeToString()))
        await stack.settle()
    assert answer.instance_uid == STOCK
    found = stack.manager.book.find(STOCK)
    assert (found.via, found.kind, found.group) == (stack.way, "stock", "lab")
    assert found.description["service.name"] == "collector"


async def test_f_t4_an_agent_is_born_behind_two_proxies(stack):
    await stack.rounds()
    made = await stack.manager.service.create_token(ADMIN, group="lab", accepts=True)
    await stack.manager.live.bring()
    born = DirectAgent(Below(stack.pier, stack.manager), "born", JoinString.parse(made.secret))
    async with stack.connected():
        enrolled = await born.enroll()
        assert enrolled.certificate
        await born.round()
        await stack.settle()
    found = stack.manager.book.record(born.uid)
    assert (found.via, found.name, found.admission) == (stack.way, "born", "accepted")
    assert found.state.content_digest == stack.manager.book.wanted("lab").content_digest


async def test_f_t4_who_waits_to_be_accepted_behind_two_proxies_is_let_in_once_it_is(stack):
    await stack.rounds()
    made = await stack.manager.service.create_token(ADMIN, group="lab", accepts=False)
    await stack.manager.live.bring()
    born = DirectAgent(Below(stack.pier, stack.manager), "born", JoinString.parse(made.secret))
    async with stack.connected():
        assert not (await born.enroll()).certificate
        await stack.manager.service.accept(ADMIN, "born")
        await stack.manager.bring()
        assert (await born.enroll()).certificate


class Third(Stack):
    """A third proxy below the second, and the agent below that."""

    async def begin(self, folder):
        await super().begin(folder)
        self.third = await self.manager.add_agent("jetty", "lab")
        self.directory.scopes[self.third.uid] = GIVEN
        self.above._changed()
        pier = self.pier
        self.jetty = await self.make("jetty", None).boot()
        made = Chain(
            *(self.lower.uid, pier.book, pier.hub, pier.uplink, pier.ordering, pier.carrying),
            *(pier.clock, self.boots + 7),
        )
        made.visits = Visits(self.jetty)
        pier.uplink.hub = Beneath(pier.hub, made.visits, chain=made)
        pier.uplink.on_places = lambda places, all_: made.lower.places_told(places, everything=all_)
        self.jetty.relays = pier.below = made.relays
        self.third._manager, self.agent._manager = Below(pier, self.manager), Below(self.jetty, self.manager)
        return self

    @contextlib.asynccontextmanager
    async def connected(self):
        async with super().connected():
            for _ in range(3):
                await self.third.round()
                await super().settle()
            self.jetty.record = self.pier.book.record(self.third.uid)
            async with self.jetty.connected():
                yield

    async def settle(self):
        for _ in range(3):
            if self.jetty.record is not None:
                await self.jetty.settle()
            await super().settle()

    @property
    def way(self):
        return (*super().way, self.third.uid)

    async def close(self):
        await self.jetty.carrying.close()
        await super().close()


async def test_f_t4_through_three_proxies_a_policy_goes_down_and_data_goes_up_end_to_end(tmp_path):
    stack = await Third().begin(tmp_path)
    try:
        words = (HOP, HOP, END_TO_END)
        for uid, word in zip(stack.way, words, strict=True):
            custody = dict.fromkeys(map(str, Stream), word)
            stack.directory.scopes[uid] = Scope(groups=frozenset({"lab"}), custody=custody)
        stack.above._changed()
        await stack.rounds()
        assert stack.known.via == stack.way
        assert stack.known.state.content_digest == stack.manager.book.wanted("lab").content_digest
        key = stack.known.key
        sender = Sender(uid=key, key=stack.agent.key)
        frames = join(sender.frames(2))
        jetty = stack.jetty
        assert (await jetty.carrying.append(jetty.book.find(key), LOGS, frames, Sent())).next == 0
        await jetty.settle()
        await stack.pier.settle()
        assert (stack.pier.carrying.held, stack.dock.carrying.held) == (2, 2)
        await jetty.settle()
        assert jetty.carrying.told(key, LOGS, 1).next == 0, "two proxies have it, and the Manager does not"
        for one in (stack.dock, stack.pier, jetty):
            await one.settle()
        assert jetty.carrying.told(key, LOGS, 1).next == 2
        assert len(stack.intake.frames[stack.agent.uid, LOGS]) == 2
    finally:
        await stack.close()
