"""Whom an operation is for, and who is refused at once."""

from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, VIEWER, group
from tests.manager.ordering import STOCK, uid_of
from tests.manager.rolling import add, agent

from popham.errors import DefinitionError, GrantError, NotFoundError, OperationError
from popham.manager.grant import Grant, Role, Scope
from popham.manager.operations import choosing, service
from popham.manager.operations.choosing import OPEN_MAX
from popham.manager.operations.stored import Asked
from popham.manager.visit_views import VisitView
from popham.model.fleet import Admission

PARIS = Grant(
    actor="olga",
    role=Role.OPERATOR,
    source="192.0.2.9",
    scope=Scope(groups=("paris",), operations=("collect",)),
)


async def grow(fleet):
    """Add a group below paris and one beside it, with an agent each."""
    below = "apiVersion: popham/v1\nkind: Group\nmetadata: {name: louvre}\nspec: {parent: paris}\n"
    await fleet.bench.apply(below, group("rome"))
    beside = replace(agent(11, "rome"), operator_labels='{"env": "prod"}')
    await add(fleet.bench, agent(10, "louvre", generation=3), beside)
    await fleet.start()


def names(plan):
    return [(one.name, one.why) for one in plan.targets]


async def plan(fleet, kind="collect", grant=ADMIN, **asked):
    return await fleet.service.plan_order(grant, kind, Asked(**asked))


async def test_f_y8_the_list_of_targets_beforehand_says_why_each_is_one_and_by_which_way(fleet):
    await grow(fleet)
    fleet.hold(0)
    fleet.clock.at += 20.0
    found = await plan(fleet, agents=("a0", "a1", uid_of(2)))
    assert names(found) == [("a0", "named"), ("a1", "named"), ("a2", "named")]
    assert [(one.way, one.until) for one in found.targets[:2]] == [
        ("held link", fleet.clock.at),
        ("heartbeat", fleet.clock.at + 40.0),
    ]
    found = await plan(fleet, "send", groups=("paris",))
    assert names(found)[2:] == [("a2", "in group paris"), ("a10", "in group louvre, below paris")]
    found = await plan(fleet, selector="env=prod")
    assert names(found) == [("a11", "has labels env=prod")]
    assert len((await plan(fleet, everyone=True)).targets) == 5
    assert (await fleet.service.operations(ADMIN)).items == ()
    assert fleet.register.open == {}


async def test_f_y8_an_unknown_host_among_good_ones_is_named_and_the_good_ones_are_served(fleet):
    await add(fleet.bench, replace(agent(12, generation=3), name="a1"))
    await fleet.start()
    made = await fleet.order("send", "a0", "nobody", "a1", "a2")
    assert (made.targets, made.unknown, made.ambiguous) == (2, ("nobody",), ("a1",))
    found = await plan(fleet, agents=("nobody", "a0"))
    assert (len(found.targets), found.unknown) == (1, ("nobody",))
    with pytest.raises(OperationError) as caught:
        await fleet.order("send", "nobody")
    assert caught.value.code == "operation.nobody"
    assert "'nobody'" in caught.value.problem


async def test_f_y8_a_visited_agent_hears_at_its_next_visit(fleet):
    view = VisitView(
        url="https://a0:23440",
        http_proxy="",
        definition="",
        mode="pull",
        interval=600.0,
        next=fleet.clock.at + 90.0,
    )
    fleet.links.visits[uid_of(0)] = view
    (one,) = (await plan(fleet, agents=("a0",))).targets
    assert (one.way, one.until) == ("visit", fleet.clock.at + 90.0)
    fleet.links.visits[uid_of(0)] = replace(view, failures=2, code="visit.tls")
    fleet.say(0, dialer="manager")
    (one,) = (await plan(fleet, agents=("a0",))).targets
    assert (one.way, one.until) == ("visit", None)
    fleet.say(0, dialer="agent")
    (one,) = (await plan(fleet, agents=("a0",))).targets
    assert (one.way, one.until) == ("heartbeat", fleet.clock.at + 60.0)


