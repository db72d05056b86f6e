"""A proxy below a proxy: a real Manager, both proxies and a real agent's end, and what each believes of the others."""

import contextlib
import uuid

import pytest
from tests.manager.relays.conftest import said, state_of
from tests.upstream.conftest import files

from popham.errors import GrantError, WireError
from popham.manager.relays.relays import ManagerRelays
from popham.net.seam import Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.beneath import Beneath
from popham.proxy.chain import Chain
from popham.testing.direct import ADMIN, DirectManager
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock
from popham.trust.tuf import TrustedTuf
from popham.upstream.relaying import Scope

from .dock import Dock
from .test_with_manager import Below

GIVEN = Scope(groups=frozenset({"lab"}))


class Directory:
    """Two proxies, the one behind the other; both were given one group."""

    def __init__(self, *uids):
        self.scopes, self.changed = dict.fromkeys(uids, GIVEN), lambda: None
        self.places = {}

    def has(self, uid):
        return uid in self.scopes

    def scope_of(self, uid):
        return self.scopes.get(uid)

    def name_of(self, uid):
        return "a proxy" if uid in self.scopes else ""

    def uids(self):
        return tuple(self.scopes)

    def places_of(self, uid):
        return list(self.places.get(uid, ()))

    def is_settled(self):
        return True

    async def settle(self):
        pass


class Visits:
    """Visits nobody but a proxy, which is told that there is something for it."""

    def __init__(self, pier):
        self.pier, self.targets = pier, self

    def agent_changed(self, uid):
        pass

    def groups_changed(self, names):
        pass

    def hasten(self, uid):
        return False

    def relay(self, uid):
        if self.pier.record is not None:
            self.pier.uplink.news.set()
        return True


class Tower:
    """A Manager, the proxy dock, the proxy pier behind it, and the agent web, which knows pier only."""

    docks = Dock

    async def begin(self, folder, intake=None):
        self.folder, self.manager = folder, DirectManager(make_keys(VirtualClock()), intake=intake)
        await self.manager.start()
        await self.manager.publish(files())
        upper = await self.manager.add_agent("dock", "lab")
        await upper.round()
        self.lower = await self.manager.add_agent("pier", "lab")
        self.agent = await self.manager.add_agent("web", "lab")
        self.directory = Directory(upper.uid, self.lower.uid)
        self.boots = 1
        self.dock = self.make("dock", self.manager.book.record(upper.uid))
        self.pier = self.make("pier", None)
        self.boot_manager()
        await self.boot_dock()
        await self.pier.boot()
        self.lower._manager = Below(self.dock, self.manager)
        self.agent._manager = Below(self.pier, self.manager)
        return self

    def make(self, name, record):
        made = self.docks(self.folder / name, clock=self.manager.clock)
        made.tuf = TrustedTuf.from_bytes(self.manager.keys.root, self.manager.keys.targets)
        made.trust_domain, made.record = self.manager.keys.ca.trust_domain, record
        return made

    def boot_manager(self):
        self.boots += 1
        manager = self.manager
        made = ManagerRelays(
            *(manager.book, manager.hub, self.directory, manager.store, manager.keys, manager.clock),
            self.boots,
        )
        self.dock.relays, self.placed, self.above = made.relays, made.placed, made

    async def boot_dock(self):
        await self.dock.boot()
        dock = self.dock
        self.boots += 1
        self.chain = Chain(
            *(dock.record.uid, dock.book, dock.hub, dock.uplink, dock.ordering, dock.carrying),
            *(dock.clock, self.boots),
        )
        self.chain.visits = Visits(self.pier)
        dock.uplink.hub = Beneath(dock.hub, self.chain.visits, chain=self.chain)
        dock.uplink.on_places = lambda places, all_: self.chain.lower.places_told(places, everything=all_)
        dock.uplink.status = lambda: {"below": self.chain.statuses()}
        self.pier.relays = self.chain.relays
        self.lower._manager = Below(dock, self.manager)

    @contextlib.asynccontextmanager
    async def connected(self):
        """Have both proxies exchange at once for whatever there is to say; pier is an agent of dock first."""
        async with self.dock.connected():
            if self.pier.record is None or self.dock.book.record(self.lower.uid) is None:
                for _ in range(3):
                    await self.lower.round()
                    await self.dock.settle()
            self.pier.record = self.dock.book.record(self.lower.uid)
            async with self.pier.connected():
                yield

    async def rounds(self):
        """Have the agent make rounds at pier, until nobody has more to say."""
        async with self.connected():
            for _ in range(3):
                await self.agent.round()
                await self.settle()

    async def settle(self):
        for _ in range(3):
            await self.pier.settle()
            await self.dock.settle()

    @property
    def known(self):
        return self.manager.book.record(self.agent.uid)

    @property
    def way(self):
        return (self.dock.record.uid, self.lower.uid)


@pytest.fixture
async def tower(tmp_path):
    return await Tower().begin(tmp_path)


async def test_f_t4_an_agent_behind_two_proxies_gets_its_policies_and_its_state_is_believed(tower):
    await tower.rounds()
    wanted = tower.manager.book.wanted("lab")
    assert tower.known.via == tower.way
    assert tower.known.state.content_digest == wanted.content_digest
    assert tower.known.state.nonce, "it names a nonce that the Manager gave to the proxy next to it"
    assert tower.dock.book.find(tower.known.key).via == (tower.lower.uid,)
    assert not tower.pier.book.find(tower.known.key).via


