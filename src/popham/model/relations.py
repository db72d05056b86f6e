"""What definitions say about each other, and about what is stored.

The same rules serve ``popham check``, which knows only the set, and a Manager,
which knows everything: what is not known is not complained about unless the
caller says that it knows all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from popham.errors import DefinitionError
from popham.model.findings import Findings
from popham.model.fleet import COMMUNICATION, LOCATIONS
from popham.model.location import CHECK_DEFAULT, check_extent
from popham.model.names import nearest
from popham.model.wanted import Definitions, GroupDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyHead:
    """What must be known of a policy to assign it: its type, and the one group it may be for."""

    type: str
    private_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is there already.

    Attributes:
        parents: Group → parent, empty for the root.
        policies: Policy → its head.
        complete: Whether a name that is not found does not exist.
    """

    parents: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, PolicyHead] = field(default_factory=dict)
    complete: bool = False


def check_relations(definitions: Definitions, findings: Findings, stored: Stored | None = None) -> None:
    """Add to ``findings`` what is wrong between the definitions, and with what is ``stored``."""
    stored = stored or Stored()
    parents = dict(stored.parents) | {group.name: group.parent for group in definitions.groups}
    heads = dict(stored.policies)
    for policy in definitions.policies:
        heads[policy.name] = PolicyHead(type=policy.type, private_to=policy.private_to)
        before = stored.policies.get(policy.name)
        if before and before.type != policy.type:
            problem = f"policy {policy.name!r} is of type {before.type!r}, and cannot become {policy.type!r}"
            findings.add(policy.place.wrong("type", "policy_type", problem, "Give it another name"))
        if stored.complete and policy.private_to and policy.private_to not in parents:
            problem = f"private_to: there is no group {policy.private_to!r}"
            hint = nearest(policy.private_to, parents)
            findings.add(policy.place.wrong("private_to", "unknown_group", problem, hint))
    for error in _unknown_groups(definitions, parents) if stored.complete else ():
        findings.add(error)
    circles: set[frozenset[str]] = set()
    for group in definitions.groups:
        if group.parent and stored.complete and group.parent not in parents:
            problem = f"parent: there is no group {group.parent!r}"
            findings.add(
                group.place.wrong("parent", "unknown_group", problem, nearest(group.parent, parents))
            )
        circle = _circle(group.name, parents)
        if circle and frozenset(circle) not in circles:
            circles.add(frozenset(circle))
            problem = f"groups inherit in a circle: {' → '.join([*circle, group.name])}"
            findings.add(group.place.wrong("parent", "cycle", problem, "Give one of them another parent"))
        for error in _assignments(group, heads, complete=stored.complete):
            findings.add(error)


def _unknown_groups(definitions: Definitions, parents: Mapping[str, str]) -> Iterator[DefinitionError]:
    """Yield groups in which agents are to begin, or that are given to proxies, and are not there."""
    for placement in definitions.placements:
        target = placement.rule.group
        if target and target not in parents:
            problem = f"group: there is no group {target!r}"
            yield placement.place.wrong("group", "unknown_group", problem, nearest(target, parents))
    for proxy in definitions.proxies:
        for target in proxy.definition.groups:
            if target not in parents:
                problem = f"groups: there is no group {target!r}"
                yield proxy.place.wrong("groups", "unknown_group", problem, nearest(target, parents))


def check_places(definitions: Definitions, findings: Findings) -> None:
    """Add to ``findings`` where two definitions name one place, or one agent."""
    places: dict[str, str] = {}
    uids: dict[str, str] = {}
    for wanted in definitions.agents:
        found = wanted.definition
        other = places.setdefault(found.where, wanted.name)
        if other != wanted.name:
            findings.add(wanted.place.wrong("address", "agent_place", *same_place(found.where, other)))
        other = uids.setdefault(found.uid, wanted.name) if found.uid else wanted.name
        if other != wanted.name:
            findings.add(wanted.place.wrong("uid", "agent_uid", *same_uid(found.uid, other)))


def same_place(where: str, other: str) -> tuple[str, str]:
    """Return the sentence and the hint for a place that another definition has."""
    problem = f"address: {where} is the place of agent definition {other!r}"
    return problem, "Keep one of them: one service is one agent"


def same_uid(uid: str, other: str) -> tuple[str, str]:
    """Return the sentence and the hint for an agent that another definition is bound to."""
    problem = f"uid: agent {uid} already has the agent definition {other!r}"
    return problem, f"Keep one of them: popham delete agent-definition {other}"


