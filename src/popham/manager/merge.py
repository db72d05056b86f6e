"""A group's definition and what is stored become the group that is to be.

Rules:

1. An item that is inherited has no own value; what was own is discarded, and listed.
2. An item that is the group's own and not named keeps its value. If it was
   inherited until now, it starts as a copy of what held, in every location, so
   that unchecking changes nothing.
3. What ``communication`` does not name stays as it is. A location that is
   named has exactly what is written for it, and otherwise the group's values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from popham.model.communication import CommunicationSettings, settings_from_definition
from popham.model.definition import Definitions, GroupDefinition
from popham.model.fleet import COMMUNICATION, LOCATIONS, Group, Tree
from popham.model.location import NO_VALUES, Location, LocationRules, LocationValues, check_extent
from popham.model.policy import TYPES
from popham.model.wanted import LocationDefinition
from popham.resolve.explain import show_communication, show_own
from popham.resolve.resolved import own_communication, own_locations


def merge(definition: GroupDefinition, before: Mapping[str, Group], after: Mapping[str, Group]) -> Group:
    """Return the group that ``definition`` wants.

    Args:
        definition: Checked, relations included.
        before: All groups as they are stored.
        after: All groups as they are to be, as far as they are known: the
            parent of this one must be among them.

    Raises:
        DefinitionError: A setting is out of range.
    """
    policies: dict[str, str] = {}
    for kind in _own_types(definition, before, after):
        named = definition.policies.get(kind)
        if kind not in definition.policies:
            start = _start(definition, kind, before, after)
            named = start.policies.get(kind) if start else None
        if named is not None:
            policies[kind] = named
    communication: CommunicationSettings | None = None
    if not definition.inherits_item(COMMUNICATION):
        start = _start(definition, COMMUNICATION, before, after)
        communication = own_communication(start) if start else CommunicationSettings()
        if definition.communication is not None:
            communication = settings_from_definition(definition.communication, communication)
    rules = _locations(definition, before, after)
    return Group(
        name=definition.name,
        parent=definition.parent,
        inherits=definition.inherits,
        exceptions={
            item: holds for item, holds in definition.exceptions.items() if holds != definition.inherits
        },
        policies=policies,
        communication=communication,
        locations=rules,
        values=_values(definition, before, after, rules, communication),
        labels=dict(definition.labels),
        annotations=dict(definition.annotations),
        tests=definition.tests,
        minimum_serial=definition.minimum_serial,
    )


def parents_first(definitions: Definitions) -> Sequence[GroupDefinition]:
    """Return the groups of the set so that each stands after its parent; the relations are checked."""
    waiting = {group.name: group for group in definitions.groups}
    done: list[GroupDefinition] = []
    while waiting:
        line = [next(iter(waiting.values()))]
        while line[-1].parent in waiting:
            line.append(waiting[line[-1].parent])
        done.extend(waiting.pop(group.name) for group in reversed(line))
    return done


def _locations(
    definition: GroupDefinition, before: Mapping[str, Group], after: Mapping[str, Group]
) -> LocationRules | None:
    """Return the group's own list of locations; None if it inherits it."""
    if definition.inherits_item(LOCATIONS):
        return None
    start = _start(definition, LOCATIONS, before, after)
    rules = own_locations(start) if start else LocationRules()
    if definition.locations is not None:
        rules = replace(
            rules,
            locations=tuple(
                Location(name=one.name, weight=one.weight or 0, when=one.when) for one in definition.locations
            ),
            default=next(one.name for one in definition.locations if one.default),
        )
    if definition.location_check is not None:
        rules = replace(rules, check=definition.location_check)
    if definition.location_memory is not None:
        rules = replace(rules, remembers=definition.location_memory)
    held = before.get(definition.name)
    if held is not None and held.locations is None and rules == LocationRules():
        # What v0.1.0 stored, and a new root, say nothing of locations; that is the default, and no change.
        return held.locations
    check_extent([one.when for one in rules.locations if one.when is not None], rules.check)
    return rules


def _values(
    definition: GroupDefinition,
    before: Mapping[str, Group],
    after: Mapping[str, Group],
    rules: LocationRules | None,
    communication: CommunicationSettings | None,
) -> dict[str, LocationValues]:
    """Return what differs in each location, of the items that are the group's own."""
    found: dict[str, LocationValues] = {}
    for kind in sorted(_own_types(definition, before, after)):
        start = _start(definition, kind, before, after)
        for name, held in start.values.items() if start else ():
            if kind in held.policies:
                known = found.get(name, NO_VALUES)
                found[name] = replace(known, policies={**known.policies, kind: held.policies[kind]})
    if communication is not None:
        start = _start(definition, COMMUNICATION, before, after)
        for name, held in start.values.items() if start else ():
            if held.communication is not None:
                found[name] = replace(found.get(name, NO_VALUES), communication=held.communication)
    for location in definition.locations or ():
        found[location.name] = _written(location, communication)
    # A list that is written has only these locations. A copy keeps all values: groups below with a
    # list of their own may have a location that this one has not.
    # A new group has none below, and begins with values for its own locations only.
    kept: Collection[str] = found
    if rules and definition.locations is not None:
        kept = rules.names
    elif definition.name not in before and definition.parent:
        kept = (rules or own_locations(holder(after, definition.parent, LOCATIONS))).names
    return {name: held for name, held in found.items() if held != NO_VALUES and name in kept}


