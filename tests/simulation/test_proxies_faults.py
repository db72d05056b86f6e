"""Proxy Managers when anything fails: everybody is in sync again, nothing is lost that was acknowledged, nothing is doubled."""

import copy
import random

import pytest

from popham.model.cell import Dialer, Mode
from popham.model.operation import OperationState
from popham.net.seam import Response
from popham.opamp.relay import RELAY_PATH
from popham.streams.frame import Stream
from popham.testing.agent import MANAGER
from popham.testing.virtual import pass_time

from .conftest import FOUR_CELLS, HEARTBEAT
from .harbor import AGENTS, COMMANDS, IN_SYNC, PROXIES, Harbor

HOP = "  custody: {events: hop, summary: hop, metrics: hop, logs: hop}"
LINK = (Mode.PUSH, Dialer.AGENT)
NAMES = (*AGENTS, *PROXIES, MANAGER)


@pytest.fixture
def tell(simulate, tmp_path):
    """Return what tells a story of a harbor; arguments as of :class:`Harbor`, and of its beginning."""

    def run(story, seed=7, *, below=LINK, above=LINK, **more):
        async def begin(simulation):
            await story(await Harbor(simulation, tmp_path, **more).begin(below, above))

        simulate(begin, seed)

    return run


async def settle(harbor):
    """Let faults be over, and fail unless everybody is in sync by then; then let the rest arrive."""
    harbor.heal()
    await harbor.publish()
    for _ in range(int(IN_SYNC)):
        if harbor.in_sync():
            break
        await pass_time(1)
    assert harbor.in_sync(), [(one.name, one.via, one.state) for one in harbor.records()]
    await pass_time(20 * HEARTBEAT)
    assert harbor.in_sync()
    harbor.check_streams()
    await harbor.check_operations()


async def say_all(harbor):
    """Have each agent say something in each stream."""
    for agent in harbor.agents:
        for stream in Stream:
            await harbor.append(agent, stream, 3)


class Faults:
    """What happens, drawn from a seed."""

    def __init__(self, harbor, seed):
        self.harbor, self.rng = harbor, random.Random(seed)  # a simulation, not a secret
        self.backup = None

    async def happen(self):
        """Have one thing happen, and some time pass."""
        kinds = [self.part, self.part, self.part, self.half_open, self.kill_manager, self.kill_proxy]
        kinds += [self.kill_agent, self.lose, self.isolate]
        await self.rng.choice(kinds)()
        await self.work()
        await pass_time(self.rng.uniform(1, 2 * HEARTBEAT))
        if self.rng.random() < 0.5:
            self.harbor.heal()

    async def work(self):
        """Have people and agents do something meanwhile."""
        harbor = self.harbor
        if self.rng.random() < 0.5:
            await harbor.publish()
        if self.rng.random() < 0.3 and len(harbor.names) < len(COMMANDS):
            await harbor.order()
        for agent in harbor.agents:
            if self.rng.random() < 0.7:
                await harbor.append(agent, self.rng.choice(list(Stream)), self.rng.randint(1, 5))

    async def part(self):
        self.harbor.cut(*self.rng.sample(NAMES, 2))

    async def isolate(self):
        self.harbor.network.cut.add(self.rng.choice(NAMES))

    async def half_open(self):
        self.harbor.network.half_open(self.rng.choice(NAMES))

    async def kill_manager(self):
        await self.harbor.manager.crash()
        await pass_time(self.rng.uniform(0, 3 * HEARTBEAT))
        await self.harbor.manager.start()

    async def kill_proxy(self):
        proxy = self.harbor.proxies[self.rng.choice(PROXIES)]
        await self.harbor.kill_proxy(proxy, self.rng.uniform(0, 3 * HEARTBEAT), disk=self.rng.random() < 0.3)

    async def kill_agent(self):
        agent = self.rng.choice(self.harbor.agents)
        await agent.crash()
        await pass_time(self.rng.uniform(0, HEARTBEAT))
        agent.start()

    async def lose(self):
        self.harbor.network.weather.loss = self.rng.choice([0.1, 0.3])


def tell_of_faults(tell, seed, count=10):
    """Tell a story in which many things fail, in cells that the seed chooses."""
    draw = random.Random(f"cells {seed}")  # a simulation, not a secret

    async def story(harbor):
        faults = Faults(harbor, seed)
        for _ in range(count):
            await faults.happen()
        await settle(harbor)

    tell(story, seed, below=draw.choice(FOUR_CELLS), above=draw.choice(FOUR_CELLS))


@pytest.mark.parametrize("seed", range(4))
def test_rel_5_rel_8_after_faults_all_are_in_sync_and_nothing_is_lost_or_doubled(tell, seed):
    tell_of_faults(tell, seed)


