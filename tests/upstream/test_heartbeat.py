"""Heartbeats with nothing new touch memory only; presence is what was promised."""

from popham.model.status import Presence, presence
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.upstream.record import STOCK_PROMISE

from .conftest import SETTINGS, describe, files, status


async def test_ops_13_a_heartbeat_with_nothing_new_writes_nothing_and_is_answered_at_once(manager, stock):
    await stock.begin(remote_config_status=status(manager.book.wanted("lab").objects_digest))
    before = manager.store.writes
    for _ in range(100):
        assert isinstance(manager.hub.round(stock.peer, stock.message().SerializeToString()), bytes)
    assert manager.store.writes == before
    await manager.hub.flush_now()
    assert manager.store.writes == before + 1
    await manager.hub.flush_now()
    assert manager.store.writes == before + 1


async def test_an_own_agents_heartbeat_with_nothing_new_writes_nothing(manager):
    await manager.publish(files())
    agent = await manager.add_agent("a", "lab")
    await agent.round()
    before = manager.store.writes
    for _ in range(10):
        await agent.round()
    assert manager.store.writes == before


async def test_ops_48_a_bare_heartbeat_counts_as_a_contact_and_breaks_no_sequence(manager, stock):
    await stock.begin()
    manager.clock.elapsed += 29
    answer = await manager.say(stock.peer, AgentToServer(instance_uid=stock.key))
    assert not answer.flags
    assert stock.record.last_contact == manager.clock.now()
    assert not (await stock.say()).flags


async def test_ops_48_goodbye_ends_the_link_of_an_agent_at_once(manager, stock):
    _, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    assert manager.live.connected(stock.record.uid)
    await manager.hear(end, stock.goodbye())
    assert not manager.live.connected(stock.record.uid)


async def test_f_o2_a_stock_agent_promises_the_longest_of_its_last_ten_intervals_and_thirty_seconds_at_first(
    manager, stock
):
    await stock.begin()
    for _ in range(5):
        await stock.say()
    assert stock.record.promise == STOCK_PROMISE
    for _ in range(12):
        manager.clock.elapsed += 120
        await stock.say()
    assert stock.record.promise == 120
    for _ in range(12):
        manager.clock.elapsed += 10
        await stock.say()
    assert stock.record.promise == 10


async def test_f_o2_a_stock_agent_that_takes_settings_promises_the_heartbeat_it_was_given(manager, stock):
    stock.capabilities |= SETTINGS
    await stock.begin()
    for _ in range(5):
        manager.clock.elapsed += 7
        await stock.say()
    assert stock.record.promise == 30


async def test_quirk_node_8_an_agent_that_ends_without_goodbye_is_overdue_and_then_missing(manager, stock):
    await stock.begin()
    at, promise = stock.record.last_contact, stock.record.promise
    found = [presence(at, promise, at + seconds) for seconds in (44, 46, 91)]
    assert found == [Presence.ON_TIME, Presence.OVERDUE, Presence.MISSING]
