"""A candidate that agents hold: a send that follows until they do, and an apply that makes it part of what they have."""

import json
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, policy
from tests.manager.ordering import Fleet, uid_of

from popham.errors import ConflictError
from popham.manager.operations.stored import Asked
from popham.model.operation import OperationState


@pytest.fixture
async def fleet(bench):
    found = Fleet(bench)
    await found.begin()
    await bench.apply(policy(content="two"), hold=True)
    await found.refresh()
    return found


async def candidate(fleet):
    bundle = await fleet.bench.bundle("paris")
    return bundle.candidate.locations["default"].resolved_digest


async def test_f_y9_a_send_that_does_not_apply_is_done_once_the_candidate_is_held(fleet):
    await fleet.service.order(
        ADMIN, "send", Asked(agents=("a0", "a1")), args={"no_apply": True, "rollout": "r1"}
    )
    fleet.say(0, candidate="other")
    fleet.say(1, candidate_error="line 3 is wrong")
    await fleet.register.settle()
    assert (await fleet.target("op1", 0)).state == "sent"
    failed = await fleet.target("op1", 1)
    assert (failed.state, failed.code, failed.text) == ("failed", "operation.candidate", "line 3 is wrong")
    fleet.say(0, candidate=await candidate(fleet))
    await fleet.register.settle()
    found = await fleet.target("op1", 0)
    assert (found.state, found.text) == ("succeeded", "holds the candidate")


async def test_f_y9_apply_names_the_serial_and_becomes_part_of_what_the_agent_should_have(fleet):
    made = await fleet.order("apply", "a0", "a1")
    assert made.counts == {"queued": 2}
    (document,) = fleet.hear(0)
    serial = (await fleet.bench.bundle("paris")).serial
    assert document.args == {"group": "paris", "serial": serial, "rollout": "r1"}
    assert sorted(fleet.links.changed) == [uid_of(0), uid_of(1)]
    rows = await fleet.store.read(lambda tx: [tx.agent(uid_of(n)) for n in range(3)])
    assert [json.loads(row.overrides).get("candidate", "") for row in rows] == ["r1", "r1", ""]
    await fleet.answer(0, document, OperationState.FAILED, code="policy.syntax", text="line 3")
    retried = await fleet.service.retry(ADMIN, "op1")
    assert (retried.retry_of, retried.targets, retried.args) == ("op1", 1, {"rollout": ""})
    again = [one for one in fleet.hear(0) if one.operation == "op2"]
    assert again[0].args == document.args


async def test_an_agent_whose_group_has_no_candidate_fails_at_once_and_the_others_are_served(fleet):
    await fleet.store.write(lambda tx: tx.put_agent(replace(tx.agent(uid_of(2)), group="fleet")))
    await fleet.start()
    made = await fleet.order("apply", "a0", "a2")
    assert made.counts == {"queued": 1, "failed": 1}
    assert (await fleet.target("op1", 2)).code == "operation.no_candidate"


async def test_without_a_candidate_nothing_is_applied(fleet):
    await fleet.service.promote_rollout(ADMIN, "r1")
    with pytest.raises(ConflictError) as caught:
        await fleet.order("apply", "a0")
    assert caught.value.code == "conflict.no_candidate"
    assert (await fleet.service.operations(ADMIN)).items == ()


async def candidate_of(fleet, number):
    row = await fleet.store.read(lambda tx: tx.agent(uid_of(number)))
    return json.loads(row.overrides).get("candidate", "")


async def test_f_y9_an_apply_that_is_cancelled_is_taken_back_from_those_who_have_not_applied_it(fleet):
    made = await fleet.order("apply")
    fleet.hear(0)
    (document,) = fleet.hear(1)
    await fleet.answer(1, document)
    fleet.links.changed.clear()
    await fleet.service.cancel_operation(ADMIN, made.name)
    assert [await candidate_of(fleet, number) for number in range(3)] == ["", "r1", ""]
    assert sorted(fleet.links.changed) == [uid_of(0), uid_of(2)]
    assert await fleet.states(made.name) == {"sent": 1, "succeeded": 1, "cancelled": 1}
    entry = (await fleet.bench.audit())[-1]
    assert (entry.method, json.loads(entry.after)["first"]) == ("rollout.withdraw", ["a0", "a2"])


async def test_f_y9_who_has_it_by_another_apply_keeps_it(fleet):
    first = await fleet.order("apply", "a0", "a1")
    (document,) = fleet.hear(0)
    await fleet.answer(0, document)
    second = await fleet.order("apply")
    await fleet.service.cancel_operation(ADMIN, second.name)
    assert [await candidate_of(fleet, number) for number in range(3)] == ["r1", "r1", ""]
    await fleet.service.cancel_operation(ADMIN, first.name)
    assert [await candidate_of(fleet, number) for number in range(3)] == ["r1", "", ""]


async def test_f_y9_an_apply_of_a_rollout_that_is_undone_ends_where_nobody_was_told(fleet):
    made = await fleet.order("apply")
    fleet.hear(0)
    await fleet.service.undo_rollout(ADMIN, "r1")
    await fleet.register.settle()
    found = [await fleet.target(made.name, number) for number in range(3)]
    assert [one.state for one in found] == ["sent", "failed", "failed"]
    assert (found[1].code, found[1].text) == ("operation.superseded", "rollout r1 was undone")
