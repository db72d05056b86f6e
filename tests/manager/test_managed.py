"""Objects that are kept elsewhere, what their source deletes, and plans whose base moved."""

import json

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, machine, otelcol, policy

from popham.errors import ConflictError, DefinitionError
from popham.manager import objects
from popham.manager.grant import Grant, Role
from popham.model.managed import SOURCE

GIT = "https://git.example/fleet"
OWN = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"
BOB = Grant(actor="bob", role=Role.ADMIN, source="192.0.2.9")
RULE = "apiVersion: popham/v1\nkind: Placement\nmetadata: {name: tills}\nspec: {selector: role=till, group: paris}\n"


async def join(bench, group_name):
    """Let an agent join a group."""
    from popham.store.rows import AgentRow

    uid = machine()["uid"]
    row = AgentRow(uid=uid, name=uid[:8], group=group_name, kind="own", admission="accepted", first_seen=NOW)
    await bench.store.write(lambda tx: tx.put_agent(row))


async def test_f_y18_annotations_are_kept_and_raise_no_serial(bench):
    await bench.apply(policy(), group("paris", OWN))
    before = await bench.serials()
    noted = policy().replace("{name: motd}", "{name: motd, annotations: {ticket: OPS-7}}")
    result = await bench.apply(noted, group("paris", OWN, ", annotations: {owner: net}"), RULE)
    assert [change.action for change in result.changes] == ["changed", "changed", "created"]
    assert await bench.serials() == before
    assert (await bench.service.policy(VIEWER, "motd")).annotations == {"ticket": "OPS-7"}
    assert (await bench.service.policy(VIEWER, "motd")).revision == 1
    assert (await bench.service.group(VIEWER, "paris")).annotations == {"owner": "net"}


async def test_f_y18_what_a_source_applied_refuses_other_edits_and_says_where_to_edit(bench):
    await bench.apply(policy(), group("paris", OWN), RULE, source=GIT)
    assert (await bench.service.policy(VIEWER, "motd")).annotations == {SOURCE: GIT}
    edits = [policy(content="other"), group("paris", OWN, ", labels: {a: b}"), RULE.replace("till,", "shop,")]
    for edit, about in zip(edits, ["policy 'motd'", "group 'paris'", "placement 'tills'"], strict=True):
        with pytest.raises(ConflictError) as caught:
            await bench.apply(edit)
        assert caught.value.code == "conflict.managed"
        assert caught.value.problem == f"{about} is managed in {GIT}"
    for call in (
        bench.service.delete_group(ADMIN, "paris"),
        bench.service.delete_placement(ADMIN, "tills"),
        bench.service.delete_policy(ADMIN, "motd"),
    ):
        with pytest.raises(ConflictError, match="is managed in"):
            await call


async def test_f_y18_what_differs_may_be_asked_by_everybody_and_changes_nothing(bench):
    await bench.apply(policy(), group("paris", OWN), source=GIT)
    edited = policy(content="other")
    compared = await bench.apply(edited, grant=VIEWER, dry_run=True, compare=True)
    (changed,) = compared.changes
    assert changed.action == "changed"
    assert "other" in changed.difference
    assert SOURCE not in changed.difference, "nothing is taken from whom it belongs to"
    with pytest.raises(ConflictError, match="is managed in"):
        await bench.apply(edited, compare=True)
    with pytest.raises(ConflictError, match="is managed in"):
        await bench.apply(edited, dry_run=True)


async def test_f_y18_the_same_again_is_no_edit_and_a_copy_belongs_to_nobody(bench):
    await bench.apply(policy(), source=GIT)
    assert [change.action for change in (await bench.apply(policy())).changes] == ["unchanged"]
    view = await bench.service.copy_policy(ADMIN, "motd", "mine")
    assert view.annotations == {}


