"""Operations that go on: how they reach agents, what agents say of them, and what survives a restart."""

import asyncio
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN
from tests.manager.ordering import Fleet, uid_of

from popham.errors import StateError, TrustError
from popham.manager.bundles import Bundles
from popham.manager.definitions import found_fleet
from popham.manager.operations.ledger import BATCH
from popham.manager.operations.register import LASTS, SLICE, TOLD
from popham.model.fleet import Admission
from popham.model.operation import DOCUMENTS, Kind, OperationState
from popham.store.rows import AgentRow
from popham.testing.direct import CountingStore
from popham.trust.keys import IdentityKey


async def test_f_o4_an_operation_goes_through_its_states_and_its_result_is_kept(fleet):
    made = await fleet.order("collect", "a0", "a1")
    assert (made.name, made.state, made.counts) == ("op1", "open", {"queued": 2})
    (document,) = fleet.hear(0)
    assert (document.kind, document.operation, document.uid) == (Kind.COLLECT, "op1", uid_of(0))
    await fleet.register.settle()
    assert await fleet.states("op1") == {"sent": 1, "queued": 1}
    heard = await fleet.answer(0, document, OperationState.RUNNING, began=5.0)
    assert heard == (f"{document.nonce}:1",)
    assert fleet.hear(0) == []
    assert await fleet.states("op1") == {"running": 1, "queued": 1}
    heard = await fleet.answer(0, document, revision=2, text="12 files", began=5.0, ended=6.0)
    assert heard == (f"{document.nonce}:2",)
    found = await fleet.target("op1", 0)
    assert (found.state, found.text, found.began, found.ended) == ("succeeded", "12 files", 5.0, 6.0)
    await fleet.answer(1, fleet.hear(1)[0], OperationState.FAILED, code="policy.syntax", text="line 3")
    shown = await fleet.service.operation(ADMIN, "op1")
    assert (shown.state, shown.counts) == ("over", {"succeeded": 1, "failed": 1})
    assert fleet.register.operations == 0
    assert fleet.register.open == {}
    assert fleet.register.ended == {"succeeded": 1, "failed": 1}


async def test_f_o4_a_document_is_offered_in_each_answer_and_signed_once(fleet):
    await fleet.order("collect", "a0")
    first, second = fleet.hear(0), fleet.hear(0)
    assert first == second
    assert len(first) == 1
    assert fleet.record(0).settled is None


async def test_f_o4_a_result_that_is_replayed_changes_nothing_and_is_named_as_heard_again(fleet):
    await fleet.order("collect", "a0", "a1")
    (document,) = fleet.hear(0)
    await fleet.answer(0, document, OperationState.RUNNING, text="first")
    record = fleet.record(0)
    again = fleet.register.hear(record, [fleet.result(document, OperationState.RUNNING, text="other")])
    assert again is None
    assert record.orders.say(9000).heard == (f"{document.nonce}:1",)
    assert (await fleet.target("op1", 0)).text == "first"
    await fleet.answer(0, document, revision=2, text="done")
    assert await fleet.answer(0, document, OperationState.FAILED, revision=2) == (f"{document.nonce}:2",)
    assert (await fleet.target("op1", 0)).state == "succeeded"


async def test_f_o4_a_forged_result_is_refused_and_changes_nothing(fleet):
    await fleet.order("collect", "a0", "a1")
    (document,), (other,) = fleet.hear(0), fleet.hear(1)
    forged = fleet.result(document, key=IdentityKey.create())
    with pytest.raises(TrustError):
        fleet.register.hear(fleet.record(0), [fleet.result(document), forged])
    with pytest.raises(TrustError):  # another agent's word, in this one's mouth
        fleet.register.hear(fleet.record(0), [fleet.result(other)])
    await fleet.register.settle()
    assert await fleet.states("op1") == {"sent": 2}


