"""What real OpAMP clients do, and how a Manager meets it; numbers as in docs/reference/opamp.md."""

import asyncio

import pytest

from popham.errors import StateError
from popham.model.status import Presence, presence
from popham.net.seam import Peer, Refused
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    CustomMessage,
    RemoteConfigStatus,
    ServerErrorResponseType,
)
from popham.opamp.wire import REPORT_FULL_STATE, REQUEST_INSTANCE_UID, SESSION
from popham.testing.direct import ADMIN

from .conftest import SETTINGS, describe, otelcol, status

UNAVAILABLE = ServerErrorResponseType.ServerErrorResponseType_Unavailable
WRONG = (
    b"",
    b"\xff" * 40,
    b"\x0a\x00",
    b"\x0a\x05short",
    b"\x0a\x10" + bytes(16) + b"\x6a\x02\x0a\x00",
)
"""Messages that nobody can read, or that name nobody."""


async def test_quirk_node_3_every_answer_carries_a_uid_of_16_bytes_errors_too(manager, stock):
    """Without it the client throws where nobody catches, and its application dies."""
    for data in WRONG:
        answer = parse_upstream(await manager.round(stock.peer, data))
        assert len(answer.instance_uid) == 16
        assert not answer.HasField("agent_identification")
    own = CustomMessage(capability=SESSION, type="report", data=b"\xff")
    for parts in ({"agent_description": describe()}, {"custom_message": own}, {"sequence_num": 99}, {}):
        assert (await stock.say(**parts)).instance_uid == stock.key


async def test_quirk_node_3_a_uid_is_given_whole_or_not_at_all(stock):
    answer = await stock.begin(flags=REQUEST_INSTANCE_UID)
    assert len(answer.agent_identification.new_instance_uid) == 16
    assert not (await stock.begin()).HasField("agent_identification")


async def test_quirk_node_4_each_of_many_agents_on_one_connection_is_answered_under_its_own_uid(
    manager, stock
):
    uids = [bytes([number]) * 16 for number in range(1, 9)]
    for _ in range(3):
        for key in uids:
            said = stock.message(instance_uid=key, sequence_num=0, agent_description=describe())
            assert (await manager.say(stock.peer, said)).instance_uid == key


async def test_quirk_node_6_its_promise_is_what_it_does_and_not_what_its_group_says(manager, stock):
    """It has no capability for settings and beats as its application wants; the group says 30 s."""
    await stock.begin()
    for _ in range(12):
        manager.clock.elapsed += 3600
        answer = await stock.say()
        assert not answer.HasField("connection_settings")
    record = stock.record
    assert record.promise == 3600
    at = record.last_contact
    assert presence(at, record.promise, at + 5000) is Presence.ON_TIME


async def test_quirk_node_7_capabilities_stand_in_every_answer_errors_too(manager, stock):
    own = CustomMessage(capability=SESSION, type="report", data=b"\xff")
    first = (await stock.begin()).capabilities
    assert first
    for parts in ({}, {"sequence_num": 0}, {"sequence_num": 50}, {"custom_message": own}, {}):
        assert (await stock.say(**parts)).capabilities == first


async def test_quirk_node_9_an_empty_status_is_as_good_as_none(stock):
    answer = await stock.begin(sequence_num=1, remote_config_status=RemoteConfigStatus())
    assert answer.HasField("remote_config")
    assert not answer.flags
    answer = await stock.say(remote_config_status=status(answer.remote_config.config_hash))
    assert not answer.HasField("remote_config")
    assert not answer.flags


async def test_quirk_go_1_after_a_reconnection_next_to_nothing_is_enough(manager, stock):
    _, end = manager.hold(stock.peer)
    first = await manager.hear(end, stock.message(agent_description=describe()))
    digest = first.remote_config.config_hash
    await manager.hear(end, stock.message(remote_config_status=status(digest)))
    end.closed(1006)
    await manager.hub.flush_now()
    await manager.start()
    _, end = manager.hold(stock.peer)
    answer = await manager.hear(end, stock.message())
    assert not answer.flags
    assert not answer.HasField("remote_config")


async def test_quirk_go_2_unavailable_is_never_said(manager, stock):
    """It would go on as if nothing had been said; a link that cannot be served is closed instead."""
    link, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    manager.store.broken = StateError("unusable", "the disk is full")
    with pytest.raises(StateError):
        await manager.hear(end, stock.message(remote_config_status=status(b"y" * 32)))
    with pytest.raises(StateError):
        await stock.say(remote_config_status=status(b"z" * 32))
    manager.store.broken = None
    for data in WRONG:
        answer = parse_upstream(await manager.round(stock.peer, data))
        assert answer.error_response.type != UNAVAILABLE
    assert not link.sent


async def test_quirk_go_3_a_message_it_dropped_is_a_gap_that_one_full_state_heals(manager, stock):
    await stock.begin()
    manager.store.broken = StateError("unusable", "the disk is full")
    with pytest.raises(StateError):
        await stock.say(remote_config_status=status(b"y" * 32))
    manager.store.broken = None
    stock.message(remote_config_status=status(b"z" * 32))
    assert (await stock.say()).flags == REPORT_FULL_STATE
    assert not (await stock.begin(remote_config_status=status(b"z" * 32))).flags
    assert stock.record.remote.digest == b"z" * 32