async def test_f_y18_taking_over_edits_and_ends_the_management(bench):
    await bench.apply(policy(), source=GIT)
    await bench.apply(policy(content="urgent"), take_over=True)
    assert (await bench.service.policy(VIEWER, "motd")).annotations == {}
    with pytest.raises(DefinitionError, match="cannot name a source"):
        await bench.apply(policy(), source=" a\n")
    owned = policy().replace("{name: motd}", f"{{name: motd, annotations: {{{SOURCE}: elsewhere}}}}")
    with pytest.raises(DefinitionError, match="belongs to 'elsewhere'"):
        await bench.apply(owned, source=GIT)


async def test_f_y18_pruning_deletes_what_the_source_has_no_more_and_nothing_else(bench):
    await bench.apply(policy("hand", "made"))
    await bench.apply(policy(), group("paris", OWN), group("lyon"), RULE, otelcol(), source=GIT)
    planned = await bench.apply(otelcol(), source=GIT, prune=True, dry_run=True, grant=VIEWER)
    gone = [(change.kind, change.name) for change in planned.changes if change.action == "deleted"]
    assert gone == [("Placement", "tills"), ("Group", "paris"), ("Group", "lyon"), ("Policy", "motd")]
    assert planned.warnings == ()
    assert len(await bench.service.groups(VIEWER)) == 3
    result = await bench.apply(otelcol(), source=GIT, prune=True)
    assert [change.name for change in result.changes if change.action == "deleted"] == [
        "tills",
        "paris",
        "lyon",
        "motd",
    ]
    assert [view.name for view in await bench.service.policies(VIEWER)] == ["col", "hand"]
    assert [view.name for view in await bench.service.groups(VIEWER)] == ["fleet"]
    assert (await bench.audit())[-1].method == "policy.delete"


async def test_f_y18_a_private_policy_goes_with_its_group(bench):
    await bench.apply(policy(more=", private_to: paris"), group("paris", OWN), otelcol(), source=GIT)
    result = await bench.apply(otelcol(), source=GIT, prune=True)
    assert [change.name for change in result.changes if change.action == "deleted"] == ["paris", "motd"]


async def test_f_y18_a_plan_counts_the_agents_of_what_is_deleted_and_says_what_stands_in_the_way(bench):
    await bench.apply(policy(), group("paris", OWN), otelcol(), source=GIT)
    await join(bench, "paris")
    planned = await bench.apply(otelcol(), source=GIT, prune=True, dry_run=True)
    deleted = {change.name: change.agents for change in planned.changes if change.action == "deleted"}
    assert deleted == {"paris": 1, "motd": 1}
    assert planned.warnings[0].startswith("it cannot be applied: group 'paris' has agents")
    with pytest.raises(ConflictError, match="group 'paris' has agents"):
        await bench.apply(otelcol(), source=GIT, prune=True)
    assert len(await bench.service.policies(VIEWER)) == 2


async def test_f_y18_pruning_without_a_source_is_refused(bench):
    with pytest.raises(DefinitionError, match="--prune needs --as-source") as caught:
        await bench.apply(policy(), prune=True)
    assert caught.value.code == "definition.source"


async def test_f_y10_a_plan_is_applied_only_on_its_base(bench):
    await bench.apply(policy(), group("paris", OWN))
    mine = (policy(content="mine"), group("paris", OWN))
    planned = await bench.apply(*mine, dry_run=True)
    bench.clock.at += 60
    await bench.apply(policy(content="his"), grant=BOB, message="urgent")
    with pytest.raises(ConflictError) as caught:
        await bench.apply(*mine, base=planned.base)
    assert caught.value.code == "conflict.base"
    when = "2027-01-15T08:01:00Z"
    assert caught.value.problem == f"this has changed since the plan was made: policy/motd (by bob at {when})"
    assert [row.author for row in await bench.service.history(VIEWER, "motd")] == ["bob", "ada"]
    again = await bench.apply(*mine, dry_run=True)
    await bench.apply(*mine, base=again.base)
    assert [row.author for row in await bench.service.history(VIEWER, "motd")] == ["ada", "bob", "ada"]