async def test_f_o4_a_result_is_heard_once_it_is_durable(bench):
    bench.store = bench.service._store = store = CountingStore()
    await store.write(lambda tx: found_fleet(tx, Bundles(bench.keys.director), now=bench.clock.at))
    fleet = Fleet(bench)
    await fleet.begin(1)
    await fleet.order("collect", "a0")
    (document,) = fleet.hear(0)
    await fleet.register.settle()
    record = fleet.record(0)
    store.broken = StateError("broken", "the disk is gone")
    with pytest.raises(StateError):
        await fleet.register.hear(record, [fleet.result(document)])
    assert not record.orders or record.orders.say(9000).heard == ()
    store.broken = None
    assert await fleet.answer(0, document) == (f"{document.nonce}:1",)
    assert await fleet.states("op1") == {"succeeded": 1}


async def test_f_o4_a_manager_killed_between_sent_and_result_offers_it_again_and_hears_the_result(fleet):
    await fleet.order("collect", "a0", "a1")
    (before,) = fleet.hear(0)
    await fleet.answer(1, fleet.hear(1)[0], OperationState.RUNNING)
    await fleet.start()
    assert await fleet.states("op1") == {"sent": 1, "running": 1}
    (after,) = fleet.hear(0)
    assert after.nonce == before.nonce
    assert fleet.hear(1) == []
    await fleet.answer(0, before)
    await fleet.answer(1, fleet_document(fleet, 1), revision=2)
    assert (await fleet.service.operation(ADMIN, "op1")).state == "over"


def fleet_document(fleet, number):
    """Return what an agent knows of what it runs, from before the restart."""
    (entry,) = fleet.register._targets.of_agent(uid_of(number))

    class Document:
        uid, operation, nonce = entry.row.uid, entry.going.stored.name, entry.row.nonce

    return Document


async def test_f_o4_an_operation_for_an_agent_that_never_returns_expires(fleet):
    await fleet.order("collect", "a0")
    await fleet.pass_time(599.0)
    assert await fleet.states("op1") == {"queued": 1}
    await fleet.pass_time(2.0)
    found = await fleet.target("op1", 0)
    assert (found.state, found.sent, found.text) == ("expired", 0.0, "its agent was not in contact in time")
    assert fleet.record(0).orders is None
    assert (await fleet.service.operation(ADMIN, "op1")).state == "over"


async def test_f_o4_who_was_told_has_until_its_next_contact_to_say_what_became_of_it(fleet):
    await fleet.order("collect", "a0")
    fleet.hear(0)
    await fleet.pass_time(601.0)
    assert await fleet.states("op1") == {"sent": 1}
    assert fleet.hear(0) == []
    await fleet.pass_time(60.0 + TOLD)
    found = await fleet.target("op1", 0)
    assert (found.state, found.text) == ("expired", "it was told, and has not said whether it began")


async def test_f_o4_what_ran_and_was_not_heard_of_since_is_unknown(fleet):
    await fleet.order("collect", "a0")
    await fleet.answer(0, fleet.hear(0)[0], OperationState.RUNNING)
    await fleet.pass_time(601.0)
    await fleet.pass_time(60.0 + LASTS)
    assert await fleet.states("op1") == {"unknown": 1}


async def test_what_is_said_of_an_operation_that_expired_is_kept_as_text(fleet):
    await fleet.order("collect", "a0")
    (document,) = fleet.hear(0)
    await fleet.pass_time(601.0)
    await fleet.pass_time(60.0 + TOLD)
    assert await fleet.answer(0, document, text="12 files", ended=7.0) == (f"{document.nonce}:1",)
    found = await fleet.target("op1", 0)
    assert (found.state, found.ended) == ("expired", 7.0)
    assert found.text == "heard after it was expired: succeeded: 12 files"
    assert await fleet.answer(0, document, OperationState.FAILED) == (f"{document.nonce}:1",)
    assert (await fleet.target("op1", 0)).text == found.text