@pytest.mark.parametrize(
    ("kind", "changed", "code"),
    [
        ("send", {"admission": Admission.NEW}, "operation.admission"),
        ("send", {"admission": Admission.REVOKED}, "operation.admission"),
        ("send", {"kind": "unknown"}, "operation.kind"),
        ("collect", {"kind": "stock"}, "operation.stock"),
        ("restart", {"kind": "stock"}, "operation.stock"),
        ("restart", {"kind": "stock", "capabilities": 0x400}, ""),
        ("check-in", {"kind": "stock"}, ""),
        ("send", {"kind": "stock", "capabilities": 0x2}, ""),
    ],
)
async def test_f_o4_what_cannot_be_ordered_of_an_agent_is_said_at_once(fleet, kind, changed, code):
    await add(fleet.bench, replace(agent(20, generation=3), **changed))
    await fleet.start()
    (one,) = (await plan(fleet, kind, agents=("a20",))).targets
    assert (one.refusal.code if one.refusal else "") == code
    assert one.refusal is None or one.refusal.hint


async def test_f_o4_an_older_agent_takes_no_operation_but_a_send(fleet):
    await add(fleet.bench, agent(20, version="0.5.0"))
    await fleet.start()
    (one,) = (await plan(fleet, "collect", agents=("a20",))).targets
    assert (one.refusal.code, one.refusal.hint) == ("operation.generation", "Upgrade the agent")
    assert (await plan(fleet, "send", agents=("a20",))).targets[0].refusal is None


async def test_f_o4_an_agent_has_a_bounded_number_of_open_operations(fleet):
    for _ in range(OPEN_MAX):
        await fleet.order("collect", "a0")
    made = await fleet.order("collect", "a0", "a1")
    assert made.counts == {"failed": 1, "queued": 1}
    assert (await fleet.target(made.name, 0)).code == "operation.many"


async def test_f_o4_operations_and_their_targets_are_bounded(fleet, monkeypatch):
    monkeypatch.setattr(service, "OPEN_MAX", 1)
    monkeypatch.setattr(choosing, "TARGETS_MAX", 2)
    with pytest.raises(OperationError) as caught:
        await fleet.order("collect")
    assert caught.value.code == "operation.targets"
    await fleet.order("collect", "a0")
    with pytest.raises(OperationError) as caught:
        await fleet.order("collect", "a1")
    assert caught.value.code == "operation.full"


async def test_f_o4_rights_are_by_kind_and_by_group_with_all_below(fleet):
    await grow(fleet)
    made = await fleet.order("collect", grant=PARIS, groups=("paris",), everyone=False)
    assert (made.author, made.targets) == ("olga", 4)
    for kind, asked in (("restart", {"agents": ("a0",)}), ("collect", {"agents": ("a11",)})):
        with pytest.raises(GrantError):
            await fleet.service.order(PARIS, kind, Asked(**asked))
    with pytest.raises(GrantError):
        await fleet.service.order(VIEWER, "collect", Asked(everyone=True))
    other = await fleet.order("collect", "a11")
    for call in (fleet.service.cancel_operation, fleet.service.retry):
        with pytest.raises((GrantError, OperationError)):
            await call(PARIS, other.name)
    with pytest.raises(GrantError):
        await fleet.service.operation_output(PARIS, other.name, "a11")
    await fleet.service.cancel_operation(PARIS, made.name)


@pytest.mark.parametrize(
    ("kind", "asked", "args"),
    [
        ("collect", {}, {}),
        ("collect", {"agents": ("a0",), "everyone": True}, {}),
        ("cancel", {"agents": ("a0",)}, {}),
        ("dance", {"agents": ("a0",)}, {}),
        ("collect", {"agents": ("a0",)}, {"name": "x"}),
        ("run", {"agents": ("a0",)}, {}),
        ("run", {"agents": ("a0",)}, {"name": "../sh"}),
        ("apply", {"agents": ("a0",)}, {"rollout": 3}),
        ("collect", {"selector": "((("}, {}),
    ],
)
async def test_what_is_no_operation_is_refused(fleet, kind, asked, args):
    with pytest.raises(DefinitionError):
        await fleet.service.order(ADMIN, kind, Asked(**asked), args=args)


