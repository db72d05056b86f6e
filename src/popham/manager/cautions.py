"""Warnings of an apply: what is possible, and will surprise somebody one day."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import replace

from popham.manager.merge import holder
from popham.model.agent_definition import AgentDefinition, Tls
from popham.model.criteria import hangs_on_manager
from popham.model.fleet import COMMUNICATION, LOCATIONS, Group, Tree
from popham.model.location import LocationRules, overlapping
from popham.model.wanted import Definitions, GroupDefinition, LocationDefinition
from popham.resolve.explain import show_communication
from popham.resolve.resolved import own_communication, own_locations


def find_warnings(definitions: Definitions, before: Mapping[str, Group], tree: Tree) -> tuple[str, ...]:
    """Return what is unwise in ``definitions``, and what has no effect any more below them, in sentences.

    Args:
        definitions: What was applied.
        before: All groups as they were.
        tree: All groups as they are now.
    """
    found: list[str] = []
    for definition in definitions.groups:
        found += _copied(definition, before, tree)
        if definition.locations is not None and not definition.inherits_item(LOCATIONS):
            found += _of_rules(definition.name, definition.locations, tree)
    for wanted in definitions.agents:
        found += _readable(wanted.definition)
    names = {definition.name for definition in definitions.groups}
    moved = {name for name in names if name not in before or _rules(before, name) != _rules(tree, name)}
    names |= {below.name for name in moved for below in tree.below(name)}
    for name in sorted(names):
        found += _without_location(tree[name], tree)
    return tuple(found)


def _readable(definition: AgentDefinition) -> Iterator[str]:
    """Yield what others on the network may read of what an agent is given; signatures hide nothing."""
    if definition.tls is Tls.OFF and not _is_here(definition.address):
        what = (
            "its password, and secrets in its policies," if definition.password else "secrets in its policies"
        )
        yield (f"agent {definition.name!r}: {what} go over the network as they are, since 'tls' is off")


def _is_here(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _rules(groups: Mapping[str, Group] | Tree, name: str) -> LocationRules:
    """Return the locations that hold in the group ``name``."""
    return own_locations(holder(groups, name, LOCATIONS))


def _of_rules(group: str, locations: tuple[LocationDefinition, ...], tree: Tree) -> Iterator[str]:
    """Yield what is unwise about a group's own list."""
    for location in locations:
        if location.when is not None and hangs_on_manager(location.when):
            yield (
                f"group {group!r}: whether the Manager is reachable alone decides about location "
                f"{location.name!r}: when it dies, the agents change location"
            )
    for first, second in overlapping(_rules(tree, group).locations):
        yield (
            f"group {group!r}: locations {first!r} and {second!r} have the same weight: "
            f"where both hold, {first!r} counts, as the first by name"
        )


def _copied(definition: GroupDefinition, before: Mapping[str, Group], tree: Tree) -> Iterator[str]:
    """Yield where a value that is named in the step that unchecks its item does not hold.

    There the group has a copy of what held by inheritance, as anywhere.
    """
    was, group = before.get(definition.name), tree[definition.name]
    if not group.parent:
        return
    named: dict[str, object] = dict(definition.policies)
    if definition.communication is not None:
        named[COMMUNICATION] = own_communication(group)
    written = {location.name for location in definition.locations or ()}
    known = set(_rules(tree, group.name).names)
    for item, wanted in sorted(named.items()):
        if was is not None and not was.inherits_item(item):
            continue
        for place in sorted((known & set(group.values)) - written):
            held = _held_at(group, item, place)
            if held is not None and held[0] != wanted:
                yield (
                    f"group {group.name!r}: in location {place!r} still {held[1]} holds for {item!r}, a copy of "
                    f"what was inherited: name the location under 'locations' to change that"
                )


def _held_at(group: Group, item: str, place: str) -> tuple[object, str] | None:
    """Return what a group has of its own of an item in a location, also in words; None if nothing."""
    values = group.values[place]
    if item == COMMUNICATION:
        if values.communication is None:
            return None
        settings = replace(values.communication, download=own_communication(group).download)
        return settings, show_communication(settings)
    if item not in values.policies:
        return None
    name = values.policies[item]
    return name, repr(name) if name else "no policy"


def _without_location(group: Group, tree: Tree) -> Iterator[str]:
    """Yield what a group says of locations that it does not have."""
    known = _rules(tree, group.name).names
    for name in sorted(set(group.values) - set(known)):
        yield f"group {group.name!r} has no location {name!r}: its values for it have no effect there"
