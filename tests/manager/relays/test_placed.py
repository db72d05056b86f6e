"""Where agents are: the newest word of an agent decides, and whoever it left is told."""

import pytest

from popham.manager.relays.nonces import SHORTEST
from popham.model.fleet import Admission
from popham.model.status import OVERDUE
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentDisconnect, AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.presence import LINKED

from .conftest import said, state_of


@pytest.fixture
async def pier(fleet):
    """Another proxy to which the group lab was given."""
    return await fleet.proxy("pier", "lab")


def signed_at(proxy, agent, nonce=None):
    """Return the next state that an agent signs, which was handed the newest nonce of a proxy, or another one."""
    state = proxy.fleet.record(agent).state
    nonce = proxy.nonce.hex() if nonce is None else nonce
    return state_of(agent, state.revision + 1 if state is not None else 1, nonce=nonce)


def at(proxy, agent):
    told = proxy.agents.get(agent.uid)
    return told is not None and not told.gone


async def test_f_t2_an_agent_that_moves_to_another_proxy_is_there_and_the_former_is_told(
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
    await pier.relay(said(web, signed_at(pier, web)))
    fleet.clock.elapsed += 10
    await dock.relay(said(web, age=60.0))
    assert fleet.record(web).via == (pier.uid,)
    assert not at(dock, web)
    await dock.relay(said(web, signed_at(dock, web), age=1.0))
    assert fleet.record(web).via == (dock.uid,)
    assert at(dock, web)
    await pier.relay()
    assert not at(pier, web)


async def test_f_t2_an_agent_that_comes_by_itself_is_at_no_proxy_any_more(fleet, dock, web):
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
    await dock.relay(said(web, signed_at(dock, web)))
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
    assert link.ended is None
    await dock.relay(said(web, signed_at(dock, web), held=True))
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


async def test_sec_27_a_proxy_moves_nobody_by_its_word_who_is_at_another(fleet, dock, pier, web):
    old = signed_at(dock, web)
    await dock.relay(said(web, old))
    fleet.clock.elapsed += 30
    known, moved = signed_at(pier, web), fleet.clock.now()
    await pier.relay(said(web, known))
    others = state_of(web, fleet.record(web).state.revision + 1, nonce=pier.nonce.hex())
    fleet.clock.elapsed += 5
    for state in (b"", old, known, others):
        await dock.relay(said(web, state, held=True), presence=bytes([LINKED]))
        record = fleet.record(web)
        assert (record.via, record.envelope, record.last_contact) == ((pier.uid,), known, moved)
        assert dock.agents[web.uid].want_state
        assert at(pier, web)
    assert not pier.agents[web.uid].want_state
    await dock.relay(said(web, signed_at(dock, web)))
    assert fleet.record(web).via == (dock.uid,)
    assert not dock.agents[web.uid].want_state


async def test_sec_27_a_state_that_a_proxy_kept_back_moves_nobody_back(fleet, dock, pier, web):
    kept_back = state_of(web, 5, nonce=dock.nonce.hex())
    await dock.relay(said(web, state_of(web, 4, nonce=dock.nonce.hex())))
    fleet.clock.elapsed += 30
    await pier.relay(said(web, state_of(web, 6, nonce=pier.nonce.hex())))
    await dock.relay(said(web, kept_back))
    assert fleet.record(web).via == (pier.uid,)


async def test_sec_27_a_proxy_keeps_nobody_by_its_word_who_signed_elsewhere(fleet, dock, pier, web):
    await dock.relay(said(web, signed_at(dock, web), held=True), presence=bytes([LINKED]))
    came = signed_at(pier, web)
    fleet.clock.elapsed += 40
    await dock.relay(presence=bytes([LINKED]))
    await pier.relay(said(web, came, age=30.0))
    assert fleet.record(web).via == (pier.uid,)
    await dock.relay(presence=bytes([LINKED]))
    assert not at(dock, web)


async def test_sec_27_an_agent_that_comes_to_another_proxy_is_asked_for_its_state_as_it_is_met(
    fleet, dock, pier, web
):
    await dock.relay(said(web, signed_at(dock, web)))
    reply = await pier.call("meet", wire.MeetCall(certificate=web.peer().certificate))
    assert wire.AgentTold.FromString(reply.body).want_state
    await pier.relay(said(web, signed_at(pier, web)))
    assert fleet.record(web).via == (pier.uid,)


async def test_sec_27_a_proxy_gets_another_nonce_where_the_newest_may_be_signed_already(
    fleet, dock, pier, web
):
    await dock.relay(said(web, signed_at(dock, web)))
    nonce, fleet.clock.elapsed = pier.nonce, fleet.clock.elapsed + SHORTEST
    await pier.relay(said(web))
    assert pier.nonce != nonce


@pytest.mark.parametrize("kept", [True, False])
async def test_sec_27_an_older_agent_is_moved_by_any_new_state_or_once_it_is_silent_where_it_was(
    fleet, dock, pier, web, kept
):
    old = {"generation": 4, "agent_version": "0.7.0"}
    await dock.relay(said(web, state_of(web, 1, **old)))
    fleet.clock.elapsed += 30
    if kept:
        await pier.relay(said(web, state_of(web, 2, **old)))
        assert fleet.record(web).via == (pier.uid,)
        return
    await pier.relay(said(web, state_of(web, 1, **old)))
    assert fleet.record(web).via == (dock.uid,)
    assert not pier.agents[web.uid].say
    fleet.clock.elapsed += OVERDUE * fleet.record(web).promise
    link, end = fleet.manager.hold(pier.peer())
    await fleet.manager.hear(end, pier.agent.end.report(force=True))
    link.sent.clear()
    for _ in range(3):
        await pier.relay(presence=b"")
    assert pier.agents[web.uid].say
    assert len(link.sent) <= 1, "it is woken for that once"
    await pier.relay(said(web, state_of(web, 1, **old)))
    assert fleet.record(web).via == (pier.uid,)
    assert not pier.agents[web.uid].say


async def test_sec_27_whom_a_proxy_has_let_go_another_may_have_at_once(fleet, dock, pier, web):
    await dock.relay(said(web, signed_at(dock, web)))
    await dock.relay(left=[fleet.record(web).key])
    await pier.relay(said(web))
    assert fleet.record(web).via == (pier.uid,)


async def test_whoever_is_revoked_or_removed_is_counted_at_no_proxy(fleet, dock, web):
    await dock.relay(said(web, signed_at(dock, web)))
    record, placed = fleet.record(web), fleet.relays.placed
    record.admission = Admission.REVOKED
    fleet.relays.agent_changed(web.uid)
    await dock.relay()
    assert (placed.count(dock.uid), record.via) == (0, ())
    assert dock.agents[web.uid].admission == "revoked"
    record.admission = Admission.ACCEPTED
    await dock.relay(said(web, signed_at(dock, web)))
    assert placed.count(dock.uid) == 1
    await fleet.manager.store.write(lambda tx: tx.delete_agent(web.uid))
    await fleet.manager.book.reread([web.uid])
    fleet.relays.agent_changed(web.uid)
    assert placed.count(dock.uid) == 0
    assert not any((placed._behind, placed._gone, placed._claimed, placed._nowhere))