async def test_a_result_of_an_operation_that_nobody_knows_is_heard_so_that_it_is_not_said_for_ever(fleet):
    await fleet.order("collect", "a0")
    (document,) = fleet.hear(0)
    await fleet.store.write(lambda tx: tx.delete_operation(1))
    await fleet.start()
    assert await fleet.answer(0, document) == (f"{document.nonce}:1",)


async def test_f_o4_what_was_not_told_is_cancelled_at_once(fleet):
    await fleet.order("collect", "a0", "a1")
    (document,) = fleet.hear(1)
    await fleet.answer(1, document, OperationState.RUNNING)
    shown = await fleet.service.cancel_operation(ADMIN, "op1")
    assert shown.counts == {"cancelled": 1, "running": 1}
    assert (await fleet.target("op1", 0)).cancelled_by == "ada"
    assert fleet.record(0).orders is None


async def test_f_o4_who_was_told_is_told_that_it_is_taken_back_also_after_a_restart(fleet):
    await fleet.order("collect", "a0")
    (document,) = fleet.hear(0)
    await fleet.service.cancel_operation(ADMIN, "op1")
    assert fleet.told[-1] == uid_of(0)
    cancel, first = fleet.hear(0)
    assert (first.nonce, cancel.kind, cancel.args) == (document.nonce, Kind.CANCEL, {"nonce": document.nonce})
    await fleet.start()
    assert [one.nonce for one in fleet.hear(0)] == [cancel.nonce, document.nonce]
    await fleet.answer(0, cancel)
    assert await fleet.states("op1") == {"sent": 1}
    await fleet.answer(0, document, OperationState.CANCELLED)
    assert fleet.hear(0) == []
    assert (await fleet.service.operation(ADMIN, "op1")).counts == {"cancelled": 1}
    assert (await fleet.service.cancel_operation(ADMIN, "op1")).state == "over"


async def test_f_o4_a_cancellation_is_told_before_what_waits_behind_what_it_ends(fleet):
    for _ in range(DOCUMENTS + 2):
        await fleet.order("collect", "a0")
    documents = fleet.hear(0)
    await fleet.answer(0, documents[0], OperationState.RUNNING)
    await fleet.service.cancel_operation(ADMIN, "op1")
    assert {"nonce": documents[0].nonce} in [one.args for one in fleet.hear(0)]


