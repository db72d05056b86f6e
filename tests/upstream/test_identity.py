"""Who may speak as whom, and what becomes of those whom nobody knows."""

import uuid

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from popham.manager.keys import create_keys
from popham.model.fleet import Admission
from popham.net.seam import Peer, Refused, Request
from popham.opamp.codec import custom, parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer, CustomMessage, ServerErrorResponseType
from popham.opamp.schema.popham.v1.popham_pb2 import Admission as Said
from popham.opamp.schema.popham.v1.popham_pb2 import Directive, Enroll, Renew, Report
from popham.opamp.wire import REQUEST_INSTANCE_UID, SESSION, TRUST
from popham.testing.direct import ADMIN
from popham.testing.virtual import VirtualClock
from popham.trust.identity import load_certificate, make_csr
from popham.trust.keys import IdentityKey

from .conftest import describe, files, otelcol

BAD_REQUEST = ServerErrorResponseType.ServerErrorResponseType_BadRequest


def certify(keys, key, uid, seconds=86400.0):
    """Return a certificate (DER) that the CA gave and no Manager remembers."""
    pem = keys.ca.issue_agent(make_csr(key, uid), uid, seconds)
    return load_certificate(pem).public_bytes(Encoding.DER)


@pytest.fixture
async def agent(manager):
    await manager.publish(files())
    found = await manager.add_agent("a", "lab")
    await found.round()
    return found


async def test_sec_11_a_certificate_speaks_for_its_own_uid_only(manager, agent):
    other = await manager.add_agent("b", "lab")
    await other.round()
    said = other.end.report(force=True)
    before = manager.store.writes
    answer = parse_upstream(await manager.round(agent.peer(), said))
    assert answer.error_response.type == BAD_REQUEST
    assert answer.instance_uid == uuid.UUID(other.uid).bytes
    assert "wire.instance_uid" in answer.error_response.error_message
    assert manager.store.writes == before


@pytest.mark.parametrize("group", ["lab", "fleet"])
async def test_sec_11_12_a_token_never_speaks_for_an_agent_that_has_a_key(manager, agent, group):
    peer = await manager.stock_peer(group)
    key = uuid.UUID(agent.uid).bytes
    said = AgentToServer(instance_uid=key, capabilities=3, agent_description=describe("impostor"))
    answer = await manager.say(peer, said)
    assert answer.error_response.type == BAD_REQUEST
    assert not answer.HasField("remote_config")
    assert "impostor" not in manager.book.record(agent.uid).description.values()


async def test_sec_11_12_a_token_speaks_for_stock_agents_of_its_own_group_only(manager, stock):
    await stock.begin()
    stock.peer = await manager.stock_peer("fleet")
    assert (await stock.say()).error_response.type == BAD_REQUEST


@pytest.mark.parametrize(
    ("capability", "name"), [(SESSION, "report"), (SESSION, "directive"), (TRUST, "enroll"), (TRUST, "renew")]
)
async def test_sec_4_a_stock_agent_may_send_none_of_our_messages(stock, capability, name):
    await stock.begin()
    answer = await stock.say(custom_message=CustomMessage(capability=capability, type=name))
    assert answer.error_response.type == BAD_REQUEST


@pytest.mark.parametrize("message", [Directive(), Said(), Enroll()], ids=lambda m: type(m).__name__)
async def test_sec_4_an_agent_may_not_send_what_only_travels_down_or_enroll_again(manager, agent, message):
    said = AgentToServer(instance_uid=agent.end.uid, custom_message=custom(message))
    assert (await manager.say(agent.peer(), said)).error_response.type == BAD_REQUEST


@pytest.mark.parametrize("message", [Report(), None], ids=["report", "nothing"])
async def test_ops_36_a_certificate_request_without_proof_is_a_bad_request(manager, message):
    key, uid = IdentityKey.create(), str(uuid.uuid4())
    said = AgentToServer(instance_uid=uuid.UUID(uid).bytes)
    said.connection_settings_request.opamp.certificate_request.csr = make_csr(key, uid)
    if message is not None:
        said.custom_message.CopyFrom(custom(message))
    answer = await manager.say(Peer(address="192.0.2.9"), said)
    assert answer.error_response.type == BAD_REQUEST
    assert answer.instance_uid == said.instance_uid
    assert list(manager.book.records()) == []


async def test_ops_36_a_certificate_request_for_another_uid_is_a_bad_request(manager, agent):
    other = str(uuid.uuid4())
    said = AgentToServer(instance_uid=agent.end.uid, custom_message=custom(Renew(generation=1)))
    said.connection_settings_request.opamp.certificate_request.csr = make_csr(agent.key, other)
    assert (await manager.say(agent.peer(), said)).error_response.type == BAD_REQUEST


async def test_ops_25_who_was_revoked_gets_403_on_rounds_links_and_content(manager, agent):
    link, end = manager.hold(agent.peer())
    await manager.hear(end, agent.end.report(force=True))
    await manager.service.revoke(ADMIN, "a")
    await manager.bring()
    assert link.ended is not None
    assert link.ended[0] == 1008
    with pytest.raises(Refused) as caught:
        await manager.round(agent.peer(), agent.end.report(force=True))
    assert caught.value.refusal.status == 403
    assert "enrollment.revoked" in caught.value.refusal.body
    with pytest.raises(Refused) as caught:
        manager.hold(agent.peer())
    assert caught.value.refusal.status == 403
    blob = next(iter(manager.book.wanted("lab").blobs))
    request = Request(method="GET", path=f"/v1/content/sha256/{blob}", peer=agent.peer())
    assert (await manager.hub.other(request)).status == 403


