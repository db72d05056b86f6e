"""What a mistake cannot do at once, and what is shown to whom."""

from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, VIEWER
from tests.manager.ordering import uid_of

from popham.errors import ConflictError
from popham.manager.grant import Grant, Role, Scope
from popham.manager.operations.stored import Asked
from popham.manager.operations.views import UNSEEN
from popham.model.operation import OperationState


def operator(**scope):
    return Grant(actor="olga", role=Role.OPERATOR, source="192.0.2.9", scope=Scope(**scope))


@pytest.fixture
def narrow(fleet):
    """A Manager that asks above two agents."""
    bundles = fleet.service._bundles
    bundles.publishing = replace(bundles.publishing, ask_above=2)
    return fleet


@pytest.mark.parametrize("kind", ["restart", "rotate-key", "run"])
async def test_f_o4_a_mistake_cannot_reach_everybody_at_once(narrow, kind):
    args, everybody = ({"name": "look"} if kind == "run" else {}), Asked(everyone=True)
    with pytest.raises(ConflictError) as caught:
        await narrow.service.order(ADMIN, kind, everybody, args=args)
    error = caught.value
    assert error.code == "conflict.reach"
    assert error.problem == f"{kind} would be ordered of 3 agents at once, and more than 2 need a yes"
    assert error.hint == "Look at them with --dry-run, then add --yes"
    assert (await narrow.service.operations(ADMIN)).items == ()
    planned = await narrow.service.plan_order(ADMIN, kind, everybody, args=args)
    assert (len(planned.targets), planned.warnings) == (3, (str(error),))
    two = Asked(agents=("a0", "a1"))
    assert (await narrow.service.plan_order(ADMIN, kind, two, args=args)).warnings == ()
    assert (await narrow.service.order(ADMIN, kind, two, args=args)).targets == 2
    assert (await narrow.service.order(ADMIN, kind, everybody, args=args, yes=True)).targets == 3


@pytest.mark.parametrize("kind", ["check-in", "collect", "diagnose", "pause-collection", "resume-collection"])
async def test_f_o4_what_harms_nobody_needs_no_yes(narrow, kind):
    assert (await narrow.order(kind)).targets == 3


async def test_who_cannot_be_served_is_not_reached(narrow):
    row = await narrow.store.read(lambda tx: tx.agent(uid_of(2)))
    await narrow.store.write(lambda tx: tx.put_agent(replace(row, admission="new")))
    assert (await narrow.order("restart")).targets == 3


async def test_what_a_command_printed_is_for_those_who_may_order_it(fleet):
    made = await fleet.service.order(ADMIN, "run", Asked(everyone=True), args={"name": "look"})
    (first,), (second,), (third,) = (fleet.hear(number) for number in range(3))
    await fleet.answer(0, first, text="look ended with exit status 0: hunter2")
    await fleet.answer(1, second, OperationState.FAILED, code="operation.exit", text="look ended: hunter2")
    await fleet.answer(2, third, OperationState.FAILED, code="operation.refused", text="it is not let be run")
    refused = "it is not let be run"

    async def shown(grant):
        page = await fleet.service.operation_targets(grant, made.name)
        return [one.text for one in page.items]

    for grant in (VIEWER, operator(operations=("collect",)), operator(groups=("rome",))):
        assert await shown(grant) == [UNSEEN, UNSEEN, refused]
    for grant in (ADMIN, operator(), operator(groups=("fleet",), operations=("run",))):
        assert "hunter2" in (await shown(grant))[0]
    said = [(await fleet.service.agent(ADMIN, f"a{n}")).detail["operations"][0]["text"] for n in range(3)]
    assert said == [UNSEEN, UNSEEN, refused]
