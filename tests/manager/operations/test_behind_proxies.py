"""Operations for agents behind Proxy Managers, which have the documents before the agents do."""

import pytest
from tests.manager.conftest import ADMIN
from tests.manager.rolling import uid_of

from popham.model.operation import Kind, OperationState
from popham.trust.operation import open_operation


@pytest.fixture
def behind(fleet):
    """The first agent, at a proxy that was told what is ordered of it."""
    record = fleet.record(0)
    record.via = ("proxy",)
    return record


def hand_on(fleet, record):
    """Have the proxy told; the agent has not been in contact since."""
    sealed = [order.sealed() for order in record.orders.open.values()]
    return [open_operation(one, tuf=fleet.tuf, uid=record.uid) for one in sealed]


async def test_f_o4_what_a_proxy_has_is_taken_back_by_a_document_that_the_agent_obeys(fleet, behind):
    await fleet.order("collect", "a0")
    (document,) = hand_on(fleet, behind)
    shown = await fleet.service.cancel_operation(ADMIN, "op1")
    assert shown.counts == {"queued": 1}
    assert fleet.told[-1] == uid_of(0)
    cancel, first = hand_on(fleet, behind)
    assert (first.nonce, cancel.kind, cancel.args) == (document.nonce, Kind.CANCEL, {"nonce": document.nonce})
    await fleet.answer(0, document, OperationState.CANCELLED)
    assert await fleet.states("op1") == {"cancelled": 1}


async def test_f_o4_what_no_proxy_has_yet_is_cancelled_at_once_and_the_proxy_is_told(fleet, behind):
    await fleet.order("collect", "a0")
    fleet.told.clear()
    shown = await fleet.service.cancel_operation(ADMIN, "op1")
    assert shown.counts == {"cancelled": 1}
    assert fleet.told == [uid_of(0)]


async def test_f_o4_what_a_proxy_has_expires_once_its_agents_answer_could_have_come(fleet, behind):
    await fleet.order("collect", "a0")
    (document,) = hand_on(fleet, behind)
    fleet.clock.at = document.expires + 1.0
    await fleet.register.expire()
    await fleet.register.settle()
    assert await fleet.states("op1") == {"queued": 1}
    fleet.clock.at += behind.promise + 3600.0
    await fleet.register.expire()
    await fleet.register.settle()
    assert await fleet.states("op1") == {"expired": 1}
    assert fleet.told[-1] == uid_of(0)


async def test_f_o4_what_a_proxy_has_is_taken_back_after_a_new_start_before_the_proxy_was_heard(
    fleet, behind
):
    await fleet.order("collect", "a0")
    (document,) = hand_on(fleet, behind)
    await fleet.register.settle()
    await fleet.start()
    record = fleet.record(0)
    assert not record.via, "nobody has said yet where the agent is"
    shown = await fleet.service.cancel_operation(ADMIN, "op1")
    assert shown.counts == {"queued": 1}
    cancel, first = hand_on(fleet, record)
    assert (first.nonce, cancel.kind, cancel.args) == (document.nonce, Kind.CANCEL, {"nonce": document.nonce})
    await fleet.answer(0, document, OperationState.CANCELLED)
    assert await fleet.states("op1") == {"cancelled": 1}


async def test_f_o4_what_nobody_was_handed_is_cancelled_at_once_after_a_new_start_too(fleet):
    await fleet.order("collect", "a0")
    await fleet.register.settle()
    await fleet.start()
    assert (await fleet.service.cancel_operation(ADMIN, "op1")).counts == {"cancelled": 1}
