"""Agents whose proxy is away, was given others, or is none any more; and what is known of them after a new start."""

import pytest

from popham.manager.operations.choosing import way_of
from popham.manager.relays import desk
from popham.manager.roster import Roster
from popham.upstream.orders import Orders
from popham.upstream.presence import LINKED

from .conftest import said, state_of

HELD = bytes([LINKED])


class Register:
    """Knows the records of a fleet."""

    def __init__(self, fleet):
        self.record = fleet.manager.book.record


@pytest.fixture
async def at_dock(fleet, dock, web):
    await dock.relay(said(web, state_of(web, 1, nonce=dock.nonce.hex()), held=True), presence=HELD)
    return web


async def view(fleet, agent):
    manager = fleet.manager

    def read(tx):
        return Roster(tx, manager.live, manager.clock.now()).view(tx.agent(agent.uid), detailed=True)

    return await manager.store.read(read)


async def test_an_agent_whose_proxy_is_away_holds_no_link_as_far_as_is_known(fleet, dock, at_dock):
    assert fleet.manager.live.connected(at_dock.uid)
    fleet.clock.elapsed += 2 * dock.record.promise
    assert not fleet.manager.live.connected(at_dock.uid)
    await dock.relay(presence=HELD)
    assert fleet.manager.live.connected(at_dock.uid)


async def test_what_an_agent_waits_for_names_the_proxy_that_is_away_or_will_come(fleet, dock, at_dock):
    dock.record.contacted = fleet.clock.now()
    fleet.clock.elapsed += 10.0
    assert (await view(fleet, at_dock)).reason == "waits for the proxy dock, which is in touch again in 20s"
    fleet.clock.elapsed += 1190.0
    assert (await view(fleet, at_dock)).reason == (
        "it is behind the proxy dock, which is missing: nothing was heard of it for 20m"
    )


async def test_an_agent_is_promised_by_its_own_heartbeat_and_its_proxys_once(fleet, dock, at_dock):
    found = await view(fleet, at_dock)
    assert found.next_contact - found.last_contact == 60.0 + dock.record.promise
    assert [hop["heartbeat"] for hop in found.detail["path"]] == [dock.record.promise, 60.0]


async def test_an_agent_whose_proxy_pulls_hears_of_something_once_that_comes(fleet, dock, at_dock):
    live, now = fleet.manager.live, fleet.clock.now()
    dock.record.contacted = now
    way = way_of(at_dock.uid, 60.0, now, Register(fleet), live, now)
    assert way == ("heartbeat", now + dock.record.promise)
    fleet.record(at_dock).relay.roll.text = bytes([LINKED + 1])
    way = way_of(at_dock.uid, 60.0, now, Register(fleet), live, now)
    assert way == ("heartbeat", now + dock.record.promise + 60.0)
    later = now + 10 * dock.record.promise
    assert way_of(at_dock.uid, 60.0, now, Register(fleet), live, later) == ("heartbeat", None)


async def test_sec_30_an_agent_that_its_proxy_was_told_to_forget_takes_no_others_place(fleet, dock, at_dock):
    other = await fleet.manager.add_agent("web-2", "lab")
    fleet.clock.elapsed += 100.0
    fleet.give(dock.uid, agents=[other.uid])
    await dock.relay()
    await dock.relay()
    seen = fleet.record(at_dock).last_contact
    fleet.clock.elapsed += 1000.0
    await dock.relay(said(other, index=0, held=True), presence=HELD)
    assert fleet.record(at_dock).via == ()
    assert fleet.record(at_dock).last_contact == seen
    assert not fleet.record(at_dock).is_linked
    assert fleet.record(other).is_linked


async def test_agents_of_a_proxy_that_is_none_any_more_are_nowhere(fleet, dock, pier, at_dock):
    moved = []
    fleet.relays.placed.moved = moved.append
    del fleet.directory.scopes[dock.uid]
    fleet.directory.changed()
    assert fleet.record(at_dock).via == ()
    assert fleet.relays.placed.count(dock.uid) == 0
    assert moved == [at_dock.uid]


async def test_rel_7_who_was_heard_of_by_a_proxy_is_not_missed_after_a_new_start(fleet, dock, at_dock):
    for _ in range(100):
        fleet.clock.elapsed += 60.0
        await dock.relay(presence=HELD)
    await fleet.manager.hub.flush_now()
    seen, promise = fleet.record(at_dock).last_contact, fleet.record(at_dock).promise
    await fleet.manager.start()
    fleet.start(boot=2)
    assert fleet.record(at_dock).last_contact == seen
    assert fleet.record(at_dock).promise == promise


@pytest.fixture
async def pier(fleet):
    """Another proxy to which the group lab was given."""
    return await fleet.proxy("pier", "lab")


async def test_of_many_that_are_followed_one_message_looks_at_some_and_the_next_at_others(
    fleet, dock, monkeypatch
):
    monkeypatch.setattr(desk, "FOLLOWED", 1)
    agents = [await fleet.manager.add_agent(f"web-{number}", "lab") for number in range(2)]
    fleet.clock.elapsed += 100.0
    for agent in agents:
        fleet.record(agent).orders = Orders(followed=True)
    await dock.relay(*map(said, agents))
    seen = []
    monkeypatch.setattr(fleet.ordering, "reported", lambda record: seen.append(record.uid))
    await dock.relay()
    await dock.relay()
    assert sorted(seen) == sorted(agent.uid for agent in agents)
    for agent in agents:
        fleet.record(agent).orders = None
    await dock.relay()
    await dock.relay()
    assert len(seen) == len(agents)


@pytest.mark.parametrize(("age", "back"), [(5.0, 0.0), (1.0, 3600.0)])
async def test_rel_7_what_was_written_down_before_a_start_takes_nobody_from_its_proxy(
    fleet, dock, at_dock, age, back
):
    await fleet.manager.hub.flush_now()
    await fleet.manager.start()
    fleet.start(boot=2)
    fleet.clock.elapsed -= back
    await dock.relay()
    await dock.relay(said(at_dock, fleet.record(at_dock).envelope, age=age))
    assert fleet.record(at_dock).via == (dock.uid,)
    assert not dock.agents[at_dock.uid].gone