def _circle(name: str, parents: Mapping[str, str]) -> list[str]:
    """Return the circle that ``name`` is part of, from it upwards; empty if there is none."""
    seen = {name: None}
    above = parents.get(name, "")
    while above and above not in seen:
        seen[above] = None
        above = parents.get(above, "")
    return list(seen) if above == name else []


def _assignments(
    group: GroupDefinition, heads: Mapping[str, PolicyHead], *, complete: bool
) -> list[DefinitionError]:
    """Return what is wrong with the values that a group names for itself."""
    found = []
    if group.communication is not None and group.inherits_item(COMMUNICATION):
        found.append(_inherited(group, COMMUNICATION, "inheritance.communication"))
    found += _locations(group)
    for location, kind, name in _named(group):
        within = f"locations.{location}." if location else ""
        part = f"{within}policies.{kind}"
        if group.inherits_item(kind):
            found.append(_inherited(group, part, f"inheritance.policies.{kind}"))
        if name is None:
            continue
        head = heads.get(name)
        if head is None:
            if complete:
                problem = f"{part}: there is no policy {name!r}"
                found.append(group.place.wrong(part, "unknown_policy", problem, nearest(name, heads)))
        elif head.type != kind:
            problem = f"{part}: policy {name!r} is of type {head.type!r}"
            hint = f"Assign it as 'policies.{head.type}: {name}'"
            found.append(group.place.wrong(part, "policy_type", problem, hint))
        elif head.private_to and head.private_to != group.name:
            found.append(group.place.wrong(part, "private", *private(part, name, head.private_to)))
    return found


def _named(group: GroupDefinition) -> Iterator[tuple[str, str, str | None]]:
    """Yield location (empty: all), policy type and policy of everything that a group assigns."""
    yield from (("", kind, name) for kind, name in group.policies.items())
    for location in group.locations or ():
        yield from ((location.name, kind, name) for kind, name in location.policies.items())


def _locations(group: GroupDefinition) -> list[DefinitionError]:
    """Return what is wrong with the locations that a group names."""
    found = []
    inherits = group.inherits_item(LOCATIONS)
    written = group.location_check is not None or group.location_memory is not None
    if inherits and written:
        part = "location_check" if group.location_check is not None else "location_memory"
        found.append(_inherited(group, part, "inheritance.locations"))
    if group.locations is not None and not inherits and not any(one.default for one in group.locations):
        problem = "locations: none of them is the default"
        hint = "Add '- {name: default, default: true}': it holds where no other does"
        found.append(group.place.wrong("locations", "default_location", problem, hint))
    found += _extent(group)
    for location in group.locations or ():
        if not inherits and not location.default and location.when is None:
            problem = f"locations: {location.name!r} has no criteria"
            hint = "Write what must hold under 'when:'"
            found.append(group.place.wrong(f"locations.{location.name}", "criteria", problem, hint))
        if inherits and location.is_edit:
            part = f"locations.{location.name}"
            problem = f"{part}: group {group.name!r} inherits its locations from {group.parent!r}"
            hint = "An inherited location can be given policies and settings; set 'inheritance.locations: false' to edit it"
            found.append(group.place.wrong(part, "inherited", problem, hint))
        if location.communication is not None and group.inherits_item(COMMUNICATION):
            part = f"locations.{location.name}.communication"
            found.append(_inherited(group, part, "inheritance.communication"))
    return found


def _extent(group: GroupDefinition) -> list[DefinitionError]:
    """Return that the written list is too large, if it is."""
    criteria = [one.when for one in group.locations or () if one.when is not None]
    written = CHECK_DEFAULT if group.location_check is None else group.location_check
    try:
        check_extent(criteria, written)
    except DefinitionError as error:
        part = "locations" if error.code == "definition.criteria" else "location_check"
        error.source, error.line = group.place.source, group.place.lines.get(part, group.place.line)
        return [error]
    return []


def private(part: str, name: str, group: str) -> tuple[str, str]:
    """Return the sentence and the hint for a private policy that is assigned elsewhere."""
    problem = f"{part}: policy {name!r} is private to group {group!r}"
    return problem, f"Copy it under another name, or leave out 'private_to' of {name!r}"


def _inherited(group: GroupDefinition, part: str, key: str) -> DefinitionError:
    problem = f"{part}: group {group.name!r} inherits this from {group.parent!r}"
    return group.place.wrong(part, "inherited", problem, f"Set '{key}: false' to give it its own value")
