"""Calls of proxies: agents are met, admitted and served through them, as far as they were given."""

import uuid

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.testing.direct import ADMIN
from popham.trust.ca import Authority
from popham.trust.identity import load_certificate, make_csr
from popham.trust.join import EnrollmentKey, JoinString
from popham.trust.keys import IdentityKey
from popham.trust.renewal import sign_renewal

from .conftest import said


def der(pem):
    return load_certificate(pem).public_bytes(Encoding.DER)


async def joining(fleet, group, *, walled=False, accepts=True):
    made = await fleet.manager.service.create_token(ADMIN, group=group, accepts=accepts)
    token = EnrollmentKey.from_seed(JoinString.parse(made.secret).seed)
    key, uid = IdentityKey.create(), str(uuid.uuid4())
    csr = make_csr(key, uid)
    enroll = wire.Enroll(generation=5, token_id=token.token_id, signature=token.sign(csr), name="new-1")
    call = wire.AdmitCall(csr=csr, request=enroll.SerializeToString(), walled=walled)
    return uid, key, call


async def test_f_t2_an_agent_is_met_by_its_certificate(fleet, dock, web):
    call = wire.MeetCall(certificate=web.peer().certificate)
    reply = await dock.call("meet", call, fleet.record(web).key, address="192.0.2.50")
    told = wire.AgentTold.FromString(reply.body)
    assert (told.name, told.public_key) == ("web-1", fleet.record(web).public_key)
    down = await dock.relay()
    assert not down.agents


async def test_sec_a_certificate_that_our_ca_did_not_issue_meets_nobody(fleet, dock, web):
    stranger = Authority.create("popham", fleet.clock)
    pem = stranger.issue_agent(make_csr(web.key, web.uid), web.uid)
    reply = await dock.call("meet", wire.MeetCall(certificate=der(pem)), fleet.record(web).key)
    assert reply.code == "trust.issuer"
    reply = await dock.call("meet", wire.MeetCall(certificate=der(pem)[:50]), fleet.record(web).key)
    assert reply.code == "trust.certificate"


async def test_sec_30_an_agent_of_another_group_is_not_met(fleet, dock):
    db = await fleet.manager.add_agent("db-1", "other")
    reply = await dock.call("meet", wire.MeetCall(certificate=db.peer().certificate))
    assert reply.code == "grant.proxy"
    assert not reply.body


async def test_a_stock_agent_is_met_by_its_token_and_vouched_for(fleet, dock):
    peer = await fleet.manager.stock_peer("stocks")
    reply = await dock.call("meet", wire.MeetCall(bearer=peer.bearer), address="192.0.2.7")
    told = wire.AgentTold.FromString(reply.body)
    assert (told.group, told.kind) == ("stocks", "stock")
    assert told.token_until > fleet.clock.now()
    key = bytes(range(16))
    reply = await dock.call("meet", wire.MeetCall(bearer=peer.bearer), key, address="192.0.2.7")
    assert wire.AgentTold.FromString(reply.body).admission == "accepted"
    record = fleet.manager.book.find(key)
    assert record.group == "stocks"
    reply = await dock.call("meet", wire.MeetCall(bearer="pops_x_y"))
    assert reply.status == 401


async def test_what_a_stock_agent_says_is_believed_as_its_proxy_vouches(fleet, dock):
    peer = await fleet.manager.stock_peer("stocks")
    key = bytes(range(16))
    await dock.call("meet", wire.MeetCall(bearer=peer.bearer), key)
    from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer

    message = AgentToServer(instance_uid=key, sequence_num=4, capabilities=0x7)
    message.agent_description.identifying_attributes.add(key="service.name").value.string_value = "collector"
    message.remote_config_status.last_remote_config_hash = b"h" * 32
    message.remote_config_status.status = 1
    fleet.clock.elapsed += 10
    await dock.relay(wire.AgentSaid(key=key, message=message.SerializeToString(), promise=45.0, token="t"))
    record = fleet.manager.book.find(key)
    assert (record.kind, record.own_promise) == ("stock", 45.0)
    assert record.description == {"service.name": "collector"}
    assert record.remote.digest == b"h" * 32


@pytest.mark.parametrize("walled", [False, True])
async def test_f_t2_an_agent_is_born_behind_a_proxy(fleet, dock, walled):
    uid, key, call = await joining(fleet, "lab", walled=walled)
    reply = await dock.call("enroll", call, uuid.UUID(uid).bytes, address="192.0.2.8")
    admitted = wire.Admitted.FromString(reply.body)
    assert (admitted.admission, admitted.agent.group) == ("accepted", "lab")
    assert load_certificate(admitted.certificate).public_key() == key.crypto.public_key()
    assert admitted.agent.assignment == admitted.assignment
    renewed = make_csr(key, uid)
    renew = wire.Renew(generation=5, certificate=admitted.certificate, signature=sign_renewal(key, renewed))
    again = wire.AdmitCall(csr=renewed, request=renew.SerializeToString())
    reply = await dock.call("renew", again, uuid.UUID(uid).bytes)
    assert wire.Admitted.FromString(reply.body).certificate


async def test_who_waits_to_be_accepted_is_told_so_and_the_proxy_when_it_is(fleet, dock):
    uid, _, call = await joining(fleet, "lab", accepts=False)
    reply = await dock.call("enroll", call, uuid.UUID(uid).bytes)
    admitted = wire.Admitted.FromString(reply.body)
    assert (admitted.admission, admitted.certificate) == ("new", b"")
    assert admitted.retry_after > 0
    await fleet.manager.service.accept(ADMIN, uid)
    await fleet.manager.bring()
    await dock.relay()
    assert dock.agents[uid].admission == "accepted"


async def test_sec_30_nobody_is_born_behind_a_proxy_into_a_group_that_it_was_not_given(fleet, dock):
    uid, _, call = await joining(fleet, "other")
    reply = await dock.call("enroll", call, uuid.UUID(uid).bytes)
    assert reply.code == "grant.proxy"
    assert fleet.manager.book.record(uid) is None


async def test_an_output_is_kept_and_one_that_nobody_asked_for_is_not(fleet, dock, web):
    from popham.model.names import digest

    body = b"printed"
    record = fleet.record(web)
    call = wire.OutputCall(sha256=digest(body), body=body)
    assert (await dock.call("output", call, record.key)).code == "not_found.output"
    fleet.ordering.orders(record).want_outputs[digest(body)] = None
    await dock.relay(said(web))
    assert not (await dock.call("output", call, record.key)).code
    assert fleet.ordering.kept == {digest(body): body}


async def test_calls_that_are_none_are_refused(fleet, dock, web):
    assert (await dock.call("dance", wire.Wake())).code == "not_found.message"
    found = wire.FoundCall(name="elsewhere")
    assert (await dock.call("found", found, fleet.record(web).key)).code == "grant.proxy"
    assert (await dock.call("standing", wire.StandingCall(stream="songs"), fleet.record(web).key)).code
    assert (await dock.call("claim", wire.Wake(), bytes(16))).code == "not_found.agent"
    otlp = wire.OtlpCall(stream="logs", token="none")
    assert (await dock.call("otlp", otlp)).code == "grant.unknown_token"


async def test_sec_29_otlp_of_an_agent_that_signs_is_not_taken_at_a_proxys_word(fleet, dock, web):
    otlp = wire.OtlpCall(stream="logs", body=b"made up")
    reply = await dock.call("otlp", otlp, fleet.record(web).key)
    assert (reply.code, reply.retry_after) == ("grant.proxy", 0.0)
    assert "web-1" in reply.problem
