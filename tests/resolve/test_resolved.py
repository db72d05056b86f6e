import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.resolve.conftest import REFS, ref, trees

from popham.errors import NotFoundError
from popham.model.communication import CommunicationSettings
from popham.model.fleet import Group, Tree
from popham.resolve.resolved import Overridden, resolve

SLOW = CommunicationSettings(heartbeat=3600.0)
ROOT = Group(name="fleet", inherits=False, policies={"files": "motd"}, communication=CommunicationSettings())
MOTD, OTHER = ref("motd"), ref("other")
POLICIES = {"motd": MOTD, "other": OTHER}


def resolved(*groups, name="paris"):
    return resolve(Tree([ROOT, *groups]), POLICIES, name)


def test_f_g1_a_group_that_inherits_has_its_parents_values_and_says_so():
    found = resolved(Group(name="paris", parent="fleet"))
    files = found.policies["files"]
    assert (files.value, files.group, files.inherited, files.overrides) == (MOTD, "fleet", True, None)
    assert (found.communication.group, found.communication.inherited) == ("fleet", True)


def test_f_g1_a_group_that_does_not_inherit_sees_nothing_above_it():
    found = resolved(Group(name="paris", parent="fleet", inherits=False, communication=SLOW))
    assert found.policies["files"].value is None
    assert found.policies["files"].overrides == Overridden(group="fleet", value=MOTD)
    assert found.communication.value == SLOW
    assert found.communication.overrides == Overridden(group="fleet", value=CommunicationSettings())


def test_f_g1_one_item_may_be_the_groups_own_while_the_rest_is_inherited():
    found = resolved(
        Group(name="paris", parent="fleet", exceptions={"files": False}, policies={"files": "other"})
    )
    assert (found.policies["files"].value, found.policies["files"].group) == (OTHER, "paris")
    assert found.communication.inherited


def test_f_g1_one_item_may_be_inherited_while_the_rest_is_the_groups_own():
    found = resolved(Group(name="paris", parent="fleet", inherits=False, exceptions={"files": True}))
    assert found.policies["files"].value == MOTD
    assert not found.communication.inherited


def test_f_g1_a_value_passes_through_groups_that_inherit():
    middle = Group(name="branches", parent="fleet")
    found = resolved(middle, Group(name="paris", parent="branches"))
    assert found.policies["files"].group == "fleet"


def test_f_y1_there_is_one_policy_of_each_type():
    held = resolved(Group(name="paris", parent="fleet")).as_set()
    assert [r.type for r in held.policies] == ["files"]


def test_f_y4_a_policy_that_nobody_assigns_has_no_effect():
    group = Group(name="paris", parent="fleet")
    without = resolve(Tree([ROOT, group]), {"motd": MOTD}, "paris")
    assert without.as_set() == resolved(group).as_set()
    assert all(r.name != "other" for r in without.as_set().policies)


def test_f_y4_an_own_value_below_an_inherited_item_has_no_effect():
    found = resolved(Group(name="paris", parent="fleet", policies={"files": "other"}, communication=SLOW))
    assert found.policies["files"].value == MOTD
    assert found.communication.value == CommunicationSettings()


@pytest.mark.parametrize("policies", [{}, {"motd": replace(MOTD, type="otelcol")}])
def test_an_assigned_policy_that_is_gone_or_of_another_type_is_an_error(policies):
    with pytest.raises(NotFoundError) as caught:
        resolve(Tree([ROOT]), policies, "fleet")
    assert caught.value.code == "not_found.policy"


@given(trees(), st.randoms())
def test_f_g1_resolving_does_not_depend_on_the_order_of_anything(tree, order: random.Random):
    groups, names = list(tree), list(REFS)
    order.shuffle(groups)
    order.shuffle(names)
    shuffled = [
        replace(
            g, policies=dict(reversed(g.policies.items())), exceptions=dict(reversed(g.exceptions.items()))
        )
        for g in groups
    ]
    for group in groups:
        again = resolve(Tree(shuffled), {name: REFS[name] for name in names}, group.name)
        assert again == resolve(tree, REFS, group.name)


@given(trees())
def test_f_g1_every_value_is_its_origins_own_and_nothing_between_hides_it(tree):
    for group in tree:
        found = resolve(tree, REFS, group.name)
        for item, origin in [*found.policies.items(), ("communication", found.communication)]:
            holder = tree[origin.group]
            assert not holder.inherits_item(item)
            own = holder.communication if item == "communication" else REFS.get(holder.policies.get(item, ""))
            assert origin.value == own
            line = [at.name for at in tree.lineage(group.name)]
            assert all(tree[name].inherits_item(item) for name in line[: line.index(holder.name)])
            assert origin.inherited == (holder.name != group.name)


@given(trees())
def test_f_g2_unchecking_with_a_copy_changes_nothing(tree):
    for group in tree:
        if not group.parent:
            continue
        before = resolve(tree, REFS, group.name)
        copied = replace(
            group,
            inherits=False,
            exceptions={},
            policies={kind: origin.value.name for kind, origin in before.policies.items() if origin.value},
            communication=before.communication.value,
        )
        after = Tree([copied if g.name == group.name else g for g in tree])
        for below in tree.below(group.name):
            assert resolve(after, REFS, below.name).as_set() == resolve(tree, REFS, below.name).as_set()


@given(trees())
def test_f_y4_a_group_beside_the_lineage_has_no_effect(tree):
    for group in tree:
        lineage = tree.lineage(group.name)
        assert resolve(Tree(lineage), REFS, group.name) == resolve(tree, REFS, group.name)
