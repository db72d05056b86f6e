"""What people see of Proxy Managers, and of agents that are at them."""

import uuid
from dataclasses import replace

import pytest
from tests.manager.conftest import NOW, VIEWER

from popham.errors import NotFoundError
from popham.manager.proxies.paths import cache_of, spool_of
from popham.model.fleet import AgentKind
from popham.model.status import StateRecord
from popham.store.rows import AgentRow
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state

from .conftest import visited

UID = "0191d5a8-0000-7000-8000-00000000000a"
KEY = IdentityKey.create()
STATUS = {
    "spool": {"logs": {"records": 12, "bytes": 4096, "oldest": NOW - 5}},
    "cache": {"bytes": 7},
    "listens": "0.0.0.0:4320",
}


class Below:
    """What a desk says of agents that are at proxies."""

    def __init__(self, via, status):
        self._via, self._status = via, status

    def own_promise(self, uid):
        return None

    def promise(self, uid):
        return None

    def via(self, uid):
        return self._via.get(uid, ())

    def count(self, uid):
        return sum(uid in found for found in self._via.values())

    def status(self, uid):
        return self._status.get(uid, {})


def state(uid, **more):
    found = StateRecord(**{"uid": uid, "revision": 1, "group": "paris"} | more)
    return seal_state(found, KEY)


async def put(docks, uid, name, promise=100.0, **more):
    row = await docks.bench.store.read(lambda tx: tx.agent(uid))
    row = row or AgentRow(
        uid=uid, name=name, group="paris", kind=AgentKind.OWN, admission="accepted", first_seen=NOW - 1e6
    )
    row = replace(row, state=state(uid, promise=promise, **more), promise=promise, last_contact=NOW)
    await docks.bench.store.write(lambda tx: tx.put_agent(row))


@pytest.fixture
async def chain(docks):
    """Return a Manager that visits the proxy dock, at which an agent dials."""
    machine = await docks.make()
    await put(docks, machine.uid, "dock", 600.0, mode="pull", dialer="manager", agent_version="0.5.0")
    await put(docks, UID, "web-1", 100.0, mode="push", dialer="agent", agent_version="0.5.0")
    docks.bench.links.relayed = Below({UID: (machine.uid,)}, {machine.uid: STATUS})
    return docks, machine


async def test_a_definition_without_a_machine_is_shown_as_such(docks):
    (view,) = await docks.bench.service.proxies(VIEWER)
    assert (view.name, view.state, view.uid, view.agents) == ("dock", "not enrolled", "", 0)
    assert view.custody == {"events": "hop", "summary": "hop", "metrics": "hop", "logs": "hop"}
    with pytest.raises(NotFoundError):
        await docks.bench.service.proxy(VIEWER, "pier")


async def test_a_proxy_is_shown_with_its_agents_spool_and_presence(chain):
    docks, machine = chain
    await docks.bench.apply(visited())
    (view,) = await docks.bench.service.proxies(VIEWER)
    assert (view.state, view.agents, view.groups, view.age) == ("on time", 1, ("paris",), 0.0)
    assert view.spool == {"logs": {"records": 12.0, "bytes": 4096.0, "oldest": NOW - 5}}
    assert view.cache == {"bytes": 7.0}
    assert (view.status, view.path, view.visits) == ({}, (), ())
    docks.bench.links.held.add(machine.uid)
    whole = await docks.bench.service.proxy(VIEWER, "dock")
    assert (whole.state, whole.visits, whole.status["listens"]) == ("connected", ("web1",), "0.0.0.0:4320")
    assert [one["dials"] for one in whole.path] == ["manager"]


async def test_f_t3_an_agent_says_by_which_proxies_it_comes_and_who_dials_at_each_hop(chain):
    docks, _ = chain
    page = await docks.bench.service.agents(VIEWER)
    assert {one.name: one.via for one in page.items} == {"dock": (), "web-1": ("dock",)}
    view = await docks.bench.service.agent(VIEWER, "web-1")
    assert view.detail["path"] == [
        {
            "from": "manager",
            "to": "dock",
            "dials": "manager",
            "mode": "pull",
            "heartbeat": 600.0,
            "age_bound": 900.0,
        },
        {
            "from": "dock",
            "to": "web-1",
            "dials": "web-1",
            "mode": "push",
            "heartbeat": 100.0,
            "age_bound": 150.0,
        },
    ]


