"""Whom a proxy visits: by places that were told, and by its records; what it kept of them after a new start."""

import asyncio
import uuid

import pytest

from popham.agent.apply import at_once
from popham.errors import GrantError, LinkError, WireError
from popham.model.cell import Dialer, Mode
from popham.model.communication import VISIT_DEFAULT, CommunicationSettings
from popham.model.fleet import Admission, AgentKind
from popham.model.generation import GENERATION, PROXIES, STOCK, VISITS, check_generations
from popham.model.status import StateRecord
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.cache import ProxyCache
from popham.proxy.targets import ProxyTargets
from popham.testing.virtual import VirtualClock
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state
from popham.upstream.record import Record, Wanted, Within

KEY = IdentityKey.create()
URL = "https://192.0.2.7:23440"
OF_DIALER = {
    dialer: CommunicationSettings(mode=Mode.PULL, dialer=dialer, heartbeat=600.0) for dialer in Dialer
}


def number(n):
    return str(uuid.UUID(int=n, version=4))


class Book:
    """Records, and one set of settings for all groups."""

    def __init__(self, dialer=Dialer.MANAGER):
        self.known = {}
        settings = OF_DIALER[dialer]
        within = Within("default", {"default": settings})
        self._wanted = Wanted(
            group="lab",
            serial=1,
            version=1,
            content_digest="",
            envelope=b"",
            blobs={},
            objects={},
            objects_digest=b"",
            communication=settings,
            within=within,
            is_visited=within.is_visited,
        )

    def record(self, uid):
        return self.known.get(uid)

    def records(self):
        return self.known.values()

    def wanted(self, _group):
        return self._wanted

    def add(self, n=1, *, generation=GENERATION, kind=AgentKind.OWN, via=(), said=True):
        uid = number(n)
        record = self.known[uid] = Record(
            uid=uid,
            key=uuid.UUID(uid).bytes,
            name=f"web{n}",
            group="lab",
            kind=kind,
            admission=Admission.ACCEPTED,
            address="192.0.2.9",
            via=via,
        )
        if said and kind is AgentKind.OWN:
            versions = {1: "0.4.0", 2: "0.5.0", 3: "0.6.0", 4: "0.7.0"}
            state = StateRecord(
                uid=uid,
                revision=1,
                group="lab",
                promise=300.0,
                mode="pull",
                dialer="agent",
                service="https://*:23440",
                agent_version=versions.get(generation, "9.9"),
            )
            record.note_state(state, seal_state(state, KEY))
        return uid


class Told:
    """Targets, and what they asked and told."""

    def __init__(self, folder, dialer=Dialer.MANAGER):
        self.book = Book(dialer)
        self.cache = ProxyCache(folder, offload=at_once)
        self.asked, self.changed = [], []
        self.refusal = None
        self.allowed = True
        self.targets = ProxyTargets(
            self.book, self.cache, self.call, VirtualClock(), allowed=lambda: self.allowed
        )
        self.targets.changed = self.changed.append

    async def call(self, kind, key, body, address="", seconds=10.0):
        self.asked.append((kind, key, body))
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        return b""

    async def say(self):
        """Let it tell the Manager whom it found."""
        saying = asyncio.ensure_future(self.targets.say())
        for _ in range(10):
            await asyncio.sleep(0)
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)

    async def read(self):
        await self.targets.refresh()
        return dict(self.targets.read())


@pytest.fixture
def told(tmp_path):
    return Told(tmp_path)


def place(name="web", *, uid="", url=URL, tls="agent", **more):
    return wire.PlaceTold(name=name, key=uuid.UUID(uid).bytes if uid else b"", url=url, tls=tls, **more)


async def test_f_t2_an_agent_at_this_proxy_is_visited_where_it_came_from(told):
    uid = told.book.add()
    found = (await told.read())[uid]
    assert (found.place.url, found.interval) == ("https://192.0.2.9:23440", 600.0)
    assert told.changed == [[uid]]


async def test_f_t2_whom_another_proxy_below_has_is_visited_by_that_one(told):
    told.book.add(via=(number(9),))
    assert await told.read() == {}


async def test_f_y12_a_place_that_was_told_wins_and_goes_again(told):
    uid = told.book.add()
    told.targets.told([place(uid=uid, http_proxy="http://proxy:3128", password="a:b", ca="")])
    (key,) = found = await told.read()
    assert key == told.targets.key_of(uid) == "agent/web"
    assert (found[key].place.url, found[key].place.http_proxy) == (URL, "http://proxy:3128")
    assert found[key].place.password == "a:b"
    told.targets.told([place(gone=True)])
    assert list(await told.read()) == [uid]
    assert told.targets.places == 0


