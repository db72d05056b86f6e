"""What our agent's end says, and when: the rows of OpAMP for agents."""

import uuid

from popham.model.communication import CommunicationSettings, Mode
from popham.opamp.codec import parse_agent
from popham.opamp.schema.opamp.v1.opamp_pb2 import RemoteConfigStatuses, ServerToAgent
from popham.opamp.wire import OWN_AGENT, REPORT_FULL_STATE, SESSION, TRUST


def said(agent, *, force=True):
    data = agent.end.report(force=force)
    return None if data is None else parse_agent(data)


async def test_opc_2_4_6_the_first_message_after_a_start_is_the_full_state_under_the_certificates_uid(agent):
    agent.start()
    first = said(agent)
    assert first.instance_uid == uuid.UUID(agent.uid).bytes
    assert first.capabilities == int(OWN_AGENT)
    assert first.HasField("agent_description")
    assert first.HasField("remote_config_status")
    assert list(first.custom_capabilities.capabilities) == [SESSION, TRUST]


async def test_opc_3_7_nothing_is_said_when_nothing_changed_and_a_heartbeat_is_nearly_empty(agent):
    assert said(agent, force=False) is None
    beat = said(agent)
    assert not beat.HasField("agent_description")
    assert not beat.HasField("custom_message")
    assert len(beat.SerializeToString()) < 32


async def test_opc_5_numbers_go_on_across_links(agent):
    numbers = [said(agent).sequence_num for _ in range(3)]
    agent.end.lost()
    agent.end.opened()
    numbers.append(said(agent).sequence_num)
    assert numbers == list(range(numbers[0], numbers[0] + 4))


async def test_opc_8_the_same_directive_twice_is_obeyed_once(manager, agent, publish):
    await publish("two")
    answer = await manager.round(agent.peer(), agent.end.report(force=True))
    await agent.end.receive(answer)
    await agent.end.receive(answer)
    assert agent.applier.applied == [("motd@1",), ("motd@2",)]


async def test_opc_9_report_full_state_is_answered_with_everything(agent):
    flags = ServerToAgent(instance_uid=agent.end.uid, flags=REPORT_FULL_STATE)
    await agent.end.receive(flags.SerializeToString())
    full = said(agent, force=False)
    assert full.HasField("agent_description")
    assert full.HasField("remote_config_status")
    assert full.HasField("custom_message")


async def test_opc_18_goodbye_is_said_in_the_last_message(agent):
    assert parse_agent(agent.end.goodbye()).HasField("agent_disconnect")


async def test_opc_22_hash_and_status_of_the_newest_config_are_reported(manager, agent, publish):
    agent.applier.broken = "no such account"
    wanted = await publish("two")
    await agent.end.receive(await manager.round(agent.peer(), agent.end.report(force=True)))
    status = said(agent, force=False).remote_config_status
    assert status.last_remote_config_hash.hex() == wanted.content_digest
    assert status.status == RemoteConfigStatuses.RemoteConfigStatuses_FAILED
    assert "no such account" in status.error_message


async def test_opc_11_13_heartbeat_and_mode_come_from_the_bundle_alone(agent):
    assert agent.end.settings == CommunicationSettings(mode=Mode.PUSH, heartbeat=300.0)


async def test_a_report_fits_into_a_held_link_whatever_went_wrong(manager, agent, publish):
    agent.applier.broken = "x" * 100_000
    await publish("two")
    await agent.end.receive(await manager.round(agent.peer(), agent.end.report(force=True)))
    agent.end._session.forget()
    assert len(agent.end.report(force=True)) < 8 * 1024


async def test_rel_17_an_agent_that_holds_more_is_asked_for_its_bundle_and_the_manager_rises_above(
    manager, agent, publish
):
    rows = manager.store._tables
    await publish("two")
    await agent.round()
    newer = manager.book.wanted("lab")
    manager.store._tables = rows
    await manager.start()
    assert manager.book.wanted("lab").serial < newer.serial
    await agent.round()
    await agent.round()
    raised = manager.book.wanted("lab")
    assert (raised.serial > newer.serial, raised.version > newer.version) == (True, True)
    assert agent.end.record().content_digest == raised.content_digest
    assert manager.book.record(agent.uid).state.content_digest == raised.content_digest
