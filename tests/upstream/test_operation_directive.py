"""What a directive says of operations: to whom, how often, and in which room."""

import asyncio
from dataclasses import replace

import pytest

from popham.model.fleet import Admission
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import CommandType
from popham.opamp.wire import HELD_MESSAGE_LIMIT
from popham.trust.operation import LIMIT
from popham.upstream import news
from popham.upstream.directive import ORDERS_ROOM, quiet

from .conftest import describe, files, otelcol
from .ordering import NONCES, Ordered, directive, turns

RESTARTS = 0x400


async def held(manager, agent):
    """Open a link, and return it, its end and the answer to the first report."""
    link, end = manager.hold(agent.agent.peer())
    agent.agent.end.opened()
    return link, end, await manager.hear(end, agent.agent.end.report(force=True))


async def test_f_o4_an_order_is_offered_in_every_answer_until_a_result_was_heard(manager, ordering, ordered):
    ordering.order(manager, ordered.record, NONCES[0])
    for _ in range(3):
        assert ordered.nonces(await ordered.say()) == NONCES[:1]
    assert ordering.told_of == [("a", (NONCES[0],))] * 3
    assert ordering.sealed == NONCES[:1], "the document is signed once"
    answer = await ordered.say(ordered.result(NONCES[0], "running"))
    assert (ordered.nonces(answer), list(directive(answer).heard)) == ([], [f"{NONCES[0]}:1"])
    assert manager.hub.counts.operations == 3


async def test_an_agent_of_whom_nothing_is_ordered_any_more_is_settled_again(manager, ordering, ordered):
    ordering.order(manager, ordered.record, NONCES[0])
    await ordered.say()
    assert ordered.record.settled is None, "its next heartbeat is looked at"
    await ordered.say(ordered.result(NONCES[0]))
    assert ordered.record.orders is None
    assert (await ordered.say()).SerializeToString() == quiet(ordered.record.key)
    assert ordered.record.settled is manager.book.wanted("lab")


async def test_who_is_followed_is_heard_of_at_each_contact_and_told_nothing(manager, ordering, ordered):
    ordering.orders(ordered.record).followed = True
    before = ordering.reports
    for _ in range(2):
        assert (await ordered.say()).SerializeToString() == quiet(ordered.record.key)
    assert ordering.reports == before + 2


async def test_f_o4_at_most_four_documents_travel_at_once_the_oldest_first(manager, ordering, ordered):
    for nonce in NONCES[:6]:
        ordering.order(manager, ordered.record, nonce)
    assert ordered.nonces(await ordered.say()) == NONCES[:4]
    assert ordered.nonces(await ordered.say(ordered.result(NONCES[0], "running"))) == NONCES[1:5]


@pytest.mark.parametrize("generation", [0, 2])
async def test_an_agent_that_knows_no_operations_is_offered_none(manager, ordering, ordered, generation):
    record = ordered.record
    record.note_state(replace(record.state, generation=generation), record.envelope)
    ordering.order(manager, record, NONCES[0])
    assert (await ordered.say()).SerializeToString() == quiet(record.key)
    assert ordering.sealed == []
    assert ordering.reports > 0, "whoever keeps operations hears of it"


async def test_an_agent_that_waits_to_be_accepted_is_offered_nothing(manager, ordering, ordered):
    ordering.order(manager, ordered.record, NONCES[0])
    ordered.record.admission = Admission.NEW
    assert ordered.nonces(await ordered.say()) == []
    assert ordering.told_of == []


async def test_an_http_answer_has_room_for_large_documents(manager, ordering, ordered):
    for nonce in NONCES[:4]:
        ordering.order(manager, ordered.record, nonce, size=LIMIT - 1500)
    answer = await ordered.say()
    assert ordered.nonces(answer) == NONCES[:4]
    assert HELD_MESSAGE_LIMIT < len(answer.SerializeToString()) < ORDERS_ROOM


# Held links.


async def test_f_p1_what_is_ordered_over_a_held_link_is_never_over_8_kib(manager, ordering, ordered):
    link, end, _ = await held(manager, ordered)
    for nonce in NONCES[:4]:
        ordering.order(manager, ordered.record, nonce, size=1700)
    ordering.orders(ordered.record).heard += [f"{nonce}:9" for nonce in NONCES * 2]
    manager.hub.tell_orders([ordered.agent.uid])
    await manager.bring()
    ordered.record.assignment_seq += 1
    ordering.orders(ordered.record).heard += [f"{nonce}:9" for nonce in NONCES * 2]
    answer = await manager.hear(end, ordered.message())
    assert directive(answer).assignment
    for said in (link.sent[-1], answer.SerializeToString()):
        assert 0 < len(ordered.nonces(said)) < 4
        assert len(directive(said).heard) == 32
        assert len(said) + 1 <= HELD_MESSAGE_LIMIT