@pytest.mark.parametrize(
    "other",
    [
        group("fleet", "{communication: {heartbeat: 1m}}"),
        group("paris", OWN, ", labels: {a: b}"),
        policy("new", "x"),
    ],
)
async def test_f_y10_a_base_has_what_the_plan_depends_on_also_what_was_not_there(bench, other):
    await bench.apply(policy(), group("paris", OWN))
    mine = (group("paris", OWN, ", labels: {mine: '1'}"), policy("new", "y"))
    planned = await bench.apply(*mine, dry_run=True)
    await bench.apply(other, grant=BOB)
    with pytest.raises(ConflictError, match="by bob at"):
        await bench.apply(*mine, base=planned.base)


async def test_f_y10_what_a_plan_does_not_concern_may_change(bench):
    await bench.apply(policy(), group("paris", OWN), group("lyon"))
    planned = await bench.apply(group("paris", OWN, ", labels: {a: b}"), dry_run=True)
    await bench.apply(group("lyon", "{}", ", labels: {a: b}"), otelcol(), grant=BOB)
    await bench.apply(group("paris", OWN, ", labels: {a: b}"), base=planned.base)


async def test_f_y10_what_a_source_got_meanwhile_is_not_pruned_unseen(bench):
    await bench.apply(policy(), otelcol(), source=GIT)
    planned = await bench.apply(otelcol(), source=GIT, prune=True, dry_run=True)
    await bench.apply(policy("late", "x"), source=GIT, grant=BOB)
    with pytest.raises(ConflictError, match="changed since the plan"):
        await bench.apply(otelcol(), source=GIT, prune=True, base=planned.base)


async def test_who_changed_something_is_found_far_back_in_the_audit(bench):
    await bench.apply(policy(), group("paris", OWN))
    planned = await bench.apply(policy(content="mine"), dry_run=True)
    await bench.apply(policy(content="his"), grant=BOB)
    for number in range(600):
        await bench.apply(group("lyon", "{}", f", labels: {{n: '{number}'}}"))
    with pytest.raises(ConflictError, match="policy/motd \\(by bob at"):
        await bench.apply(policy(content="mine"), base=planned.base)
    assert json.loads((await bench.audit())[-1].after)["labels"] == {"n": "599"}


async def test_f_y10_a_plan_is_not_applied_to_a_group_that_came_later(bench):
    await bench.apply(policy(), group("paris", OWN))
    edit = policy(content="other")
    base = (await bench.apply(edit, dry_run=True)).base
    await bench.apply(group("lyon", OWN), grant=BOB)
    with pytest.raises(ConflictError) as caught:
        await bench.apply(edit, base=base)
    assert caught.value.code == "conflict.base"
    assert "group/lyon (by bob at " in caught.value.problem
    base = (await bench.apply(edit, dry_run=True)).base
    assert [effect.group for effect in (await bench.apply(edit, base=base)).groups] == ["lyon", "paris"]


async def test_f_y18_pruning_reads_the_groups_once_however_many_go(bench, monkeypatch):
    many = 60
    chain = [
        group(f"g{number}", f"{{parent: {f'g{number - 1}' if number else 'fleet'}}}") for number in range(20)
    ]
    await bench.apply(otelcol(), *chain, *(group(f"h{number}") for number in range(many)), source=GIT)
    await bench.apply(otelcol(), *(policy(f"p{number}") for number in range(many)), source=GIT)
    read = []
    parse = objects.parse_group
    monkeypatch.setattr(
        objects, "parse_group", lambda *given, **more: read.append(1) or parse(*given, **more)
    )
    result = await bench.apply(otelcol(), source=GIT, prune=True)
    assert len([change for change in result.changes if change.action == "deleted"]) == 2 * many + 20
    assert len(read) < 5 * many
    assert [view.name for view in await bench.service.groups(VIEWER)] == ["fleet"]
