"""Unchecking copies, checking again lists: over random trees, for every item and every location."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from popham.manager.merge import discarded, merge
from popham.manager.objects import parse_group, row_of
from popham.model.bundle import PolicyRef
from popham.model.cell import Mode
from popham.model.communication import CommunicationSettings
from popham.model.criteria import Condition, Kind
from popham.model.fleet import COMMUNICATION, LOCATIONS, Group, Tree
from popham.model.location import Location, LocationRules, LocationValues
from popham.model.wanted import GroupDefinition
from popham.resolve.resolved import (
    own_communication,
    resolve,
    resolve_assignments,
    resolve_communication,
    resolve_locations,
)

TYPES = ("files", "otelcol")
ITEMS = (*TYPES, COMMUNICATION, LOCATIONS)
PLACES = ("annex", "home", "office")
REFS = {
    f"{kind}-{n}": PolicyRef(type=kind, name=f"{kind}-{n}", revision=1, sha256="0" * 64, length=1)
    for kind in TYPES
    for n in range(2)
}
settings = st.builds(
    CommunicationSettings,
    mode=st.sampled_from(Mode),
    heartbeat=st.integers(1, 3).map(float),
    download=st.booleans(),
)
names = {kind: st.sampled_from([name for name, ref in REFS.items() if ref.type == kind]) for kind in TYPES}


@st.composite
def rules(draw):
    """Draw a list of locations with a default."""
    held = draw(st.sets(st.sampled_from(PLACES), min_size=1))
    default = draw(st.sampled_from(sorted(held)))
    when = Condition(Kind.FILE, "/x")
    return LocationRules(
        locations=tuple(Location(name=one, when=None if one == default else when) for one in held),
        default=default,
        check=draw(st.sampled_from([30.0, 60.0])),
    )


@st.composite
def trees(draw):
    """Draw a tree of up to six groups in which what is not inherited is the group's own, in general and by place."""
    groups = []
    for number in range(draw(st.integers(2, 6))):
        parent = groups[draw(st.integers(0, number - 1))].name if number else ""
        inherits = bool(parent) and draw(st.booleans())
        exceptions = draw(st.dictionaries(st.sampled_from(ITEMS), st.just(not inherits))) if parent else {}
        shell = Group(
            name=f"g{number}" if parent else "fleet", parent=parent, inherits=inherits, exceptions=exceptions
        )
        own = [item for item in ITEMS if not shell.inherits_item(item)]
        values = {}
        for place in draw(st.sets(st.sampled_from(PLACES))):
            policies = {
                kind: draw(st.none() | names[kind]) for kind in TYPES if kind in own and draw(st.booleans())
            }
            held = draw(st.none() | settings) if COMMUNICATION in own else None
            values[place] = LocationValues(
                policies=policies, communication=held and replace(held, download=True)
            )
        groups.append(
            replace(
                shell,
                policies={kind: draw(names[kind]) for kind in TYPES if kind in own and draw(st.booleans())},
                communication=draw(settings) if COMMUNICATION in own else None,
                locations=draw(rules()) if LOCATIONS in own else None,
                values={place: held for place, held in values.items() if held != LocationValues()},
            )
        )
    return {group.name: group for group in groups}


def picks():
    return st.tuples(trees(), st.integers(0, 99), st.sets(st.sampled_from(ITEMS), min_size=1))


def sets(groups, name):
    """Return what holds in each location of a group."""
    tree = Tree(groups.values())
    places = resolve_locations(tree, name).value
    return places, {place: resolve(tree, REFS, name, place).as_set() for place in places.names}


def chosen(groups, number):
    """Return a group that has a parent."""
    return list(groups.values())[1 + number % (len(groups) - 1)]


def wanted(group, flags):
    """Return the definition that only sets the boxes of some items."""
    boxes = {item: group.inherits_item(item) for item in ITEMS} | flags
    return GroupDefinition(name=group.name, parent=group.parent, inherits=True, exceptions=boxes)


def applied(groups, definition):
    return groups | {definition.name: merge(definition, groups, groups)}


@given(picks())
def test_f_g2_unchecking_any_item_changes_nothing_in_any_location_of_any_group(drawn):
    groups, number, items = drawn
    group = chosen(groups, number)
    after = applied(groups, wanted(group, dict.fromkeys(items, False)))
    assert all(not after[group.name].inherits_item(item) for item in items)
    assert {name: sets(after, name) for name in groups} == {name: sets(groups, name) for name in groups}
    assert discarded(group.name, groups, after) == ()


@given(picks())
def test_f_g2_after_unchecking_the_parent_passes_by(drawn):
    groups, number, items = drawn
    group = chosen(groups, number)
    after = applied(groups, wanted(group, dict.fromkeys(items, False)))
    bare = {
        "policies": {},
        "communication": CommunicationSettings(heartbeat=9.0),
        "values": {},
        "locations": None,
    }
    later = {name: replace(held, **bare) if name != group.name else held for name, held in after.items()}
    for item in items:
        assert held(later, group.name, item) == held(after, group.name, item)


def held(groups, name, item):
    """Return what holds of one item in a group, in general and in each location that anybody mentions."""
    tree = Tree(groups.values())
    if item == LOCATIONS:
        return resolve_locations(tree, name).value
    if item == COMMUNICATION:
        return {place: resolve_communication(tree, name, place).value for place in ("", *PLACES)}
    return {
        place: found.value if (found := resolve_assignments(tree, name, place).get(item)) else None
        for place in ("", *PLACES)
    }


@given(picks())
def test_f_g2_checking_again_lists_exactly_what_is_lost(drawn):
    groups, number, items = drawn
    group = chosen(groups, number)
    after = applied(groups, wanted(group, dict.fromkeys(items, True)))
    listed = discarded(group.name, groups, after)
    assert len(set(listed)) == len(listed)
    for item in items:
        changed = held(after, group.name, item) != held(groups, group.name, item)
        said = item if item in {COMMUNICATION, LOCATIONS} else f"policies.{item}"
        assert changed == any(line.startswith(f"{said}:") or f".{said}:" in line for line in listed)
    assert all(after[group.name].inherits_item(item) for item in items)


@given(picks())
def test_f_g2_unchecking_and_checking_again_is_as_before(drawn):
    groups, number, items = drawn
    group = chosen(groups, number)
    inherited = {item for item in items if group.inherits_item(item)}
    once = applied(groups, wanted(group, dict.fromkeys(inherited, False)))
    again = applied(once, wanted(group, {}))
    assert discarded(group.name, once, again) == ()
    assert {name: sets(again, name) for name in groups} == {name: sets(groups, name) for name in groups}


@given(trees())
def test_f_g1_values_of_two_groups_are_never_mixed(groups):
    tree = Tree(groups.values())
    for name in groups:
        for place in ("", *PLACES):
            for kind, origin in resolve_assignments(tree, name, place).items():
                owner = groups[origin.group]
                assert not owner.inherits_item(kind)
                by_place = owner.values[place].policies if place in owner.values else {}
                assert origin.value == (by_place[kind] if kind in by_place else owner.policies.get(kind))
                assert origin.location == (place if kind in by_place else "")
            settings = resolve_communication(tree, name, place)
            owner = groups[settings.group]
            said = owner.values[place].communication if place in owner.values else None
            general = own_communication(owner)
            assert settings.value == (replace(said, download=general.download) if said else general)


@given(trees())
def test_f_g1_groups_are_kept_and_read_back(groups):
    for group in groups.values():
        assert parse_group(group.name, row_of(group, 1).body) == group