def _written(location: LocationDefinition, communication: CommunicationSettings | None) -> LocationValues:
    """Return what is written for one location; what settings of its own do not name is as in the group."""
    settings = None
    if location.communication is not None:
        base = communication or CommunicationSettings()
        settings = replace(settings_from_definition(location.communication, base), download=True)
    return LocationValues(policies=dict(location.policies), communication=settings)


def discarded(name: str, before: Mapping[str, Group], after: Mapping[str, Group]) -> tuple[str, ...]:
    """Return what the group ``name`` loses because it inherits again, in words.

    That is what held in it by its own values, and does not hold by those it inherits.
    """
    if name not in before:
        return ()
    old, new = before[name], after[name]
    kinds = _types(_line(before, name), _line(after, name))
    found: list[str] = []
    for item in [*sorted(kinds), COMMUNICATION, LOCATIONS]:
        if not old.inherits_item(item) and new.inherits_item(item):
            found.extend(_lost(item, old, holder(after, new.parent, item)))
    return tuple(found)


def _lost(item: str, old: Group, above: Group) -> Iterator[str]:
    """Yield the values of ``item`` that ``old`` has and that differ from those of ``above``, in words."""
    if item == LOCATIONS:
        if own_locations(old) != own_locations(above):
            yield f"{item}: {show_own(old, item)}"
        return
    said = item if item == COMMUNICATION else f"policies.{item}"
    differs = _held(old, item, "") != _held(above, item, "")
    if differs:
        yield f"{said}: {show_own(old, item)}"
    for name in sorted({*old.values, *above.values}):
        own = _own(old, item, name)
        held = _held(old, item, name)
        if held != _held(above, item, name) and (own or not differs):
            words = show_communication(held) if isinstance(held, CommunicationSettings) else held or "none"
            yield f"locations.{name}.{said}: {words}"


def _own(group: Group, item: str, location: str) -> bool:
    """Return whether ``group`` says something of ``item`` for one location."""
    values = group.values.get(location, NO_VALUES)
    return values.communication is not None if item == COMMUNICATION else item in values.policies


def _held(group: Group, item: str, location: str) -> CommunicationSettings | str | None:
    """Return what ``group`` says of ``item``, there or in general."""
    values = group.values.get(location, NO_VALUES)
    if item == COMMUNICATION:
        settings = own_communication(group)
        held = values.communication
        return settings if held is None else replace(held, download=settings.download)
    return values.policies[item] if item in values.policies else group.policies.get(item)


def holder(groups: Mapping[str, Group] | Tree, name: str, item: str) -> Group:
    """Return the group whose own value of ``item`` holds in the group ``name``."""
    group = groups[name]
    while group.inherits_item(item):
        group = groups[group.parent]
    return group


def _start(
    definition: GroupDefinition, item: str, before: Mapping[str, Group], after: Mapping[str, Group]
) -> Group | None:
    """Return the group whose own value an own item starts from; None for a new root."""
    if definition.name in before:
        return holder(before, definition.name, item)
    return holder(after, definition.parent, item) if definition.parent else None


def _own_types(
    definition: GroupDefinition, before: Mapping[str, Group], after: Mapping[str, Group]
) -> set[str]:
    """Return the policy types that the group does not inherit."""
    lines = [_line(before, definition.name), _line(after, definition.parent)]
    kinds = _types(*lines) | set(definition.policies)
    for location in definition.locations or ():
        kinds.update(location.policies)
    return {kind for kind in kinds if not definition.inherits_item(kind)}


def _line(groups: Mapping[str, Group], name: str) -> list[Group]:
    """Return the group ``name`` and all above it; empty if it is not there."""
    found: list[Group] = []
    while name in groups:
        found.append(groups[name])
        name = found[-1].parent
    return found


def _types(*lines: Iterable[Group]) -> set[str]:
    """Return the policy types that there are, or were when these groups were stored."""
    found = set(TYPES)
    for group in (group for line in lines for group in line):
        found.update(group.policies, *(values.policies for values in group.values.values()))
    return found
