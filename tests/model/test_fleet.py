import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError, NotFoundError
from popham.model.fleet import COMMUNICATION, Group, Tree


def group(name, parent="fleet", **more):
    return Group(name=name, parent="" if name == "fleet" else parent, **more)


TREE = Tree(
    [group("fleet"), group("branches"), group("paris", "branches"), group("lyon", "branches"), group("lab")]
)


def test_f_g1_a_lineage_goes_from_the_group_to_the_root():
    assert [g.name for g in TREE.lineage("paris")] == ["paris", "branches", "fleet"]


def test_below_names_parents_before_their_children():
    assert [g.name for g in TREE.below("fleet")] == ["fleet", "branches", "lab", "lyon", "paris"]
    assert [g.name for g in TREE.below("lab")] == ["lab"]


def test_an_unknown_group_names_the_nearest_right_one():
    with pytest.raises(NotFoundError) as caught:
        TREE["pari"]
    assert (caught.value.code, caught.value.hint) == ("not_found.group", "Did you mean 'paris'?")


def test_f_g1_the_root_cannot_inherit():
    assert not Group(name="fleet", inherits=True).inherits_item("files")


def test_an_exception_overrides_the_check_box():
    odd = group("odd", exceptions={"files": False})
    assert (odd.inherits_item("files"), odd.inherits_item("otelcol"), odd.inherits_item(COMMUNICATION)) == (
        False,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("groups", "code"),
    [
        ([], "definition.root"),
        ([Group(name="other")], "definition.root"),
        ([group("fleet"), Group(name="second")], "definition.root"),
        ([group("fleet"), group("a", "b"), group("b", "a")], "definition.cycle"),
        ([group("fleet"), group("a", "a")], "definition.cycle"),
        ([group("fleet"), group("x", "a"), group("a", "b"), group("b", "a")], "definition.cycle"),
        ([group("fleet"), group("a", "nowhere")], "definition.unknown_group"),
    ],
)
def test_f_g1_a_tree_that_is_none_is_refused(groups, code):
    with pytest.raises(DefinitionError) as caught:
        Tree(groups)
    assert caught.value.code == code


@given(st.lists(st.integers(0, 11), min_size=1, max_size=12))
def test_a_tree_is_accepted_exactly_if_every_walk_upwards_ends_at_the_root(parents):
    names = [f"g{i}" for i in range(len(parents))]
    groups = [group("fleet")] + [
        group(name, "fleet" if up >= len(names) or up == 11 else names[up])
        for name, up in zip(names, parents, strict=True)
    ]
    above = {g.name: g.parent for g in groups}

    def ends(name):
        for _ in range(len(groups) + 1):
            if not name:
                return True
            name = above[name]
        return False

    if all(map(ends, above)):
        assert len(Tree(groups)) == len(groups)
    else:
        with pytest.raises(DefinitionError, match="circle"):
            Tree(groups)


def test_a_deep_tree_is_checked_in_linear_time():
    chain = [group("fleet")] + [group(f"g{i}", f"g{i - 1}" if i else "fleet") for i in range(5000)]
    assert len(Tree(reversed(chain)).lineage("g4999")) == 5001
