"""What the Manager believes of a proxy, and what it tells it."""

import uuid

import pytest
from tests.upstream.conftest import files
from tests.upstream.ordering import NONCES, Ordered
from tests.upstream.taking import chain, joined

from popham.model.fleet import AgentKind
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.trust.keys import IdentityKey
from popham.trust.tuf import TrustedTuf
from popham.trust.visitor import open_visitor
from popham.upstream.presence import LINKED, encode_age

from .conftest import said, state_of


async def test_f_t2_what_an_agent_signed_is_believed_and_where_it_is(fleet, dock, web):
    state = state_of(web, 3, nonce=dock.nonce.hex())
    await dock.relay(said(web, state, age=4.0))
    record = fleet.record(web)
    assert record.state.revision == 3
    assert record.kind is AgentKind.OWN
    assert record.via == (dock.uid,)
    assert record.address == "192.0.2.50"
    assert record.last_contact == pytest.approx(fleet.clock.now() - 4.0)
    assert record.promise == 60.0 + dock.record.promise
    assert record.saved == record.edition
    assert fleet.manager.live.relayed.via(web.uid) == (dock.uid,)
    assert fleet.manager.live.relayed.count(dock.uid) == 1


async def test_sec_21_nothing_that_an_agent_did_not_sign_is_believed_of_it(fleet, dock, web):
    await dock.relay(said(web, state_of(web, 1, nonce=dock.nonce.hex())))
    assert "forged" not in fleet.record(web).described
    await dock.relay(said(web, state_of(web, 2, IdentityKey.create(), nonce=dock.nonce.hex())))
    assert fleet.record(web).state.revision == 1


async def test_the_proxy_is_told_what_it_is_to_know_of_an_agent_and_of_its_group(fleet, dock, web):
    await dock.relay(said(web, state_of(web, 1, nonce=dock.nonce.hex())))
    told, record, wanted = dock.agents[web.uid], fleet.record(web), fleet.manager.book.wanted("lab")
    assert (told.name, told.group, told.admission, told.kind) == ("web-1", "lab", "accepted", "own")
    assert (told.public_key, told.assignment) == (record.public_key, record.assignment)
    assert (told.revision, told.want_state, told.want_bundle) == (1, False, False)
    group = dock.groups["lab"]
    assert (group.envelope, list(group.blobs)) == (wanted.envelope, list(wanted.blobs))
    sha256 = group.blobs[0]
    down = await dock.relay(lacks=[wire.Lack(sha256=sha256)])
    assert down.bodies[0].data == wanted.blobs[sha256]


async def test_sec_30_a_proxy_speaks_for_nobody_that_was_not_given_to_it(fleet, dock):
    stranger = await fleet.manager.add_agent("db-1", "other")
    down = await dock.relay(said(stranger, state_of(stranger, 9, nonce=dock.nonce.hex(), group="other")))
    assert [told.gone for told in down.agents] == [True]
    record = fleet.record(stranger)
    assert (record.state, record.via) == (None, ())
    reply = await dock.call("standing", wire.StandingCall(stream="events"), record.key)
    assert reply.code == "grant.proxy"
    assert reply.problem == "agent db-1 is in the group other, which was not given to the proxy dock"
    carried = wire.Carried(key=record.key, stream="events", frames=b"x")
    await dock.relay(streams=[carried])
    assert fleet.intake.frames == []
    reply = await dock.call("claim", wire.Wake(), dock.record.key)
    assert reply.code == "grant.proxy"


async def test_sec_30_a_single_agent_that_was_given_is_spoken_for_and_its_group_told(fleet, dock):
    db = await fleet.manager.add_agent("db-1", "other")
    fleet.give(dock.uid, "lab", agents=[db.uid])
    await dock.relay(said(db, state_of(db, 1, nonce=dock.nonce.hex(), group="other")))
    assert fleet.record(db).state.revision == 1
    assert dock.groups["other"].serial > 0
    fleet.give(dock.uid, "lab")
    down = await dock.relay()
    assert [told.gone for told in down.agents] == [True]
    assert [told.gone for told in down.groups] == [True]


async def test_sec_29_a_new_state_record_has_to_name_a_nonce_that_went_through_this_proxy_lately(
    fleet, dock, web
):
    other = await fleet.proxy("pier", "lab")
    for nonce in ("", "00" * 16, other.nonce.hex()):
        await dock.relay(said(web, state_of(web, 1, nonce=nonce)))
        assert fleet.record(web).state is None
        assert dock.agents[web.uid].want_state
    old = dock.nonce
    await dock.relay(said(web, state_of(web, 2, nonce=old.hex())))
    assert fleet.record(web).state.revision == 2
    assert not dock.agents[web.uid].want_state
    fleet.clock.elapsed += 3 * (60.0 + dock.record.promise) + 1
    await dock.relay(said(web, state_of(web, 3, nonce=old.hex())))
    assert dock.nonce != old
    assert fleet.record(web).state.revision == 2
    await dock.relay(said(web, state_of(web, 4, nonce=dock.nonce.hex())))
    assert fleet.record(web).state.revision == 4


async def test_sec_29_the_same_state_record_needs_no_newer_nonce(fleet, dock, web):
    state = state_of(web, 2, nonce=dock.nonce.hex())
    await dock.relay(said(web, state))
    fleet.relays.desk._nonces.keep(set())
    await dock.relay(said(web, state))
    assert not dock.agents[web.uid].want_state
    await dock.relay(said(web, state_of(web, 3, nonce="11" * 16)))
    assert fleet.record(web).state.revision == 2
    assert dock.agents[web.uid].want_state


