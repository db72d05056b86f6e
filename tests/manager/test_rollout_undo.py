"""Undoing a rollout: what held before holds again, under new numbers, or nothing is undone."""

import pytest
from tests.manager.conftest import ADMIN, VIEWER, group, policy
from tests.manager.rolling import OTHER, OWN, TERMS, add, agent, digests, fill

from popham.errors import ConflictError


async def test_f_y17_an_undo_brings_back_what_held(bench):
    await fill(bench)
    before = await bench.bundle("paris")
    await bench.apply(
        policy(content="two"), group("lyon", OTHER), policy("other"), group("paris", OWN, ", labels: {env: x}"),
        rollout=TERMS,
    )  # fmt: skip
    view = await bench.service.undo_rollout(ADMIN, "r1")
    assert (view.state, view.reason) == ("undone", "")
    after = await bench.bundle("paris")
    assert (after.serial, after.rollout) == (3, None)
    assert digests(after) == digests(before)
    found = await bench.service.history(VIEWER, "motd")
    assert (found[0].revision, found[0].message) == (3, "undo of rollout r1: back to revision 1")
    assert [one.name for one in await bench.service.groups(VIEWER)] == ["fleet", "paris"]
    assert [one.name for one in await bench.service.policies(VIEWER)] == ["motd"]
    assert (await bench.service.group(VIEWER, "paris")).labels == {}
    assert sorted(bench.told[-1]) == ["lyon", "paris"], "also a group whose bundle did not change"
    assert (await bench.apply(policy(content="one"), group("paris", OWN))).groups == ()


async def test_f_y17_an_undo_is_refused_where_something_was_edited_since(bench):
    await fill(bench)
    await bench.apply(policy(content="two"), rollout=TERMS)
    await bench.apply(policy(content="two").replace("{name: motd}", "{name: motd, labels: {a: b}}"))
    with pytest.raises(ConflictError, match="policy/motd was edited since") as caught:
        await bench.service.undo_rollout(ADMIN, "r1")
    assert caught.value.code == "conflict.changed"
    assert (await bench.service.rollout(VIEWER, "r1")).state == "running"


async def test_f_y17_an_undo_says_what_has_to_stay(bench):
    await fill(bench)
    await bench.apply(policy(content="two"), group("lyon", OTHER), policy("other"), rollout=TERMS)
    await add(bench, agent(77, "lyon"))
    view = await bench.service.undo_rollout(ADMIN, "r1")
    assert view.reason == "group/lyon, policy/other stayed, since something needs it"
    assert digests(await bench.bundle("lyon"))


async def test_f_y17_an_undo_brings_back_what_was_pruned(bench):
    source = "https://git.example/fleet"
    await bench.apply(
        policy(content="one"), policy("old"), group("paris", OWN), group("lyon", "{}"), source=source
    )
    await add(bench, *map(agent, range(5)))
    result = await bench.apply(
        policy(content="two"), group("paris", OWN), source=source, prune=True, rollout=TERMS
    )
    assert result.rollout == "r1"
    assert (await bench.service.rollout(VIEWER, "r1")).changes == ("group/lyon", "policy/motd", "policy/old")
    await bench.service.undo_rollout(ADMIN, "r1")
    assert [one.name for one in await bench.service.groups(VIEWER)] == ["fleet", "lyon", "paris"]
    assert [one.name for one in await bench.service.policies(VIEWER)] == ["motd", "old"]
    assert (await bench.service.history(VIEWER, "old"))[0].revision == 2


async def test_f_y17_an_undo_that_would_need_what_was_deleted_since_is_refused(bench):
    await bench.apply(policy(content="one"), policy("other"), group("paris", OTHER))
    await add(bench, *map(agent, range(5)))
    await bench.apply(group("paris", OWN), rollout=TERMS)
    await bench.service.delete_policy(ADMIN, "other")
    with pytest.raises(ConflictError, match="policy/other again, which was deleted since") as caught:
        await bench.service.undo_rollout(ADMIN, "r1")
    assert caught.value.code == "conflict.changed"
    assert (await bench.bundle("paris")).rollout.id == "r1"


async def test_f_y17_what_was_halted_is_undone_too(bench):
    await fill(bench)
    before = await bench.bundle("paris")
    await bench.apply(policy(content="two"), rollout=TERMS)
    await bench.service.halt_rollout(ADMIN, "r1")
    assert (await bench.service.undo_rollout(ADMIN, "r1")).state == "undone"
    assert digests(await bench.bundle("paris")) == digests(before)
    assert (await bench.apply(policy(content="two"), rollout=TERMS)).rollout == "r2"


async def test_f_y17_an_undo_that_would_have_groups_inherit_in_a_circle_is_refused(bench):
    two = "inheritance: {policies: {files: false}}, policies: {files: two}"
    await bench.apply(policy(), policy("two"), group("lyon", f"{{{two}}}"), group("paris", "{parent: lyon}"))
    await add(bench, *map(agent, range(20)))
    await bench.apply(
        group("paris", f"{{parent: fleet, {OWN[1:]}"), group("below", "{parent: paris}"), rollout=TERMS
    )
    await bench.apply(group("lyon", f"{{parent: paris, {two}}}"))
    with pytest.raises(ConflictError, match=r"group/.* would inherit from itself") as caught:
        await bench.service.undo_rollout(ADMIN, "r1")
    assert caught.value.code == "conflict.changed"
    assert (await bench.service.group(VIEWER, "paris")).parent == "fleet"


