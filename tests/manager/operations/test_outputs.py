"""What operations printed: asked for, kept within bounds, and dropped; and how long operations are kept."""

import asyncio

import pytest
from tests.manager.conftest import ADMIN
from tests.manager.ordering import output_of

from popham.errors import NotFoundError, TrustError
from popham.manager.operations import outputs
from popham.manager.operations.history import History
from popham.model.operation import OperationState

BODY = b"line\n" * 300


async def printed(fleet, number=0, body=BODY):
    """Order something, and have an agent say that it printed something; return the digest."""
    made = await fleet.order("diagnose", f"a{number}")
    document = next(one for one in fleet.hear(number) if one.operation == made.name)
    await fleet.answer(number, document, text="line", body=body)
    return output_of(body).sha256


async def test_f_o4_an_output_is_asked_for_once_the_result_is_durable_and_kept(fleet):
    digest = await printed(fleet)
    record = fleet.record(0)
    assert fleet.register.lacks_outputs(record) == (digest,)
    shown = (await fleet.target("op1", 0)).output
    assert (shown.sha256, shown.length, shown.kept) == (digest, len(BODY), False)
    with pytest.raises(NotFoundError):
        await fleet.service.operation_output(ADMIN, "op1", "a0")
    await fleet.register.take_output(record, digest, BODY)
    assert fleet.register.lacks_outputs(record) == ()
    assert await fleet.service.operation_output(ADMIN, "op1", "a0") == BODY
    assert (await fleet.target("op1", 0)).output.kept
    await fleet.register.take_output(record, digest, BODY)  # the answer that took it was lost


async def test_f_o4_an_output_is_still_asked_for_after_a_restart(fleet):
    digest = await printed(fleet)
    await fleet.start()
    record = fleet.record(0)
    assert fleet.register.lacks_outputs(record) == (digest,)
    await fleet.register.take_output(record, digest, BODY)
    await fleet.start()
    assert fleet.record(0).orders is None
    assert (await fleet.target("op1", 0)).output.kept


async def test_f_o4_what_is_not_the_output_that_was_named_is_refused(fleet):
    digest = await printed(fleet)
    with pytest.raises(TrustError) as caught:
        await fleet.register.take_output(fleet.record(0), digest, BODY[:-1] + b"!")
    assert caught.value.code == "trust.blob"
    with pytest.raises(NotFoundError):
        await fleet.register.take_output(fleet.record(1), digest, BODY)
    with pytest.raises(NotFoundError):
        await fleet.service.operation_output(ADMIN, "op1", "a0")


async def test_f_o4_of_too_many_outputs_the_oldest_are_dropped(fleet):
    fleet.register.outputs._total = 3000
    for number in range(3):
        body = bytes([number]) * 1500
        digest = await printed(fleet, number, body)
        await fleet.register.take_output(fleet.record(number), digest, body)
        fleet.clock.at += 1.0
    kept = [(await fleet.target(f"op{number + 1}", number)).output.kept for number in range(3)]
    assert kept == [False, True, True]
    assert len(await fleet.store.read(lambda tx: tx.outputs())) == 2


async def test_an_output_that_comes_twice_at_once_is_counted_once(fleet):
    fleet.register.outputs._total = 3000
    digest = await printed(fleet)
    take = [fleet.register.take_output(fleet.record(0), digest, BODY) for _ in range(5)]
    await asyncio.gather(*take)
    assert await fleet.service.operation_output(ADMIN, "op1", "a0") == BODY
    other = await printed(fleet, 1, b"x" * 1500)
    await fleet.register.take_output(fleet.record(1), other, b"x" * 1500)
    assert (await fleet.target("op1", 0)).output.kept, "there is room for both"


async def test_an_output_that_another_operation_made_meanwhile_is_kept_for_both(fleet):
    names = [(await fleet.order("diagnose", "a0")).name for _ in range(2)]
    first, second = fleet.hear(0)
    await fleet.answer(0, first, body=BODY)
    (digest,) = fleet.register.lacks_outputs(fleet.record(0))
    store = fleet.register.outputs._store

    class Slow:
        async def write(self, work):
            fleet.register.outputs._store = store
            await fleet.answer(0, second, body=BODY)
            return await store.write(work)

    fleet.register.outputs._store = Slow()
    await fleet.register.take_output(fleet.record(0), digest, BODY)
    assert [await fleet.service.operation_output(ADMIN, name, "a0") for name in names] == [BODY, BODY]
    assert fleet.register.lacks_outputs(fleet.record(0)) == ()


async def test_an_output_that_is_lost_on_the_machine_is_asked_for_no_more(fleet):
    made = await fleet.order("diagnose", "a0")
    (document,) = fleet.hear(0)
    await fleet.answer(0, document, text="line", body=BODY)
    assert await fleet.answer(0, document, text="line", revision=2) == (f"{document.nonce}:2",)
    found = await fleet.target(made.name, 0)
    assert (found.state, found.text, found.output.kept) == ("succeeded", "line", False)
    assert fleet.register.lacks_outputs(fleet.record(0)) == ()
    await fleet.start()
    assert fleet.record(0).orders is None


async def test_an_output_of_an_operation_that_is_deleted_is_asked_for_no_more(fleet):
    digest = await printed(fleet)
    await History(fleet.store, fleet.register.outputs, fleet.clock, count=0).sweep()
    assert fleet.register.outputs.awaited() == {}
    with pytest.raises(NotFoundError):
        await fleet.register.take_output(fleet.record(0), digest, BODY)
    assert fleet.record(0).orders is None
    assert await fleet.store.read(lambda tx: tx.outputs()) == []


async def test_an_agent_has_outputs_of_what_puts_something_out_and_once_that_is_over(fleet):
    await fleet.order("collect", "a0")
    await fleet.order("diagnose", "a0")
    collect, diagnose = fleet.hear(0)
    await fleet.answer(0, collect, body=BODY)
    for revision in range(1, 9):
        body = bytes([revision]) * 100
        await fleet.answer(0, diagnose, OperationState.RUNNING, revision=revision, body=body)
    assert fleet.register.outputs.awaited() == {}
    assert fleet.register.lacks_outputs(fleet.record(0)) == ()


async def test_f_o4_outputs_and_operations_are_kept_for_a_time(fleet):
    digest = await printed(fleet)
    await fleet.register.take_output(fleet.record(0), digest, BODY)
    await printed(fleet, 1)
    await fleet.order("collect", "a2", expires=200 * 86_400.0)
    history = History(fleet.store, fleet.register.outputs, fleet.clock)
    await history.sweep()
    assert (await fleet.target("op1", 0)).output.kept
    fleet.clock.at += outputs.KEPT + 1.0
    await history.sweep()
    assert not (await fleet.target("op1", 0)).output.kept
    assert await fleet.store.read(lambda tx: tx.outputs()) == []
    assert fleet.register.outputs.awaited() == {}
    fleet.clock.at += 60 * 86_400.0
    await history.sweep()
    assert [one.name for one in (await fleet.service.operations(ADMIN)).items] == ["op3"]


async def test_f_o4_so_many_operations_are_kept_and_those_that_go_on(fleet):
    await fleet.order("collect", "a0")
    for _ in range(4):
        made = await fleet.order("collect", "a1")
        await fleet.service.cancel_operation(ADMIN, made.name)
    await History(fleet.store, fleet.register.outputs, fleet.clock, count=2).sweep()
    assert [one.name for one in (await fleet.service.operations(ADMIN)).items] == ["op5", "op4", "op1"]