async def test_f_t4_a_policy_that_is_published_goes_through_both_proxies(tower):
    await tower.rounds()
    await tower.manager.publish(files("second\n"))
    tower.dock.relays.groups_changed(["lab"])
    await tower.rounds()
    assert tower.known.state.content_digest == tower.manager.book.wanted("lab").content_digest
    assert tower.pier.book.wanted("lab").envelope == tower.manager.book.wanted("lab").envelope


async def test_f_t4_each_hop_adds_its_promise_to_what_is_expected_of_an_agent(tower):
    await tower.rounds()
    dock, pier = (tower.manager.book.record(uid) for uid in tower.way)
    own = tower.known.state.promise
    assert tower.known.promise == pytest.approx(own + tower.dock.book.find(pier.key).promise + dock.promise)


async def test_sec_30_a_lower_proxy_speaks_only_for_what_was_given_to_it(tower):
    tower.directory.scopes[tower.lower.uid] = Scope(groups=frozenset({"elsewhere"}))
    with pytest.raises(Refused, match="not given"):
        await tower.rounds()
    assert not tower.known.via


async def test_sec_30_what_a_lower_proxy_was_given_counts_only_as_far_as_the_upper_one_was_given_it(tower):
    await tower.rounds()
    tower.directory.scopes[tower.dock.record.uid] = Scope(agents=frozenset({tower.lower.uid}))
    tower.above._changed()
    await tower.dock.settle()
    assert tower.dock.book.find(tower.known.key) is None
    await tower.settle()
    assert tower.pier.book.find(tower.known.key) is None


async def test_sec_30_one_that_is_no_proxy_any_more_relays_nothing(tower):
    await tower.rounds()
    del tower.directory.scopes[tower.lower.uid]
    tower.above._changed()
    await tower.dock.settle()
    with pytest.raises(GrantError, match="no Proxy Manager"):
        await tower.pier.exchange()


async def test_an_agent_that_comes_to_the_upper_proxy_is_forgotten_by_the_lower_one(tower):
    await tower.rounds()
    tower.agent._manager = Below(tower.dock, tower.manager)
    async with tower.dock.connected():
        await tower.agent.round()
        await tower.dock.settle()
    assert tower.known.via == (tower.dock.record.uid,)
    await tower.settle()
    assert tower.pier.book.find(tower.known.key) is None


async def test_a_revoked_agent_is_shut_out_at_the_lower_proxy(tower):
    await tower.rounds()
    await tower.manager.service.revoke(ADMIN, "web")
    await tower.manager.bring()
    tower.dock.relays.agent_changed(tower.agent.uid)
    async with tower.connected():
        await tower.dock.settle()
        await tower.settle()
        with pytest.raises(Refused, match="revoked"):
            await tower.agent.round()


async def test_rel_8_an_upper_proxy_that_lost_its_cache_learns_of_the_agents_below_again(tower):
    await tower.rounds()
    tower.dock.folder = tower.folder / "fresh"
    await tower.boot_dock()
    tower.pier.record = None
    async with tower.connected():
        await tower.settle()
    await tower.settle()
    assert tower.pier.book.find(tower.known.key) is not None, "what is not known is not said to be gone"
    assert tower.dock.book.find(tower.known.key).via == (tower.lower.uid,)
    assert tower.known.via == tower.way


async def test_who_a_lower_proxy_visits_is_told_by_the_upper_one_and_kept_while_that_is_not_known(tower):
    place = wire.PlaceTold(name="gate", url="http://127.0.0.1:1", tls="off")
    tower.directory.places[tower.lower.uid] = [place]
    await tower.rounds()
    assert place in tower.pier.places
    assert all(one.proxy for one in tower.chain.lower.places_of(uuid.UUID(tower.lower.uid).bytes))


async def test_the_status_of_a_lower_proxy_reaches_the_manager(tower):
    await tower.rounds()
    tower.dock.clock.elapsed += 10
    await tower.pier.settle()
    tower.dock.clock.elapsed += 10
    await tower.dock.settle()
    assert tower.placed.status(tower.lower.uid)["groups"] == ["lab"]


async def test_sec_30_a_circle_of_proxies_is_refused(tower):
    await tower.rounds()
    told = wire.AgentSaid(key=tower.known.key, via=[uuid.UUID(tower.dock.record.uid).bytes])
    told.message = b"\x0a\x10" + tower.known.key
    with pytest.raises(WireError, match="behind itself"):
        await tower.chain.desk.said(tower.pier.record, told)
    call = wire.RelayCall(
        id=1, kind="otlp", key=tower.known.key, via=[uuid.UUID(tower.dock.record.uid).bytes]
    )
    answers = []
    assert tower.chain.desk.hand_on(tower.pier.record, call, answers.append)
    assert isinstance(answers[0], WireError)


async def test_sec_27_a_lower_proxy_moves_nobody_by_its_word_who_came_to_the_one_above_it(tower):
    await tower.rounds()
    tower.agent._manager = Below(tower.dock, tower.manager)
    tower.manager.clock.elapsed += 10.0
    async with tower.connected():
        await tower.agent.round()
        await tower.settle()
        record, desk = tower.dock.book.find(tower.known.key), tower.chain.desk
        pier = tower.dock.book.record(tower.lower.uid)
        assert (record.via, tower.known.via) == ((), tower.way[:1])
        for state in (b"", record.envelope):
            assert await desk.said(pier, said(tower.agent, state, held=True))
            assert record.via == ()
            assert desk.told(pier, record.key).want_state
        await desk.said(pier, said(tower.agent, state_of(tower.agent, record.state.revision + 1)))
        assert record.via == (pier.uid,)
        assert not desk.told(pier, record.key).want_state