async def test_f_y17_an_undo_that_would_give_a_group_what_is_private_to_another_is_refused(bench):
    await bench.apply(policy(content="one", more=", private_to: paris"), group("paris", OWN), group("lyon"))
    await add(bench, *map(agent, range(20)))
    await bench.apply(policy(content="two"), rollout=TERMS)
    await bench.apply(group("lyon", OWN))
    with pytest.raises(
        ConflictError, match="private to 'paris' again, and group 'lyon' assigns it"
    ) as caught:
        await bench.service.undo_rollout(ADMIN, "r1")
    assert caught.value.code == "conflict.changed"


async def test_f_y17_what_is_in_a_rollout_spills_into_no_other_group(bench):
    await bench.apply(policy(content="one"), policy("other"), group("paris", OWN), group("lyon", OTHER))
    await add(bench, *(agent(n, "paris") for n in range(20)), *(agent(n, "lyon") for n in range(20, 40)))
    await bench.apply(policy(content="two"), rollout=TERMS)
    with pytest.raises(ConflictError, match="group lyon would get policy motd at once") as caught:
        await bench.apply(group("lyon", OWN))
    assert caught.value.code == "conflict.rollout"
    await bench.apply(group("kid", "{parent: paris}"))
    await bench.service.halt_rollout(ADMIN, "r1")
    with pytest.raises(ConflictError, match="whose rollout r1 is halted"):
        await bench.apply(group("second", "{parent: paris}"))
    await bench.service.promote_rollout(ADMIN, "r1")
    await bench.apply(group("lyon", OWN))


async def test_f_y17_an_undo_gives_no_group_at_once_what_is_in_another_rollout(bench):
    await bench.apply(policy(content="one"), policy("other"), group("paris", OWN), group("lyon", OWN))
    await add(bench, *(agent(n, "paris") for n in range(20)), *(agent(n, "lyon") for n in range(20, 40)))
    await bench.apply(group("paris", OTHER), rollout=TERMS)
    await bench.apply(policy(content="two"), rollout=TERMS)
    await bench.service.halt_rollout(ADMIN, "r2")
    with pytest.raises(
        ConflictError, match=r"group paris would get policy motd .* rollout r2 is halted"
    ) as caught:
        await bench.service.undo_rollout(ADMIN, "r1")
    assert caught.value.code == "conflict.rollout"
    assert (await bench.bundle("paris")).rollout.id == "r1"
    await bench.service.undo_rollout(ADMIN, "r2")
    await bench.service.undo_rollout(ADMIN, "r1")
    assert (await bench.bundle("paris")).rollout is None


async def test_f_y17_a_policy_whose_labels_alone_changed_is_no_content_of_a_rollout(bench):
    await bench.apply(policy(), policy("other", content="one"), group("paris", OTHER), group("lyon", OWN))
    await add(bench, *(agent(n, "paris") for n in range(20)), *(agent(n, "lyon") for n in range(20, 40)))
    labelled = policy().replace("{name: motd}", "{name: motd, labels: {a: b}}")
    await bench.apply(labelled, policy("other", content="two"), rollout=TERMS)
    settings = "{inheritance: {policies: {files: false}, communication: false}, policies: {files: motd}, "
    result = await bench.apply(group("lyon", settings + "communication: {heartbeat: 1m}}"))
    assert [one.group for one in result.groups] == ["lyon"]


HEARTBEAT = "{{inheritance: {{communication: false}}, communication: {{heartbeat: {}}}}}"
AT_HOME = (
    "{inheritance: {locations: false}, "
    "locations: [{name: default, default: true}, {name: home, when: {file: /x}}]}"
)


@pytest.mark.parametrize(
    ("before", "after", "item"),
    [
        (OWN, OTHER, "files"),
        (HEARTBEAT.format("5m"), HEARTBEAT.format("1m"), "communication"),
        ("{}", AT_HOME, "locations"),
    ],
)
async def test_f_y17_a_group_does_not_inherit_at_once_what_a_rollout_changes_above_it(
    bench, before, after, item
):
    await bench.apply(policy(), policy("other"), group("paris", before), group("lyon", OWN))
    await add(bench, *(agent(n, "paris") for n in range(20)), *(agent(n, "lyon") for n in range(20, 40)))
    await bench.apply(group("paris", after), rollout=TERMS)
    await bench.service.halt_rollout(ADMIN, "r1")
    with pytest.raises(
        ConflictError, match=f"group lyon would inherit {item} of group paris at once"
    ) as caught:
        await bench.apply(group("lyon", "{parent: paris}"))
    assert caught.value.code == "conflict.rollout"
    await bench.apply(group("lyon", OWN, ", labels: {env: x}"))
    await bench.service.undo_rollout(ADMIN, "r1")
    await bench.apply(group("lyon", "{parent: paris}"))