async def test_f_o4_ten_thousand_targets_are_kept_once_each_and_written_in_batches(bench):
    fleet = Fleet(bench)
    await fleet.begin(0)
    count = 10_000
    await fill(fleet, count)
    made = await fleet.order("collect")
    assert made.targets == count
    table = fleet.register._targets
    assert (fleet.register.open, len(table.deadlines)) == ({"queued": count}, count)
    assert all(
        not order.envelope for record in fleet.book.held.values() for order in record.orders.open.values()
    )
    counting = CountingWrites(fleet.store)
    table._ledger._store = counting
    for record in fleet.book.held.values():
        fleet.register.told(record, list(record.orders.open))
    await fleet.register.settle()
    assert counting.writes <= count // BATCH + 2
    for entry in [entry for record in fleet.book.held.values() for entry in table.of_agent(record.uid)]:
        table.become(entry, OperationState.SUCCEEDED)
    await fleet.register.settle()
    assert counting.writes <= 2 * (count // BATCH + 2)
    assert (await fleet.service.operation(ADMIN, "op1")).state == "over"
    assert (table.states, table._nonces, table._agents, table._going) == ({}, {}, {}, {})
    assert all(record.orders is None for record in fleet.book.held.values())


class CountingWrites:
    """A store that counts what is written."""

    def __init__(self, store):
        self.store, self.writes = store, 0

    async def write(self, work):
        self.writes += 1
        return await self.store.write(work)


async def fill(fleet, count):
    """Add agents that have never said anything."""
    rows = [
        AgentRow(uid=uid_of(n), name=f"a{n}", group="paris", kind="own", admission="accepted", first_seen=0.0)
        for n in range(count)
    ]
    await fleet.store.write(lambda tx: [tx.put_agent(row) for row in rows])
    await fleet.start()


async def test_an_agent_that_turns_out_to_be_older_is_told_nothing_and_the_operation_fails(fleet):
    fleet.record(0).envelope, fleet.record(0)._state = b"", None
    await fleet.order("collect", "a0")
    fleet.say(0, generation=0, agent_version="0.5.0")
    await fleet.register.settle()
    found = await fleet.target("op1", 0)
    assert (found.state, found.code, found.hint) == ("failed", "operation.generation", "Upgrade the agent")


async def test_deadlines_of_what_is_over_are_forgotten(fleet):
    (entry,) = await open_entries(fleet)
    deadlines = fleet.register._targets.deadlines
    for number in range(3000):
        deadlines.plan(entry, fleet.clock.at + number, open_targets=1)
    assert len(deadlines) < 1100


async def open_entries(fleet):
    await fleet.order("collect", "a0")
    return fleet.register._targets.of_agent(uid_of(0))


async def test_what_was_ordered_is_taken_up_though_whoever_asked_is_gone(fleet):
    asking = asyncio.ensure_future(fleet.order("collect", "a0"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await fleet.order("collect", "a1")
    assert fleet.register.open == {"queued": 2}
    assert fleet.hear(0)[0].operation == "op1"


async def test_f_o4_what_is_open_of_an_agent_that_is_shut_out_ends_at_once(fleet):
    await fleet.order("collect")
    fleet.hear(0)
    for number, admission in enumerate((Admission.REVOKED, Admission.REFUSED)):
        fleet.record(number).admission = admission
        fleet.register.shut_out(uid_of(number))
    del fleet.book.held[uid_of(2)]
    fleet.register.shut_out(uid_of(2))
    await fleet.register.settle()
    found = [await fleet.target("op1", number) for number in range(3)]
    assert {(one.state, one.code) for one in found} == {("failed", "operation.admission")}
    assert [one.text for one in found] == [
        "the agent was revoked by an administrator",
        "the agent was refused by an administrator",
        "the agent was deleted",
    ]
    assert (fleet.register.operations, fleet.record(0).orders) == (0, None)


async def test_f_o4_so_it_is_after_a_restart_and_where_it_was_shut_out_meanwhile(fleet):
    await fleet.order("collect", "a0")
    row = replace(await fleet.store.read(lambda tx: tx.agent(uid_of(0))), admission="revoked")
    await fleet.store.write(lambda tx: tx.put_agent(row))
    await fleet.start()
    await fleet.register.settle()
    assert await fleet.states("op1") == {"failed": 1}
    fleet.record(1).admission = Admission.REVOKED  # and its row is not read again yet
    await fleet.order("collect", "a1")
    await fleet.register.settle()
    assert (await fleet.target("op2", 1)).code == "operation.admission"


async def test_a_cancel_of_many_changes_nothing_of_what_is_over_meanwhile(bench):
    fleet = Fleet(bench)
    await fleet.begin(agents=SLICE + 1)
    made = await fleet.order("send")
    cancelling = asyncio.ensure_future(fleet.register.cancel(1, "olga"))
    await asyncio.sleep(0)
    last = max(range(SLICE + 1), key=uid_of)
    fleet.say(last)
    await cancelling
    assert await fleet.states(made.name) == {"cancelled": SLICE, "succeeded": 1}


async def test_what_is_said_while_the_end_of_a_target_is_written_is_kept_too(fleet):
    await fleet.order("collect", "a0")
    (document,) = fleet.hear(0)
    fleet.clock.at = fleet.register._targets.at(document.nonce).row.expires + 1e6
    await fleet.register.expire()
    waits = fleet.register.hear(fleet.record(0), [fleet.result(document, text="late")])
    await waits
    found = await fleet.target("op1", 0)
    assert (found.state, found.text) == ("expired", "heard after it was expired: succeeded: late")
