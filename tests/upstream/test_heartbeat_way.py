"""The fast way answers what the slow way would have, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.opamp.codec import parse_upstream, read_heartbeat
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.upstream.directive import quiet

from .conftest import otelcol, status


@pytest.fixture
async def settled(manager, stock):
    """A stock agent to which there is nothing to say."""
    answer = await stock.begin()
    await stock.say(remote_config_status=status(answer.remote_config.config_hash))
    await stock.say()
    assert stock.record.settled is manager.book.wanted("lab")
    return stock


async def beat(manager, stock, **parts):
    return await manager.round(stock.peer, stock.message(**parts).SerializeToString())


@given(uid=st.binary(min_size=16, max_size=16), number=st.integers(0, 2**62), bits=st.integers(0, 2**62))
def test_a_heartbeat_is_read_by_hand_as_protobuf_reads_it(uid, number, bits):
    data = AgentToServer(instance_uid=uid, sequence_num=number, capabilities=bits).SerializeToString()
    assert read_heartbeat(data) == (uid, number, bits)
    assert read_heartbeat(b"\0" + data, 1) == (uid, number, bits)


@given(st.binary(max_size=48))
def test_whatever_is_read_by_hand_means_the_same_to_protobuf(tail):
    data = b"\x0a\x10" + bytes(16) + tail
    found = read_heartbeat(data)
    if found is not None:
        message = AgentToServer.FromString(data)
        assert found == (message.instance_uid, message.sequence_num, message.capabilities)
        assert len(message.ListFields()) <= 3


@pytest.mark.parametrize(
    "parts",
    [
        {"flags": 1},
        {"agent_disconnect": {}},
        {"capabilities": 2**63},
        {"instance_uid": b"short"},
        {"sequence_num": 2**64 - 1},
    ],
)
def test_anything_more_than_a_heartbeat_is_left_to_the_hub(parts):
    data = AgentToServer(**{"instance_uid": bytes(16), "sequence_num": 1} | parts).SerializeToString()
    assert read_heartbeat(data) is None


async def test_a_heartbeat_with_nothing_new_writes_nothing(manager, settled):
    before = manager.store.writes
    answer = await beat(manager, settled)
    assert answer == quiet(settled.key)
    assert manager.store.writes == before


async def test_a_heartbeat_is_a_contact(manager, settled):
    manager.clock.elapsed += 10.0
    settled.peer.address = "192.0.2.77"
    await beat(manager, settled)
    assert settled.record.last_contact == manager.clock.now()
    assert settled.record.address == "192.0.2.77"


async def test_a_gap_in_the_numbers_asks_for_the_full_state(manager, settled):
    settled.number += 5
    assert parse_upstream(await beat(manager, settled)).flags == 1


async def test_other_capabilities_are_looked_at(manager, settled):
    await beat(manager, settled, capabilities=0x1)
    assert settled.record.ear.capabilities == 0x1


async def test_news_end_the_fast_way(manager, settled):
    await manager.publish(otelcol(exporter="file"))
    assert parse_upstream(await beat(manager, settled)).HasField("remote_config")


async def test_sec_11_the_fast_way_is_closed_to_another_groups_token(manager, settled):
    await manager.publish(
        "apiVersion: popham/v1\nkind: Group\nmetadata: {name: other}\nspec: {parent: fleet}\n"
    )
    other = await manager.stock_peer("other")
    answer = parse_upstream(await manager.round(other, settled.message().SerializeToString()))
    assert "wire.instance_uid" in answer.error_response.error_message