async def test_ops_25_who_was_refused_gets_403(manager, stock):
    stock.peer = await manager.stock_peer("lab", accepts=False)
    await stock.begin()
    await manager.service.refuse(ADMIN, stock.record.uid)
    await manager.bring()
    with pytest.raises(Refused) as caught:
        await stock.say()
    assert caught.value.refusal.status == 403


async def test_ops_42_a_second_link_of_one_agent_ends_the_first(manager, stock):
    first, one = manager.hold(stock.peer)
    await manager.hear(one, stock.message(agent_description=describe()))
    second, other = manager.hold(stock.peer)
    await manager.hear(other, stock.message())
    assert first.ended == (1000, "another link of this agent was opened")
    one.closed(1000)
    assert stock.record.link is second


async def test_ops_43_an_agent_that_asks_for_an_instance_uid_gets_a_uuid_7_and_leaves_no_trace(
    manager, stock
):
    answer = await stock.say(agent_description=describe(), flags=REQUEST_INSTANCE_UID)
    new = uuid.UUID(bytes=answer.agent_identification.new_instance_uid)
    assert new.version == 7
    assert answer.instance_uid == stock.key
    assert list(manager.book.records()) == []
    stock.key = new.bytes
    assert not (await stock.begin()).HasField("agent_identification")
    assert manager.book.record(str(new)) is not None


async def test_quirk_node_3_no_answer_has_an_empty_identification(stock):
    for answer in (await stock.begin(), await stock.say(), await stock.say(sequence_num=9)):
        assert not answer.HasField("agent_identification")


async def test_rel_17_a_certificate_of_our_ca_that_nobody_knows_is_a_new_agent_with_nothing(manager, keys):
    await manager.publish(otelcol())
    key, uid = IdentityKey.create(), str(uuid.uuid4())
    peer = Peer(address="192.0.2.9", certificate=certify(keys, key, uid))
    said = AgentToServer(instance_uid=uuid.UUID(uid).bytes, capabilities=3, agent_description=describe())
    answer = await manager.say(peer, said)
    assert not answer.HasField("remote_config")
    assert manager.book.record(uid).admission is Admission.NEW
    (view,) = (await manager.service.agents(ADMIN)).items
    assert (view.uid, view.admission) == (uid, "new")
    assert (await manager.store.read(lambda tx: tx.audit()))[-1].method == "agent.join"
    link, end = manager.hold(peer)
    await manager.hear(end, said)
    await manager.service.accept(ADMIN, uid)
    await manager.bring()
    assert link.sent


async def test_the_uid_of_another_key_is_403_and_an_expired_certificate_401(manager, agent, keys):
    stranger = Peer(address="192.0.2.9", certificate=certify(keys, IdentityKey.create(), agent.uid))
    old = Peer(address="192.0.2.2", certificate=certify(keys, agent.key, agent.uid, 60.0))
    assert manager.hub.admit(old, held=True, uid=b"") is None
    manager.clock.elapsed += 61
    refusals = [manager.hub.admit(peer, held=False, uid=b"") for peer in (stranger, old)]
    assert [refusal.status for refusal in refusals] == [403, 401]


async def test_a_link_ends_with_the_certificate_that_opened_it(manager, agent, keys):
    link, end = manager.hold(Peer(address="192.0.2.2", certificate=certify(keys, agent.key, agent.uid, 60.0)))
    assert await manager.hear(end, agent.end.report(force=True)) is not None
    manager.clock.elapsed += 61
    assert await manager.hear(end, agent.end.report(force=True)) is None
    assert link.ended is not None
    assert link.ended[0] == 1008


@pytest.mark.parametrize("dialled", [False, True])
async def test_sec_who_holds_a_link_is_told_nothing_once_its_certificate_ended(manager, agent, keys, dialled):
    certificate = None if dialled else certify(keys, agent.key, agent.uid, 60.0)
    uid, key = (agent.uid, agent.key.public.der) if dialled else ("", b"")
    link, end = manager.hold(Peer(address="192.0.2.2", certificate=certificate, uid=uid, key=key))
    assert await manager.hear(end, agent.end.report(force=True)) is not None
    record, before = manager.book.record(agent.uid), len(link.sent)
    manager.hub._telling.ask(record)
    assert len(link.sent) == before + 1
    manager.clock.elapsed += 8 * 86_400.0 if dialled else 61.0
    manager.hub._telling.ask(record)
    assert (len(link.sent), link.ended[0]) == (before + 1, 1008)


async def test_a_certificate_of_another_fleet_under_the_same_ca_is_401(manager, tmp_path):
    keys = create_keys(tmp_path, urls=("https://m:4320",), trust_domain="other", clock=VirtualClock())
    key, uid = IdentityKey.create(), str(uuid.uuid4())
    peer = Peer(address="192.0.2.9", certificate=certify(keys, key, uid))
    assert manager.hub.admit(peer, held=False, uid=b"").status == 401
