"""What agents say is heard, and every message is answered."""

import pytest

from popham.errors import StateError
from popham.net.seam import Peer, Refused
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentToServer,
    CustomCapabilities,
    CustomMessage,
    ServerErrorResponseType,
)
from popham.opamp.wire import OWN_UPSTREAM, REPORT_FULL_STATE, SESSION
from popham.testing.direct import ADMIN

from .conftest import STATUS, describe, status

BAD_REQUEST = ServerErrorResponseType.ServerErrorResponseType_BadRequest
BODY = {"remote_config", "connection_settings", "agent_identification", "flags", "custom_message", "command"}


def fields(answer):
    return {found.name for found, _ in answer.ListFields()}


async def test_ops_13_every_message_is_answered_in_http_and_on_a_link(manager, stock):
    link, end = manager.hold(stock.peer)
    for say in ({"agent_description": describe()}, {}, {"remote_config_status": status(b"x")}, {}):
        assert (await stock.say(**say)).instance_uid == stock.key
        assert (await manager.hear(end, stock.message(**say))).instance_uid == stock.key
    assert link.ended is None


async def test_ops_14_a_duplicate_is_answered_like_the_first(stock):
    await stock.begin()
    first = await stock.say(sequence_num=1)
    again = await stock.say(sequence_num=1)
    assert again == first
    assert not again.flags


async def test_ops_15_the_answer_names_the_agent_also_where_it_refuses(manager, stock):
    refused = await stock.say(
        agent_description=describe(), custom_message=CustomMessage(capability=SESSION, type="report")
    )
    assert refused.HasField("error_response")
    assert refused.instance_uid == stock.key
    broken = parse_upstream(await manager.round(stock.peer, b"\xff"))
    assert broken.error_response.type == BAD_REQUEST
    assert len(broken.instance_uid) == 16


async def test_ops_16_every_answer_carries_capabilities_and_none_that_is_undefined(stock):
    for answer in (await stock.begin(), await stock.say(), await stock.say()):
        assert answer.capabilities == int(OWN_UPSTREAM)
        assert answer.capabilities & 1
        assert not answer.capabilities & ~0x7F


async def test_ops_19_a_gap_is_answered_with_report_full_state_and_the_full_state_ends_it(stock):
    await stock.begin()
    assert not (await stock.say()).flags
    assert (await stock.say(sequence_num=9)).flags == REPORT_FULL_STATE
    assert not (await stock.say(agent_description=describe())).flags
    assert not (await stock.say()).flags


@pytest.mark.parametrize("first", [0, 1, 4711])
async def test_ops_19_the_full_state_is_not_asked_for_needlessly(stock, first):
    assert not (await stock.begin(sequence_num=first)).flags
    for _ in range(5):
        assert not (await stock.say()).flags


async def test_ops_19_an_agent_whose_first_message_was_lost_is_asked_for_its_full_state(stock):
    assert (await stock.say(sequence_num=4)).flags == REPORT_FULL_STATE


async def test_ops_20_a_link_that_comes_again_may_begin_with_next_to_nothing(manager, stock):
    _, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    end.closed(1006)
    _, end = manager.hold(stock.peer)
    assert not (await manager.hear(end, stock.message())).flags


async def test_ops_20_what_was_heard_outlives_the_manager_too(manager, stock):
    await stock.begin()
    await manager.hub.flush_now()
    await manager.start()
    assert not (await stock.say()).flags
    assert (await stock.say(sequence_num=9)).flags == REPORT_FULL_STATE


async def test_ops_21_an_error_stands_alone(stock):
    await stock.begin()
    answer = await stock.say(custom_message=CustomMessage(capability=SESSION, type="report", data=b"\xff"))
    assert answer.error_response.error_message
    assert not fields(answer) & BODY
    assert not (await stock.say()).HasField("error_response")


@pytest.mark.parametrize("uid", [b"", b"short", b"01ARZ3NDEKTSV4RRFFQ69G5FAV"])
async def test_ops_22_what_cannot_be_read_is_a_bad_request_with_a_sentence(manager, stock, uid):
    answer = parse_upstream(
        await manager.round(stock.peer, AgentToServer(instance_uid=uid).SerializeToString())
    )
    assert answer.error_response.type == BAD_REQUEST
    assert "wire.instance_uid" in answer.error_response.error_message


async def test_ops_17_18_a_capability_that_goes_is_respected_from_then_on(stock):
    assert (await stock.begin()).HasField("remote_config")
    assert not (await stock.say(capabilities=STATUS)).HasField("remote_config")
    assert not (await stock.say(capabilities=0)).HasField("remote_config")
    assert (await stock.say()).HasField("remote_config")