def test_rel_7_agents_go_to_the_other_proxy_to_the_manager_and_back_and_their_streams_lose_nothing(tell):
    async def story(harbor):
        ways = []
        for down in ((), ("dock",), ("dock", "pier"), ("pier",), ()):
            for name, proxy in harbor.proxies.items():
                if (name in down) != proxy.stopped:
                    await (proxy.crash() if name in down else harbor.kill_proxy(proxy, 0))
            await say_all(harbor)
            await pass_time(10 * HEARTBEAT)
            await say_all(harbor)
            await pass_time(HEARTBEAT)
            uids = {proxy.state.uid: name for name, proxy in harbor.proxies.items()}
            ways.append({tuple(uids[one] for one in record.via) for record in harbor.records()})
        assert ways == [{("dock",)}, {("pier",)}, {()}, {("dock",)}, {("dock",)}]
        await settle(harbor)

    tell(story)


def test_rel_8_a_proxy_that_lost_its_disk_serves_on_and_end_to_end_nothing_is_lost(tell):
    async def story(harbor):
        harbor.cut("dock", MANAGER)
        await say_all(harbor)
        await pass_time(HEARTBEAT / 4)
        await harbor.kill_proxy(harbor.proxies["dock"], 1, disk=True)
        await settle(harbor)

    tell(story)


def test_rel_8_by_hop_a_proxy_that_was_killed_carries_what_it_acknowledged(tell):
    async def story(harbor):
        harbor.cut("dock", MANAGER)
        await say_all(harbor)
        await pass_time(HEARTBEAT)
        await harbor.kill_proxy(harbor.proxies["dock"], 1)
        await settle(harbor)

    tell(story, custody=HOP)


def test_rel_7_by_hop_a_proxy_from_which_a_group_was_taken_still_brings_what_it_acknowledged(tell):
    async def story(harbor):
        harbor.cut("dock", MANAGER)
        await say_all(harbor)
        await pass_time(HEARTBEAT)
        taken = "apiVersion: popham/v1\nkind: Proxy\nmetadata: {name: dock}\nspec: {groups: [docks]}\n"
        await harbor.manager.publish(taken)
        await pass_time(HEARTBEAT)
        harbor.heal()
        await pass_time(IN_SYNC)
        assert all(record.via[:1] != (harbor.proxies["dock"].state.uid,) for record in harbor.records())
        assert not all(harbor.came(*one) == said for one, said in harbor.said.items())
        await say_all(harbor)
        await settle(harbor)
        assert not any(
            harbor.proxies["dock"].downlink.carrying.depth()[stream]["records"] for stream in Stream
        )

    tell(story, custody=HOP)


@pytest.mark.parametrize("above", FOUR_CELLS, ids="-".join)
def test_rel_5_a_manager_restored_from_an_older_backup_finds_all_below_its_proxies(tell, above):
    async def story(harbor):
        backup, made_at = copy.deepcopy(harbor.manager.store), harbor.simulation.clock.now()
        for _ in range(3):
            await harbor.publish()
            await pass_time(2 * HEARTBEAT)
        await say_all(harbor)
        await harbor.restore(backup, made_at, ())
        await settle(harbor)

    tell(story, above=above)


def test_f_t2_operations_below_proxies_run_once_whatever_is_lost_and_killed(tell):
    async def story(harbor):
        harbor.network.weather.loss = 0.2
        for _ in range(4):
            await harbor.order()
            await pass_time(HEARTBEAT / 2)
            await harbor.kill_proxy(harbor.proxies["dock"], 5)
        await settle(harbor)
        assert set.union(*[await harbor.states(name) for name in harbor.names]) == {OperationState.SUCCEEDED}

    tell(story)


def test_f_t2_an_older_manager_refuses_to_relay_and_agents_go_on_with_what_is_kept(tell, monkeypatch, caplog):
    async def story(harbor):
        harbor.cut("a0", MANAGER)
        dock, before = harbor.proxies["dock"], [agent.applied for agent in harbor.agents]
        monkeypatch.setattr(type(harbor.manager.hub), "other", _without_relays(harbor.manager.hub))
        caplog.clear()
        await pass_time(20 * HEARTBEAT)
        assert "older than this Proxy Manager" in dock.downlink.driving.describe()["problem"]
        said = [one for one in caplog.messages if "older than this Proxy Manager" in one]
        assert len(said) == len(PROXIES)
        assert [agent.applied for agent in harbor.agents] == before
        records = [dock.downlink.book.record(agent.state.uid) for agent in harbor.agents]
        assert all(record.link is not None for record in records)
        monkeypatch.undo()
        await pass_time(3600)
        await settle(harbor)

    tell(story)


def _without_relays(hub):
    known = type(hub).other

    async def other(self, request):
        if self is hub and request.path == RELAY_PATH:
            return Response(status=404, body=b"no such route")
        return await known(self, request)

    return other