async def test_rel_7_the_age_bound_of_an_agent_is_that_of_all_hops_together(chain):
    docks, _ = chain
    view = await docks.bench.service.agent(VIEWER, "web-1")
    assert view.age_bound == sum(hop["age_bound"] for hop in view.detail["path"]) == 1050.0
    docks.bench.clock.at = NOW + 1000
    view = await docks.bench.service.agent(VIEWER, "web-1")
    assert (view.presence, view.next_contact) == ("on time", NOW + 700)
    docks.bench.clock.at = NOW + 1051
    assert (await docks.bench.service.agent(VIEWER, "web-1")).presence == "overdue"


async def test_f_t3_a_proxy_that_hangs_is_not_shown_as_connected_and_agents_below_say_so(chain):
    docks, machine = chain
    docks.bench.links.held.add(machine.uid)
    service, clock = docks.bench.service, docks.bench.clock
    assert "proxy_away" not in (await service.agent(VIEWER, "web-1")).detail
    assert "proxy" not in (await service.why(VIEWER, "web-1")).sentence
    clock.at = NOW + 3601
    assert [one.state for one in await service.proxies(VIEWER)] == ["missing"]
    why = await service.why(VIEWER, "web-1")
    away = "it is behind the proxy dock, which is missing: nothing was heard of it for 1h"
    assert why.sentence.endswith(f"; {away}")
    assert why.step == "popham why agent dock"
    assert (await service.agent(VIEWER, "web-1")).detail["proxy_away"] == away
    assert (
        await service.why(VIEWER, "dock")
    ).step == "On the machine: popham proxy status, then popham proxy doctor"


async def test_f_l9_agents_and_proxies_that_stay_below_the_managers_version_are_said(chain):
    docks, _ = chain
    page = await docks.bench.service.agents(VIEWER)
    assert {one.name: bool(one.behind) for one in page.items} == {"dock": False, "web-1": True}
    docks.bench.clock.at = NOW
    (view,) = await docks.bench.service.proxies(VIEWER)
    assert (view.version, view.behind) == ("0.5.0", "")


async def test_a_way_of_unknown_proxies_is_not_shown(chain):
    docks, machine = chain
    docks.bench.links.relayed = Below({UID: (machine.uid, str(uuid.uuid4()))}, {})
    view = await docks.bench.service.agent(VIEWER, "web-1")
    assert view.via == ("dock",)


@pytest.mark.parametrize(
    "said", [{}, {"spool": []}, {"spool": {"logs": 7}}, {"spool": {"logs": {"records": "many"}}}]
)
def test_what_a_proxy_says_of_its_spool_is_numbers_or_nothing(said):
    assert all(held == {} for held in spool_of(said).values())


def test_of_what_a_proxy_says_of_its_spool_streams_are_shown():
    said = {
        "logs": {"records": 2, "bytes": 9, "oldest": None},
        "dropped": {"age": 3},
        "refused": {},
        "files": 7,
    }
    assert spool_of({"spool": said}) == {"logs": {"records": 2, "bytes": 9}}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({}, {}),
        ({"cache": [1]}, {}),
        ({"cache": {"bytes": "many", "damaged": -1, "problem": 7}}, {}),
        (
            {"cache": {"bytes": 4, "damaged": 1, "problem": "no room", "files": {}}},
            {"bytes": 4, "damaged": 1, "problem": "no room"},
        ),
        ({"cache": {"bytes": 4, "problem": ""}}, {"bytes": 4}),
        ({"cache": {"problem": "x" * 999}}, {"problem": "x" * 200}),
    ],
)
def test_what_a_proxy_says_of_its_cache_is_bounded(said, shown):
    assert cache_of(said) == shown


def test_a_number_that_no_spool_has_is_left_out():
    found = spool_of({"spool": {"logs": {"records": 10**400, "bytes": -1, "oldest": 5}}})
    assert found == {"logs": {"oldest": 5.0}}