async def test_an_agent_of_an_older_generation_names_no_nonce_and_is_believed(fleet, dock, web):
    await dock.relay(said(web, state_of(web, 1, generation=4, agent_version="0.7.0")))
    assert fleet.record(web).state.revision == 1


async def test_results_are_named_once_they_are_durable_and_orders_told_until_then(fleet, dock, web):
    await dock.relay(said(web, state_of(web, 1, nonce=dock.nonce.hex())))
    record, ordered = fleet.record(web), Ordered(fleet.manager, web)
    fleet.ordering.order(fleet.manager, record, NONCES[0])
    fleet.manager.live.tell_orders(record)
    await dock.relay()
    assert [order.nonce for order in dock.agents[web.uid].orders] == [NONCES[0]]
    await dock.relay(said(web, offered=[NONCES[0]]))
    assert fleet.ordering.told_of == [("web-1", (NONCES[0],))]
    await dock.relay(said(web, results=[ordered.result(NONCES[0])]))
    assert fleet.ordering.heard == [(NONCES[0], "succeeded")]
    told = dock.agents[web.uid]
    assert (list(told.heard), list(told.orders)) == ([f"{NONCES[0]}:1"], [])
    await dock.relay()
    assert not record.orders or not record.orders.heard


async def test_presence_is_one_byte_of_each_agent_and_of_the_process_that_said_it(fleet, dock, web):
    await dock.relay(said(web, state_of(web, 1, nonce=dock.nonce.hex()), index=2, age=50.0))
    await dock.relay(presence=bytes((255, 255, encode_age(30.0, 60.0, held=False))))
    record = fleet.record(web)
    assert record.last_contact == pytest.approx(fleet.clock.now() - 30.0, abs=1.0)
    assert not fleet.manager.live.connected(web.uid)
    await dock.relay(presence=bytes((255, 255, LINKED)))
    assert fleet.manager.live.connected(web.uid)
    dock.begin_anew(77)
    await dock.relay(presence=bytes((LINKED,)))
    assert record.relay.roll.text == bytes((255, 255, LINKED))
    await dock.relay(said(web, index=0))
    assert record.relay.roll.boot == 77


async def test_a_visitor_statement_is_made_for_the_key_that_a_proxy_shows(fleet, dock):
    assert dock.visitor == b""
    await dock.relay(status=b'{"visitor_key": "%s"}' % dock.visitor_key.encode())
    keys = fleet.manager.keys
    found = open_visitor(dock.visitor, tuf=TrustedTuf.from_bytes(keys.root, keys.targets))
    assert (found.uid, found.groups) == (dock.uid, ("lab", "stocks"))
    assert found.keyid == dock.key_pair.keyid
    first = dock.visitor
    fleet.give(dock.uid, "lab")
    await dock.relay()
    assert dock.visitor != first
    assert fleet.manager.live.relayed.status(dock.uid)["visitor_key"] == dock.visitor_key


async def test_custody_is_ordered_and_places_are_told(fleet, dock):
    fleet.directory.places[dock.uid] = [wire.PlaceTold(name="db", url="https://192.0.2.9:23440")]
    fleet.give(dock.uid, "lab", custody={"events": "end to end"})
    await dock.relay()
    assert dock.orders == b'{"custody":{"events":"end to end"},"names":[]}'
    assert dock.places["db"].url == "https://192.0.2.9:23440"


async def test_an_agent_that_its_proxy_cannot_visit_is_named_with_the_reason(fleet, dock, web):
    for _ in range(2):
        await dock.relay(said(web, unvisited="visit.refused: nobody listens there"))
    assert fleet.unreached == [(web.uid, "nobody listens there (visit.refused)")]


async def test_a_publish_and_a_check_in_wake_a_proxy_that_holds_a_link(fleet, dock, web):
    await dock.relay(said(web, state_of(web, 1, nonce=dock.nonce.hex())))
    link, end = fleet.manager.hold(dock.peer())
    message = dock.agent.end.report(force=True)
    await fleet.manager.hear(end, message)
    link.sent.clear()
    assert fleet.manager.live.check_in(web.uid)
    said_ = parse_upstream(link.sent[0]).custom_message
    assert (said_.capability, said_.type) == ("io.popham.proxy/1", "wake")
    await dock.relay()
    assert dock.agents[web.uid].check_ins > 0
    before = dock.groups["lab"].serial
    await fleet.manager.publish(files("news"))
    assert any(parse_upstream(one).custom_message.type == "wake" for one in link.sent[1:])
    await dock.relay()
    assert dock.groups["lab"].serial > before


async def test_sec_30_a_certificate_that_is_no_proxys_relays_nothing(fleet, dock, web):
    response = await fleet.post(web.peer(), wire.RelayUp().SerializeToString())
    assert response.status == 403
    del fleet.directory.scopes[dock.uid]
    fleet.manager.book.proxies_changed()
    response = await fleet.post(dock.peer(), wire.RelayUp().SerializeToString())
    assert response.status == 403
    assert uuid.UUID(dock.uid)


async def test_frames_are_kept_and_how_far_the_stream_is_comes_back(fleet, dock, web):
    key = uuid.UUID(web.uid).bytes
    frames = joined(chain(key))
    down = await dock.relay(streams=[wire.Carried(key=key, stream="logs", frames=frames, waiting=5)])
    (stood,) = down.standings
    assert (stood.key, stood.standing.next) == (key, 30)
    assert fleet.intake.sent[0].waiting == 5
    reply = await dock.call("standing", wire.StandingCall(stream="logs", epoch=1), key)
    assert wire.Standing.FromString(reply.body).next == 30
