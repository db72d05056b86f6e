"""Whatever an upstream or a messenger says, an agent keeps its last good policy and says what it refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popham.errors import LinkError, WireError
from popham.manager.bundles import open_row
from popham.model.bundle import BUNDLE_TYPE
from popham.model.status import Outcome
from popham.opamp.codec import custom, parse_agent, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentIdentification,
    OpAMPConnectionSettings,
    RetryInfo,
    ServerErrorResponse,
    ServerErrorResponseType,
    ServerToAgent,
    TLSCertificate,
    TLSConnectionSettings,
)
from popham.opamp.schema.popham.v1.popham_pb2 import Admission, Directive
from popham.opamp.wire import BLOB_KEY, BUNDLE_KEY, DSSE_TYPE, REFERENCE_TYPE
from popham.testing.direct import DirectManager
from popham.trust.dsse import seal
from popham.trust.keys import SigningKey
from popham.trust.verify import open_state


def offer(agent, envelope, *, kind=DSSE_TYPE, **blobs):
    said = ServerToAgent(instance_uid=agent.end.uid)
    said.remote_config.config_hash = b"h" * 32
    said.remote_config.config.config_map[BUNDLE_KEY].body = envelope
    said.remote_config.config.config_map[BUNDLE_KEY].content_type = kind
    for sha256, body in blobs.items():
        said.remote_config.config.config_map[BLOB_KEY + sha256].body = body
    return said


def direct(agent, **directive):
    return ServerToAgent(instance_uid=agent.end.uid, custom_message=custom(Directive(**directive)))


def reported(agent):
    """Return the state record of the agent's next message."""
    report = parse_custom(parse_agent(agent.end.report(force=False)).custom_message)
    return open_state(report.state, public_der=agent.key.public.der, uid=agent.uid)


async def refuses(agent, said, code):
    """Let the agent hear it: nothing changes but the code that it reports."""
    before = agent.end.record()
    applied, kept = list(agent.applier.applied), agent.state.bundle()
    await agent.end.receive(said.SerializeToString())
    record = reported(agent)
    assert record.error_code == code
    assert record.error
    assert replace(record, revision=before.revision, error_code="", error="") == before
    assert agent.applier.applied == applied
    assert agent.state.bundle() == kept


def sign(keys, bundle):
    return seal(BUNDLE_TYPE, bundle.payload(), keys.director)


async def bundle_of(manager, group="lab"):
    return open_row(await manager.store.read(lambda tx: tx.bundle(group)))


async def test_f_y16_sec_21_a_tampered_bundle_is_refused(manager, agent, publish):
    envelope = (await publish("two")).envelope
    data = json.loads(envelope)
    data["signatures"][0]["sig"] = "A" * 86 + "=="
    forged = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    await refuses(agent, offer(agent, forged), "trust.signature")
    await agent.round()
    assert agent.applier.applied[-1] == ("motd@2",)
    assert agent.end.record().error_code == ""


async def test_sec_21_a_bundle_by_another_signer_is_refused(manager, agent):
    bundle = await bundle_of(manager)
    forged = seal(BUNDLE_TYPE, replace(bundle, version=bundle.version + 1).payload(), SigningKey.create())
    await refuses(agent, offer(agent, forged), "trust.signature")


async def test_sec_25_another_groups_bundle_is_refused(agent, publish):
    foreign = await publish("theirs", group="other")
    await refuses(agent, offer(agent, foreign.envelope), "trust.audience")


async def test_sec_22_an_older_bundle_is_refused_also_after_a_restart(manager, agent, publish):
    old = agent.state.bundle()
    await publish("two")
    await agent.round()
    await refuses(agent, offer(agent, old), "trust.rollback")
    await publish("three")
    await agent.round()
    agent.start()
    await agent.round()
    await refuses(agent, offer(agent, old), "trust.rollback")


async def test_sec_22_two_bundles_of_one_version_are_refused(manager, agent, keys):
    bundle = await bundle_of(manager)
    twin = sign(keys, replace(bundle, issued=bundle.issued + 1))
    await refuses(agent, offer(agent, twin), "trust.equivocation")


async def test_sec_25_an_assignment_for_another_agent_is_refused(manager, agent):
    other = await manager.add_agent("b", "fleet")
    await refuses(agent, direct(agent, assignment=other.state.assignment()), "trust.audience")


async def test_sec_25_a_bundle_in_place_of_an_assignment_is_refused(agent):
    await refuses(agent, direct(agent, assignment=agent.state.bundle()), "trust.type")


async def test_sec_21_a_blob_that_is_not_what_the_bundle_names_is_refused(agent, publish):
    wanted = await publish("two")
    ((sha256, body),) = wanted.blobs.items()
    evil = body.replace(b"two", b"bad")
    await refuses(agent, offer(agent, wanted.envelope, **{sha256: evil}), "trust.blob")


async def test_sec_21_a_fetched_bundle_that_is_not_what_was_named_is_refused(agent, publish):
    wanted = await publish("two")
    (sha256,) = wanted.blobs
    named = json.dumps({"sha256": sha256, "length": 10_000}).encode()
    await refuses(agent, offer(agent, named, kind=REFERENCE_TYPE), "trust.blob")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"sha256":"../x","length":1}', b'{"sha256":"' + b"a" * 64 + b'","length":1e999}'],
)
async def test_sec_6_a_reference_of_another_form_is_refused(agent, body):
    with pytest.raises(WireError) as caught:
        await agent.end.receive(offer(agent, body, kind=REFERENCE_TYPE).SerializeToString())
    assert caught.value.code == "wire.reference"
    assert agent.fetched == []