async def test_quirk_go_4_goodbye_on_a_link_ends_it_at_once_and_silence_over_http_by_its_promise(
    manager, stock
):
    _, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    assert stock.record.link is not None
    await manager.hear(end, stock.goodbye())
    end.closed(1000)
    assert stock.record.link is None
    await stock.say()
    at, promise = stock.record.last_contact, stock.record.promise
    assert presence(at, promise, at + 3.1 * promise) is Presence.MISSING


@pytest.mark.parametrize("held", [False, True], ids=["by round", "by link"])
async def test_quirk_go_6_settings_have_address_and_heartbeat_and_go_out_once_per_hash(manager, stock, held):
    """An offer without a heartbeat stops its heartbeats; one with the same hash is skipped."""
    stock.capabilities |= SETTINGS
    end = manager.hold(stock.peer)[1] if held else None

    async def say(**parts):
        message = stock.message(**parts)
        return await (manager.hear(end, message) if held else manager.say(stock.peer, message))

    offer = (await say(agent_description=describe())).connection_settings
    assert offer.hash
    assert offer.opamp.heartbeat_interval_seconds == 30
    assert offer.opamp.destination_endpoint.startswith("wss://" if held else "https://")
    for _ in range(3):
        assert not (await say()).HasField("connection_settings")


async def test_quirk_go_6_reporting_heartbeats_alone_is_no_wish_for_settings(stock):
    assert not (await stock.begin()).HasField("connection_settings")


async def test_quirk_go_7_no_command_travels_whatever_it_accepts(manager, stock):
    """A command would have all else in its message ignored; there are none in this version."""
    stock.capabilities |= 0x400
    first = await stock.begin()
    assert first.HasField("remote_config")
    await manager.service.check_in(ADMIN, [stock.record.uid])
    for answer in (first, await stock.say(), await stock.say(sequence_num=70)):
        assert not answer.HasField("command")


async def test_quirk_go_8_every_message_on_a_link_begins_with_the_header(manager, stock, monkeypatch):
    link, end = manager.hold(stock.peer)
    pushed, send = [], link.send
    monkeypatch.setattr(link, "send", lambda data: (pushed.append(data), send(data))[1])
    data = stock.message(agent_description=describe()).SerializeToString()
    answer = end.message(b"\0" + data)
    answered = answer if isinstance(answer, bytes) else await answer
    await manager.publish(otelcol("otlp"))
    assert pushed
    assert {message[0] for message in (answered, *pushed)} == {0}


async def test_quirk_go_9_a_link_carries_what_is_for_its_own_agents_and_nothing_else(manager, stock):
    """It does not look at the uid of what it hears."""
    await manager.publish(otelcol().replace("lab", "other").replace("{name: col}", "{name: col2}"))
    other = type(stock)(manager, await manager.stock_peer("fleet"), key=b"o" * 16)
    links = []
    for one in (stock, other):
        link, end = manager.hold(one.peer)
        await manager.hear(end, one.message(agent_description=describe()))
        links.append(link)
    await manager.publish(otelcol("otlp"))
    mine, theirs = ([parse_upstream(data) for data in link.sent] for link in links)
    assert [heard.instance_uid for heard in mine] == [stock.key]
    assert theirs == []


async def test_quirk_python_1_and_7_nothing_depends_on_what_it_ignores(manager, stock):
    """It has no header with its uid, and adopts neither another uid nor settings; it stays who it is."""
    stock.capabilities |= SETTINGS
    await stock.begin()
    await stock.say(flags=REQUEST_INSTANCE_UID)
    for _ in range(12):
        manager.clock.elapsed += 10
        assert (await stock.say()).instance_uid == stock.key
    assert len(list(manager.book.records())) == 1


async def test_quirk_python_10_a_refusal_is_never_a_2xx(manager, stock):
    """It takes any 2xx for an answer, with any body."""
    stock.peer = await manager.stock_peer("lab", accepts=False)
    await stock.begin()
    await manager.service.refuse(ADMIN, stock.record.uid)
    await manager.bring()
    with pytest.raises(Refused) as caught:
        await stock.say()
    assert caught.value.refusal.status == 403


async def test_quirk_node_2_and_go_3_a_new_token_serves_as_soon_as_it_is_told(manager, monkeypatch):
    """One that is refused with 401 stays away for 30 s, or drops what it said; so a large group is not waited for."""
    never = asyncio.Event()
    monkeypatch.setattr(manager.book, "refresh", lambda _groups: never.wait())
    manager.live.groups_changed(["fleet"])
    running = asyncio.ensure_future(manager.live.run())
    try:
        made = await manager.service.create_token(ADMIN, kind="stock", group="fleet", accepts=True)
        peer = Peer(address="192.0.2.1", bearer=made.secret)
        assert manager.hub.admit(peer, held=False, uid=b"") is None
        await manager.service.revoke_token(ADMIN, made.token.id)
        assert manager.hub.admit(peer, held=False, uid=b"").status == 401
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
