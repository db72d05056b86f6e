import pytest

from popham.errors import NotFoundError
from popham.model.fleet import Group, Tree
from popham.resolve.lineage import items, origin, path

TREE = Tree(
    [
        Group(name="fleet", inherits=False, policies={"otelcol": "col"}),
        Group(name="branches", parent="fleet", exceptions={"files": False}, policies={"files": "motd"}),
        Group(name="paris", parent="branches"),
    ]
)


def test_the_origin_is_the_nearest_group_with_an_own_value():
    assert [origin(TREE, "paris", item).name for item in ("files", "otelcol", "communication")] == [
        "branches",
        "fleet",
        "fleet",
    ]


def test_items_are_the_types_by_name_and_then_the_settings():
    assert items(TREE.lineage("paris")) == ["files", "otelcol", "communication", "locations"]


def test_a_path_begins_at_the_root():
    assert path(TREE, "paris") == "fleet/branches/paris"


def test_an_unknown_group_has_no_origin():
    with pytest.raises(NotFoundError):
        origin(TREE, "lyon", "files")