async def test_sec_19_an_offer_with_a_private_key_is_refused_asked_for_or_not(agent, manager):
    certificate = agent.state.certificate()
    said = direct(agent)
    said.connection_settings.opamp.certificate.CopyFrom(
        TLSCertificate(cert=certificate, private_key=b"-----BEGIN")
    )
    await refuses(agent, said, "trust.private_key")
    said.custom_message.CopyFrom(custom(Admission(state=Admission.ACCEPTED)))
    await agent.end.receive(said.SerializeToString())
    assert agent.state.certificate() == certificate


async def test_sec_1_an_offer_that_turns_verification_off_or_moves_the_agent_is_ignored(agent):
    before = agent.end.record(), dict(agent.state.storage.files), agent.end.settings
    said = ServerToAgent(instance_uid=agent.end.uid)
    said.connection_settings.hash = b"h"
    said.connection_settings.opamp.CopyFrom(
        OpAMPConnectionSettings(
            destination_endpoint="wss://evil.example/v1/opamp",
            heartbeat_interval_seconds=1,
            tls=TLSConnectionSettings(insecure_skip_verify=True, ca_pem_contents="x"),
        )
    )
    await agent.end.receive(said.SerializeToString())
    assert (agent.end.record(), dict(agent.state.storage.files), agent.end.settings) == before
    assert agent.end.report(force=False) is None


async def test_a_certificate_that_nobody_asked_for_changes_nothing(agent, manager):
    certificate = agent.state.certificate()
    said = ServerToAgent(
        instance_uid=agent.end.uid, custom_message=custom(Admission(state=Admission.ACCEPTED))
    )
    other = await manager.add_agent("b", "lab")
    said.connection_settings.opamp.certificate.cert = other.state.certificate()
    await agent.end.receive(said.SerializeToString())
    assert agent.state.certificate() == certificate


async def test_opc_20_an_agent_whose_certificate_names_it_takes_no_other_uid(agent):
    key = agent.end.uid
    identification = AgentIdentification(new_instance_uid=bytes(16))
    said = ServerToAgent(instance_uid=key, agent_identification=identification)
    await agent.end.receive(said.SerializeToString())
    assert agent.end.uid == key


async def test_opc_16_unavailable_is_obeyed_within_a_day(agent):
    for asked, waited in ((5.0, 5.0), (1e9, 86_400.0)):
        error = ServerErrorResponse(
            type=ServerErrorResponseType.ServerErrorResponseType_Unavailable,
            retry_info=RetryInfo(retry_after_nanoseconds=int(asked * 1e9)),
        )
        with pytest.raises(LinkError) as caught:
            await agent.end.receive(
                ServerToAgent(instance_uid=agent.end.uid, error_response=error).SerializeToString()
            )
        assert caught.value.retry_after == waited


async def test_opc_17_a_bad_request_is_an_error_of_the_link_and_changes_nothing(agent):
    error = ServerErrorResponse(type=ServerErrorResponseType.ServerErrorResponseType_BadRequest)
    with pytest.raises(WireError):
        await agent.end.receive(
            ServerToAgent(instance_uid=agent.end.uid, error_response=error).SerializeToString()
        )
    assert agent.end.report(force=False) is None


async def test_what_was_replaced_before_it_was_fetched_does_not_end_the_link(agent, publish):
    named = json.dumps({"sha256": "a" * 64, "length": 5}).encode()
    await agent.end.receive(offer(agent, named, kind=REFERENCE_TYPE).SerializeToString())
    old = await publish("two")
    await publish("three")
    await agent.end.receive(offer(agent, old.envelope).SerializeToString())
    assert agent.end.record().outcome is Outcome.APPLYING
    await agent.round()
    assert agent.applier.applied[-1] == ("motd@3",)


async def test_sec_3_every_message_of_a_life_replayed_at_both_ends_has_no_effect(manager, agent, publish):
    up, down = [], []
    for text in ("two", "three", "four"):
        await publish(text)
        message = agent.end.report(force=True)
        while message is not None:
            up.append(message)
            down.append(await manager.round(agent.peer(), message))
            await agent.end.receive(down[-1])
            message = agent.end.report(force=False)
    known = manager.book.record(agent.uid)
    before = known.state, known.admission, agent.state.bundle(), agent.state.assignment()
    applied = list(agent.applier.applied)
    for message in up:
        await manager.round(agent.peer(), message)
    for answer in down:
        await agent.end.receive(answer)
    assert (known.state, known.admission, agent.state.bundle(), agent.state.assignment()) == before
    assert agent.applier.applied == applied
    await publish("five")
    await agent.round()
    assert agent.applier.applied[-1] == ("motd@5",)
    assert agent.end.record().error_code == ""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
async def test_sec_21_no_bytes_at_all_end_an_agent_or_change_its_policy(keys, data):
    manager = DirectManager(keys)
    await manager.start()
    victim = await manager.add_agent("a")
    said = offer(victim, data)
    said.custom_message.CopyFrom(custom(Directive(assignment=data, want_bundle=True)))
    for heard in (said.SerializeToString(), data):
        try:
            await victim.end.receive(heard)
        except (WireError, LinkError):
            continue
    assert victim.applier.applied == []