async def test_f_t2_where_all_places_are_told_the_others_are_forgotten(told):
    told.targets.told([place("web"), place("till", url="https://192.0.2.8:23440")])
    told.targets.told([place("web")], everything=True)
    assert told.targets.places == 1
    assert list(await told.read()) == ["agent/web"]
    told.targets.told([], everything=True)
    assert await told.read() == {}


async def test_f_l12_a_place_without_an_agent_is_a_target_and_is_bound_once_the_manager_knows(told):
    told.targets.told([place()])
    (target,) = (await told.read()).values()
    assert (target.uid, target.name, target.interval) == ("", "web", VISIT_DEFAULT)
    uid = told.book.add(said=False)
    told.book.record(uid).certificate_until = 1.0
    await told.targets.found(target, uid)
    await told.say()
    (asked,) = told.asked
    assert asked == ("found", uuid.UUID(uid).bytes, wire.FoundCall(name="web").SerializeToString())
    (target,) = (await told.read()).values()
    assert target.uid == uid
    assert told.book.record(uid).promise >= VISIT_DEFAULT


async def test_who_was_found_is_kept_on_disk_only_once_the_manager_has_said_so(told):
    loaded = await told.cache.load()
    told.targets.told([place()])
    (target,) = (await told.read()).values()
    await told.targets.found(target, uid := told.book.add())

    async def kept():
        await told.cache._write_batch()
        loaded = await ProxyCache(told.cache._folder, offload=at_once).load()
        return wire.PlaceTold.FromString(loaded["places"]["web"]).key

    assert loaded["places"] == {}
    assert await kept() == b""
    told.targets.told([place(uid=uid)])
    assert await kept() == uuid.UUID(uid).bytes


async def test_a_place_that_the_manager_does_not_bind_is_nobodys_again(told):
    told.targets.told([place()])
    (target,) = (await told.read()).values()
    uid = told.book.add()
    told.refusal = GrantError("proxy", "the definition is another agent's")
    await told.targets.found(target, uid)
    assert told.targets.definition_of(uid) == "web"
    await told.say()
    assert told.targets.definition_of(uid) == ""
    await told.say()
    assert len(told.asked) == 1


async def test_f_t2_who_was_found_is_told_again_until_the_manager_has_answered(told):
    told.targets.told([place()])
    (target,) = (await told.read()).values()
    told.refusal = LinkError("timeout", "nothing above this proxy answered")
    await told.targets.found(target, uid := told.book.add())
    await told.say()
    told.refusal = None
    await told.say()
    await told.say()
    assert len(told.asked) == 2
    assert told.targets.definition_of(uid) == "web"


async def test_f_t2_nobody_is_visited_while_that_is_not_allowed(told):
    uid = told.book.add()
    assert list(await told.read()) == [uid]
    assert told.targets.one(uid) is not None
    told.allowed = False
    assert (told.targets.read(), told.targets.one(uid), told.targets.visits(uid)) == ({}, None, False)
    told.allowed = True
    assert told.targets.visits(uid)
    assert list(told.targets.read()) == [uid]


@pytest.mark.parametrize(
    "bad", [place("../web"), place(url=""), place(tls="none"), place(gone=True)], ids=lambda one: one.name
)
async def test_what_is_no_place_is_left_out(told, bad):
    told.targets.told([bad])
    assert await told.read() == {}
    assert told.cache.view().files["places"] == 0


async def test_after_a_new_start_places_are_known_and_what_is_damaged_is_told_again(tmp_path):
    told = Told(tmp_path)
    await told.cache.load()
    told.targets.told([place("a"), place("b"), place("c"), place("c", gone=True)])
    told.cache.put("places", "d", b"\xff\xff no place")
    await told.cache._write_batch()
    again = Told(tmp_path)
    again.targets.load((await again.cache.load())["places"])
    assert sorted(await again.read()) == ["agent/a", "agent/b"]


@pytest.mark.parametrize("dialer", Dialer)
@pytest.mark.parametrize("generation", [STOCK, *range(1, GENERATION + 1)])
async def test_f_l9_which_agents_stand_below_a_proxy_in_which_cells(tmp_path, generation, dialer):
    """All may dial a proxy; a proxy visits those that know visitor statements, and the older ones go on dialling."""
    told = Told(tmp_path, dialer)
    kind = AgentKind.STOCK if generation == STOCK else AgentKind.OWN
    uid = told.book.add(generation=generation, kind=kind)
    visited = uid in await told.read()
    assert visited is (dialer is Dialer.MANAGER and generation >= PROXIES)
    check_generations(GENERATION, generation, Dialer.AGENT, proxy=True)
    if dialer is Dialer.MANAGER and not visited:
        with pytest.raises(WireError, match="cannot be dialled") as caught:
            check_generations(GENERATION, generation, dialer, proxy=True)
        assert caught.value.hint
    assert VISITS < PROXIES