async def test_ops_46_custom_messages_of_others_are_ignored_and_none_is_sent_to_who_declares_none(stock):
    await stock.begin(custom_capabilities=CustomCapabilities(capabilities=["com.example.x/1"]))
    answer = await stock.say(custom_message=CustomMessage(capability="com.example.x/1", type="y", data=b"z"))
    assert not answer.HasField("error_response")
    assert not answer.HasField("custom_message")


async def test_ops_49_50_a_link_forgets_all_its_agents_at_its_end(manager, stock):
    _, end = manager.hold(stock.peer)
    uids = [bytes([n]) * 16 for n in range(5)]
    for key in uids:
        await manager.hear(end, stock.message(instance_uid=key, agent_description=describe()))
    records = list(manager.book.records())
    assert all(record.link for record in records)
    end.closed(1006)
    assert not [record for record in records if record.link]
    assert not end.records


async def test_ops_51_unknown_fields_and_capability_bits_are_ignored(manager, stock):
    unknown = b"\x9a\x06\x03abc"
    data = stock.message(agent_description=describe(), capabilities=STATUS | 1 << 40).SerializeToString()
    answer = parse_upstream(await manager.round(stock.peer, data + unknown))
    assert not answer.HasField("error_response")


async def test_ops_25_who_shows_nothing_may_only_enroll(manager):
    with pytest.raises(Refused) as caught:
        await manager.say(Peer(address="192.0.2.9"), AgentToServer(instance_uid=bytes(16)))
    assert caught.value.refusal.status == 401
    with pytest.raises(Refused) as caught:
        manager.hold(Peer(address="192.0.2.9"))
    assert caught.value.refusal.status == 401


async def test_ops_25_a_token_that_is_wrong_or_revoked_is_401_also_on_an_open_connection(manager, stock):
    with pytest.raises(Refused) as caught:
        manager.hold(Peer(address="192.0.2.9", bearer="pops_x_y"))
    assert caught.value.refusal.status == 401
    link, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    (token,) = await manager.store.read(lambda tx: tx.tokens())
    await manager.service.revoke_token(ADMIN, token.id)
    await manager.live.bring()
    assert link.ended is not None
    with pytest.raises(Refused) as caught:
        await stock.say()
    assert caught.value.refusal.status == 401


async def test_quirk_python_9_goodbye_twice_neither_creates_nor_asks(manager, stock):
    for _ in range(2):
        answer = await manager.say(stock.peer, stock.goodbye(sequence_num=0))
        assert not answer.flags
    assert list(manager.book.records()) == []
    await stock.begin()
    for _ in range(2):
        answer = await manager.say(stock.peer, stock.goodbye(sequence_num=7))
        assert fields(answer) == {"instance_uid", "capabilities"}
    assert len(list(manager.book.records())) == 1


async def test_quirk_python_3_stale_and_double_numbers_converge_within_two_full_states(stock):
    await stock.begin(sequence_num=4)
    asked = 0
    for number in (5, 5, 7, 8, 9, 9, 10):
        answer = await stock.say(sequence_num=number)
        if answer.flags:
            asked += 1
            await stock.say(sequence_num=number, agent_description=describe())
    assert asked <= 2


async def test_what_could_not_be_written_is_written_before_the_next_answer(manager, stock):
    await stock.begin()
    manager.store.broken = StateError("unusable", "the disk is full")
    with pytest.raises(StateError):
        await stock.say(remote_config_status=status(b"y" * 32))
    manager.store.broken = None
    before = manager.store.writes
    await stock.say(sequence_num=1, remote_config_status=status(b"y" * 32))
    assert manager.store.writes == before + 1
    row = await manager.store.read(lambda tx: tx.agent(stock.record.uid))
    assert (b"y" * 32).hex() in row.remote


async def test_rel_3_contacts_that_could_not_be_written_are_in_the_next_batch(manager, stock):
    await stock.begin()
    await manager.hub.flush_now()
    manager.clock.elapsed += 50
    await stock.say()
    manager.store.broken = StateError("unusable", "the disk is full")
    await manager.hub.flush_now()
    manager.store.broken = None
    await manager.hub.flush_now()
    row = await manager.store.read(lambda tx: tx.agent(stock.record.uid))
    assert row.last_contact == manager.clock.now()


async def test_sec_9_what_an_agent_says_of_itself_is_bounded(manager, stock):
    names = [f"c{n}" for n in range(1000)] + ["x" * 10_000]
    await stock.begin(
        custom_capabilities=CustomCapabilities(capabilities=names),
        remote_config_status=status(b"h" * 100_000, 99),
    )
    assert len(stock.record.ear.custom) <= 64
    assert len(stock.record.remote.digest) <= 64
    answer = await stock.say(custom_message=CustomMessage(capability=SESSION, type="x" * 100_000))
    assert len(answer.SerializeToString()) < 2048
    await manager.start()
