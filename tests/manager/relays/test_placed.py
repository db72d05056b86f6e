"""Where agents are: the newest word of an agent decides, and whoever it left is told."""

import pytest

from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentDisconnect, AgentToServer

from .conftest import said, state_of


@pytest.fixture
async def pier(fleet):
    """Another proxy to which the group lab was given."""
    return await fleet.proxy("pier", "lab")


def at(proxy, agent):
    told = proxy.agents.get(agent.uid)
    return told is not None and not told.gone


async def test_f_t4_an_agent_that_moves_to_another_proxy_is_there_and_the_former_is_told(
    fleet, dock, pier, web
):
    await dock.relay(said(web, state_of(web, 1, nonce=dock.nonce.hex())))
    fleet.clock.elapsed += 50
    await pier.relay(said(web, state_of(web, 2, nonce=pier.nonce.hex())))
    await dock.relay()
    assert at(pier, web)
    assert not at(dock, web)
    assert fleet.record(web).via == (pier.uid,)
    assert fleet.record(web).state.revision == 2
    placed = fleet.manager.live.relayed
    assert (placed.count(dock.uid), placed.count(pier.uid)) == (0, 1)


async def test_what_a_proxy_heard_before_an_agent_left_it_moves_nobody_back(fleet, dock, pier, web):
    await dock.relay(said(web))
    fleet.clock.elapsed += 50
    await pier.relay(said(web))
    fleet.clock.elapsed += 10
    await dock.relay(said(web, age=60.0))
    assert fleet.record(web).via == (pier.uid,)
    assert not at(dock, web)
    await dock.relay(said(web, age=1.0))
    assert fleet.record(web).via == (dock.uid,)
    assert at(dock, web)
    await pier.relay()
    assert not at(pier, web)


async def test_f_t4_an_agent_that_comes_by_itself_is_at_no_proxy_any_more(fleet, dock, web):
    await dock.relay(said(web, state_of(web, 1, nonce=dock.nonce.hex())))
    fleet.clock.elapsed += 50
    await web.round()
    record = fleet.record(web)
    assert (record.via, record.relay) == ((), None)
    assert record.last_contact == fleet.clock.now()
    await dock.relay()
    assert not at(dock, web)


async def test_a_farewell_on_the_former_way_moves_nobody_back(fleet, dock, web):
    await web.round()
    fleet.clock.elapsed += 50
    await dock.relay(said(web))
    ear = fleet.record(web).ear
    message = AgentToServer(
        instance_uid=fleet.record(web).key, sequence_num=ear.sequence + 1, agent_disconnect=AgentDisconnect()
    )
    await fleet.manager.say(web.peer(), message)
    assert fleet.record(web).via == (dock.uid,)


async def test_the_link_of_an_agent_that_is_at_a_proxy_by_now_is_closed(fleet, dock, web):
    link, end = fleet.manager.hold(web.peer())
    await fleet.manager.hear(end, web.end.report(force=True))
    assert fleet.record(web).link is link
    fleet.clock.elapsed += 50
    await dock.relay(said(web, held=True))
    assert link.ended == (1000, "the agent is at a Proxy Manager by now")


async def test_an_agent_that_its_proxy_says_has_left_is_nowhere(fleet, dock, web):
    await dock.relay(said(web))
    seen = fleet.record(web).last_contact
    await dock.relay(left=[fleet.record(web).key])
    assert fleet.record(web).via == ()
    assert fleet.record(web).last_contact == seen


async def test_the_way_through_a_chain_is_kept_with_the_proxy_next_to_the_manager_first(
    fleet, dock, pier, web
):
    await dock.relay(said(web, via=[pier.record.key], promise=400.0))
    record = fleet.record(web)
    assert record.via == (dock.uid, pier.uid)
    assert fleet.manager.live.relayed.count(pier.uid) == 1


async def test_a_manager_that_begins_anew_hears_where_everybody_is_once_more(fleet, dock, web):
    await dock.relay(said(web, state_of(web, 1, nonce=dock.nonce.hex())))
    await fleet.manager.start()
    fleet.start(boot=2)
    assert fleet.record(web).via == ()
    await dock.relay()
    fleet.clock.elapsed += 3.0
    await dock.relay(said(web, fleet.record(web).envelope, age=3.0))
    assert fleet.record(web).via == (dock.uid,)
    assert not dock.agents[web.uid].want_state
    assert fleet.record(web).promise == 60.0 + dock.record.promise
