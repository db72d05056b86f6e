"""Results of operations: durable before they are named as heard, believed from their agent only."""

import asyncio
import re
from dataclasses import replace

import pytest

from popham.errors import StateError
from popham.model.operation import DOCUMENTS
from popham.opamp.codec import custom
from popham.opamp.schema.popham.v1.popham_pb2 import Report
from popham.testing.direct import DirectManager
from popham.trust.keys import IdentityKey
from popham.trust.operation import LIMIT
from popham.upstream.orders import HEARD, KEPT, Order, Orders

from .ordering import NONCES, Ordered, directive, turns


def heard(answer):
    return list(directive(answer).heard)


async def test_f_o4_a_result_is_durable_before_the_answer_that_names_it_as_heard(ordering, ordered):
    ordering.slow = asyncio.get_running_loop().create_future()
    saying = asyncio.ensure_future(ordered.say(ordered.result(NONCES[0])))
    await turns()
    assert not saying.done()
    assert ordering.heard == []
    ordering.slow.set_result(None)
    assert heard(await saying) == [f"{NONCES[0]}:1"]
    assert ordering.heard == [(NONCES[0], "succeeded")]


async def test_a_result_that_cannot_be_written_is_not_named(manager, ordering, ordered):
    ordering.slow = asyncio.get_running_loop().create_future()
    ordering.slow.set_exception(StateError("disk_full", "no room"))
    with pytest.raises(StateError):
        await ordered.say(ordered.result(NONCES[0]))
    ordering.slow = None
    assert heard(await ordered.say(ordered.result(NONCES[0]))) == [f"{NONCES[0]}:1"]


async def test_an_answer_that_is_given_up_does_not_end_what_others_wait_for(manager, ordering, ordered):
    shared = asyncio.get_running_loop().create_future()
    ordering.hear = lambda _record, _results: shared
    saying = asyncio.ensure_future(ordered.say(ordered.result(NONCES[0])))
    await turns()
    saying.cancel()
    await turns()
    assert not shared.cancelled()
    shared.set_result(None)


async def test_a_result_whose_answer_was_lost_is_named_again_and_written_once(ordering, ordered):
    for _ in range(3):
        assert heard(await ordered.say(ordered.result(NONCES[0]))) == [f"{NONCES[0]}:1"]
    assert len(ordering.heard) == 1
    assert heard(await ordered.say(ordered.result(NONCES[0], "running", 1))) == [f"{NONCES[0]}:1"]
    assert ordering.heard == [(NONCES[0], "succeeded")], "an older one played again changes nothing"


@pytest.mark.parametrize("what", ["another key", "another agent", "too large", "no envelope"])
async def test_sec_a_result_that_is_not_this_agents_refuses_all_that_came_with_it(
    manager, ordering, ordered, what
):
    other = Ordered(manager, await manager.add_agent("b", "lab"))
    bad = {
        "another key": ordered.result(NONCES[0], key=IdentityKey.create()),
        "another agent": other.result(NONCES[0]),
        "too large": bytes(LIMIT + 1),
        "no envelope": b"{}",
    }[what]
    record, before = ordered.record, ordered.record.edition
    report = Report(results=[ordered.result(NONCES[1]), bad], lacks=["ab" * 32])
    message = ordered.message()
    message.custom_message.CopyFrom(custom(report))
    answer = await manager.say(ordered.agent.peer(), message)
    assert re.search(r"trust\.[a-z]+", answer.error_response.error_message)
    assert {field.name for field, _ in answer.ListFields()} == {
        "instance_uid",
        "capabilities",
        "error_response",
    }
    assert (ordering.heard, record.lacks, record.edition) == ([], (), before)
    assert heard(await ordered.say(ordered.result(NONCES[1]))) == [f"{NONCES[1]}:1"], (
        "it is heard all the same"
    )


async def test_no_more_results_are_looked_at_than_one_report_may_have(ordering, ordered):
    answer = await ordered.say(*map(ordered.result, NONCES[: DOCUMENTS + 3]))
    assert heard(answer) == [f"{nonce}:1" for nonce in NONCES[:DOCUMENTS]]


@pytest.mark.parametrize("generation", [0, 2])
async def test_sec_an_agent_that_is_told_of_no_operations_fills_no_memory_with_results(
    ordering, ordered, generation
):
    record = ordered.record
    record.note_state(replace(record.state, generation=generation), record.envelope)
    for nonce in NONCES:
        await ordered.say(ordered.result(nonce))
    assert (record.orders, ordering.heard) == (None, [])


async def test_over_a_held_link_results_are_answered_in_their_order(manager, ordering, ordered):
    ordering.slow = asyncio.get_running_loop().create_future()
    _, end = manager.hold(ordered.agent.peer())
    first = asyncio.ensure_future(manager.hear(end, ordered.message(ordered.result(NONCES[0]))))
    await turns()
    assert not first.done()
    ordering.slow.set_result(None)
    assert heard(await first) == [f"{NONCES[0]}:1"]
    assert manager.hub.counts.results == 1


async def test_results_in_a_goodbye_are_durable_before_it_is_answered(manager, ordering, ordered):
    link, end = manager.hold(ordered.agent.peer())
    await manager.hear(end, ordered.message())
    assert ordered.record.link is link
    goodbye = ordered.message(ordered.result(NONCES[0]), agent_disconnect={})
    answer = await manager.hear(end, goodbye)
    assert directive(answer) is None
    assert ordering.heard == [(NONCES[0], "succeeded")]
    assert ordered.record.link is None


async def test_whoever_keeps_operations_hears_of_reports_and_of_agents_with_orders(ordering, ordered):
    before = ordering.reports
    await ordered.say()
    assert ordering.reports == before
    ordering.orders(ordered.record).open[NONCES[0]] = Order(NONCES[0], lambda: b"sealed")
    await ordered.say()
    assert ordering.reports == before + 1


async def test_where_nothing_is_ordered_results_change_nothing(keys):
    manager = DirectManager(keys)
    await manager.start()
    agent = Ordered(manager, await manager.add_agent("a"))
    await agent.agent.round()
    answer = await agent.say(agent.result(NONCES[0]))
    assert not answer.HasField("error_response")
    assert heard(answer) == []


def test_what_is_said_is_bounded_and_what_was_heard_is_named_once():
    orders = Orders()
    orders.heard.extend(f"{number}:1" for number in range(HEARD + 1))
    orders.open = {nonce: Order(nonce, lambda: bytes(1000)) for nonce in NONCES}
    first = orders.say(3_000)
    assert (len(first.heard), len(first.operations)) == (HEARD, 2)
    second = orders.say(64_000)
    assert (second.heard, len(second.operations), second.nonces) == (
        (f"{HEARD}:1",),
        DOCUMENTS,
        tuple(NONCES[:4]),
    )
    assert orders.say(500).operations == ()


async def test_sec_results_that_are_never_answered_fill_no_memory(ordering, ordered):
    for number in range(KEPT + 40):
        await ordered.say(ordered.result(f"{number:032x}"), agent_disconnect={})
    assert len(ordered.record.orders.heard) <= KEPT
    assert len(heard(await ordered.say())) == HEARD