async def test_a_group_that_is_not_there_is_said(fleet):
    with pytest.raises(NotFoundError):
        await fleet.order("collect", groups=("lyon",), everyone=False)


async def test_f_o4_a_retry_is_for_those_that_did_not_succeed(fleet):
    await fleet.order("collect", "a0", "a1", "a2")
    await fleet.answer(0, fleet.hear(0)[0])
    await fleet.service.cancel_operation(ADMIN, "op1")
    with pytest.raises(OperationError):
        await fleet.service.retry(ADMIN, "op1")
    again = await fleet.service.retry(ADMIN, "op1", ("cancelled",), message="now")
    assert (again.name, again.retry_of, again.targets, again.message) == ("op2", "op1", 2, "now")
    assert again.asked["agents"] == ["a0", "a1", "a2"]
    with pytest.raises(DefinitionError):
        await fleet.service.retry(ADMIN, "op1", ("lost",))


async def test_f_o4_the_history_has_filters_and_pages(fleet):
    await fleet.order("collect", "a0")
    await fleet.order("restart", "a1", grant=replace(ADMIN, actor="bob"))
    await fleet.order("collect", "a0", "a1")
    await fleet.service.cancel_operation(ADMIN, "op1")

    async def listed(**more):
        return [one.name for one in (await fleet.service.operations(VIEWER, **more)).items]

    assert await listed() == ["op3", "op2", "op1"]
    assert await listed(kind="collect") == ["op3", "op1"]
    assert await listed(author="bob") == ["op2"]
    assert await listed(agent="a1") == ["op3", "op2"]
    assert await listed(open_only=True) == ["op3", "op2"]
    page = await fleet.service.operations(VIEWER, limit=2)
    assert await listed(after=page.cursor) == ["op1"]
    targets = await fleet.service.operation_targets(VIEWER, "op3", limit=1)
    more = await fleet.service.operation_targets(VIEWER, "op3", after=targets.cursor)
    assert [one.uid for one in (*targets.items, *more.items)] == [uid_of(0), uid_of(1)]
    assert (await fleet.service.operation_targets(VIEWER, "op1", states=("queued",))).items == ()
    with pytest.raises(NotFoundError):
        await fleet.service.operation(VIEWER, "op9")


async def test_f_o4_what_was_ordered_of_an_agent_last_is_shown_with_it(fleet):
    for _ in range(7):
        await fleet.order("collect", "a0")
    found = (await fleet.service.agent(VIEWER, "a0")).detail["operations"]
    assert [one["operation"] for one in found] == ["op7", "op6", "op5", "op4", "op3"]
    assert (found[0]["kind"], found[0]["state"]) == ("collect", "queued")


async def test_each_operation_is_one_entry_of_the_audit(fleet):
    await fleet.order("collect")
    await fleet.service.cancel_operation(ADMIN, "op1")
    entries = [row for row in await fleet.bench.audit() if row.object == "operation/op1"]
    assert [row.method for row in entries] == ["operation.order", "operation.cancel"]
    assert '"targets":3' in entries[0].after


async def test_f_o4_a_stock_agent_is_asked_for_a_round_and_told_to_restart(fleet):
    await fleet.add_stock()
    record = fleet.book.held[STOCK]
    fleet.links.held.add(STOCK)
    record.link = object()
    await fleet.order("check-in", "stock")
    assert fleet.asked == [STOCK]
    assert fleet.register.open == {"sent": 1}
    record.contact(fleet.clock.at, "192.0.2.1")
    fleet.register.reported(record)
    await fleet.register.settle()
    assert await fleet.states("op1") == {"succeeded": 1}
    await fleet.order("restart", "stock")
    assert fleet.told == [STOCK]
    fleet.register.told(record, [record.orders.restart])
    record.orders.restart = ""
    fleet.register.reported(record)
    assert fleet.register.open == {"sent": 1}
    record.orders.described = True
    fleet.register.reported(record)
    await fleet.register.settle()
    assert await fleet.states("op2") == {"succeeded": 1}
    assert record.orders is None