async def test_an_order_is_told_over_a_held_link_at_once_and_not_again_by_other_news(
    manager, ordering, ordered
):
    link, end, _ = await held(manager, ordered)
    ordering.order(manager, ordered.record, NONCES[0])
    manager.hub.tell_orders([ordered.agent.uid, ordered.agent.uid])
    await manager.bring()
    assert [ordered.nonces(sent) for sent in link.sent] == [NONCES[:1]]
    manager.hub.tell(ordered.agent.uid)
    manager.hub.changed(["lab"])
    await manager.bring()
    assert len(link.sent) == 1, "it was offered, and is not heard of yet"
    assert ordered.nonces(await manager.hear(end, ordered.message())) == NONCES[:1]
    end.closed(1006)
    _, _, answer = await held(manager, ordered)
    assert ordered.nonces(answer) == NONCES[:1]


async def test_beside_a_bundle_orders_wait_for_a_message_of_their_own_right_after(manager, ordering, ordered):
    link, end, _ = await held(manager, ordered)
    ordering.order(manager, ordered.record, NONCES[0])
    await manager.publish(files("two"))
    assert [ordered.nonces(sent) for sent in link.sent] == [[]], "the bundle alone"
    answer = await manager.hear(end, ordered.message())
    assert answer.HasField("remote_config")
    assert ordered.nonces(answer) == []
    await manager.bring()
    assert [ordered.nonces(sent) for sent in link.sent] == [[], NONCES[:1]]
    assert not parse_upstream(link.sent[-1]).HasField("remote_config")


async def test_what_is_told_to_many_is_never_anybodys_order(manager, ordering, ordered):
    other = Ordered(manager, await manager.add_agent("b", "lab"))
    await other.agent.round()
    links = [(await held(manager, one))[0] for one in (ordered, other)]
    ordering.order(manager, ordered.record, NONCES[0])
    ordering.order(manager, other.record, NONCES[1])
    manager.hub.tell_orders([ordered.agent.uid, other.agent.uid])
    await manager.bring()
    # Each would be refused by the other: another audience.
    assert ordered.nonces(links[0].sent[-1]) == NONCES[:1]
    assert other.nonces(links[1].sent[-1]) == NONCES[1:2]


async def test_who_is_visited_is_not_asked_for_outputs(manager, ordering, ordered):
    ordering.orders(ordered.record).want_outputs["ab" * 32] = None
    answer = await ordered.say()
    assert list(directive(answer).want_outputs) == ["ab" * 32]
    peer = ordered.agent.peer()
    peer.uid, peer.key = ordered.agent.uid, ordered.record.public_key
    answer = await ordered.say(peer=peer)
    assert answer.SerializeToString() == quiet(ordered.record.key)


async def test_f_o4_telling_very_many_gives_the_loop_its_turns(manager, ordering, ordered, monkeypatch):
    cost, agents, record = 0.001, 60, ordered.record
    monkeypatch.setattr(manager.book, "record", lambda _uid: record)
    told, longest, last = [], 0.0, manager.clock.monotonic()

    def order(record):
        manager.clock.elapsed += cost
        told.append(record.uid)

    manager.hub._news._order = order
    manager.hub.tell_orders(f"agent {number}" for number in range(agents))
    running = asyncio.ensure_future(manager.hub.publish())
    while len(told) < agents:
        await turns(1)
        longest, last = max(longest, manager.clock.monotonic() - last), manager.clock.monotonic()
    running.cancel()
    assert longest <= news.SLICE + news.SIGNED_STEP * cost


# Stock agents.


async def test_ops_44_a_stock_agents_restart_is_alone_in_its_message_and_said_once(manager, ordering, stock):
    stock.capabilities |= RESTARTS
    await stock.begin()
    ordering.orders(stock.record).restart = NONCES[0]
    await manager.publish(otelcol(exporter="file"))
    answer = await stock.say()
    assert answer.command.type == CommandType.CommandType_Restart
    fields = {field.name for field, _ in answer.ListFields()}
    assert fields == {"instance_uid", "capabilities", "command"}
    assert ordering.told_of == [(stock.record.name, (NONCES[0],))]
    answer = await stock.say(agent_description=describe())
    assert not answer.HasField("command")
    assert answer.HasField("remote_config")


async def test_a_stock_agent_on_a_link_is_restarted_at_once(manager, ordering, stock):
    stock.capabilities |= RESTARTS
    link, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    ordering.orders(stock.record).restart = NONCES[0]
    manager.hub.tell_orders([stock.record.uid] * 2)
    await manager.bring()
    assert [parse_upstream(sent).HasField("command") for sent in link.sent] == [True]


async def test_a_stock_agent_that_takes_no_command_is_sent_none(manager, ordering, stock):
    await stock.begin()
    ordering.orders(stock.record).restart = NONCES[0]
    ordering.order(manager, stock.record, NONCES[1])
    answer = await stock.say()
    assert not answer.HasField("command")
    assert not answer.HasField("custom_message")
    assert ordering.told_of == []
