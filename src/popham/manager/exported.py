"""Stored objects as the definitions that make them: applying what is exported changes nothing.

Rules:

1. A definition is complete: applied to another Manager it makes the same object, whatever its parent is there.
2. Only what could be otherwise is written; keys have one order.
3. What a definition cannot say is told as a warning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from popham.manager.agent_definitions import annotations_of, definition_of
from popham.manager.objects import notes_of, read_tree
from popham.manager.proxies.definitions import annotations_of_proxy, proxy_definition_of
from popham.manager.settings_form import write_settings
from popham.model.criteria import hangs_on_manager
from popham.model.definition import API_VERSION
from popham.model.duration import show_duration
from popham.model.expectation import Expectation
from popham.model.fleet import COMMUNICATION, LOCATIONS, SETTINGS, Group, Tree
from popham.model.location import NO_VALUES, LocationRules
from popham.model.placement import ORDER_DEFAULT, Placement
from popham.model.policy import TYPES
from popham.model.yaml_text import write_yaml
from popham.resolve.lineage import origin
from popham.resolve.resolved import own_communication, own_locations, resolve_locations
from popham.store.rows import AgentDefinitionRow, PlacementRow, PolicyRow, ProxyRow
from popham.store.seam import Reading

Object = Mapping[str, Any]


def export(reading: Reading) -> tuple[list[tuple[str, str]], list[str]]:
    """Return (file name, YAML) of every object, by name, and what definitions cannot say, in sentences."""
    tree = read_tree(reading)
    files = [(f"groups/{group.name}.yaml", write_group(tree, group.name)) for group in tree]
    files += [(f"policies/{row.name}.yaml", write_policy(reading, row)) for row in reading.policies()]
    files += [(f"placements/{row.name}.yaml", write_placement(row)) for row in reading.placements()]
    files += [(f"agents/{row.name}.yaml", write_agent(row)) for row in reading.agent_definitions()]
    files += [(f"proxies/{row.name}.yaml", write_proxy(row)) for row in reading.proxies()]
    warnings = [warning for group in tree for warning in _warnings(tree, group)]
    return [(name, write_yaml(held)) for name, held in sorted(files)], sorted(warnings)


def write_group(tree: Tree, name: str) -> Object:
    """Return the definition of a group."""
    group = tree[name]
    spec: dict[str, Any] = {}
    if group.parent:
        spec |= {"parent": group.parent, "inherits": group.inherits}
    exceptions = {kind: holds for kind, holds in sorted(group.exceptions.items()) if kind not in SETTINGS}
    inheritance = ({"policies": exceptions} if exceptions else {}) | {
        item: group.exceptions[item] for item in (COMMUNICATION, LOCATIONS) if item in group.exceptions
    }
    if inheritance:
        spec["inheritance"] = inheritance
    if not group.inherits_item(COMMUNICATION):
        above = [own_communication(_above(tree, group, COMMUNICATION))] if group.parent else []
        spec["communication"] = write_settings(own_communication(group), above)
    policies = {kind: group.policies.get(kind) for kind in _kinds(tree, group)}
    if policies:
        spec["policies"] = policies
    spec |= _locations(tree, group)
    if group.minimum_serial:
        spec["minimum_serial"] = group.minimum_serial
    return _object("Group", name, group.labels, group.annotations, spec | _tests(group.tests))


def write_policy(reading: Reading, row: PolicyRow) -> Object:
    """Return the definition of a policy, with the body that its head names."""
    notes = notes_of(row)
    body = json.loads(reading.encoded(row.sha256) or b"{}").get("body", {})
    private = {"private_to": row.private_to} if row.private_to else {}
    body = _ordered(body, TYPES[row.type].schema if row.type in TYPES else {})
    spec = {"type": row.type, **private, **body, **_tests(notes.tests)}
    return _object("Policy", row.name, notes.labels, notes.annotations, spec)


def _ordered(value: Any, schema: Any) -> Any:
    """Return ``value`` with its keys in the order of a JSON Schema, which is that in which people write them."""
    held = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, list):
        return [_ordered(item, held.get("items")) for item in value]
    if not isinstance(value, Mapping):
        return value
    known = held.get("properties", {})
    keys = [key for key in known if key in value] + [key for key in value if key not in known]
    return {key: _ordered(value[key], known.get(key)) for key in keys}


def write_placement(row: PlacementRow) -> Object:
    """Return the definition of a rule of placement."""
    data = json.loads(row.body)
    rule = Placement.from_dict(row.name, data).as_dict()
    if rule["order"] == ORDER_DEFAULT:
        del rule["order"]
    spec = {key: value for key, value in rule.items() if value or key == "order"}
    return _object("Placement", row.name, {}, data.get("annotations", {}), spec)


def write_agent(row: AgentDefinitionRow) -> Object:
    """Return the definition of where an agent is visited, passwords included."""
    return _object("Agent", row.name, {}, annotations_of(row), definition_of(row).as_dict())


def write_proxy(row: ProxyRow) -> Object:
    """Return the definition of a Proxy Manager."""
    return _object("Proxy", row.name, {}, annotations_of_proxy(row), proxy_definition_of(row).as_dict())


def _object(
    kind: str, name: str, labels: Mapping[str, str], annotations: Mapping[str, str], spec: Object
) -> Object:
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = dict(sorted(labels.items()))
    if annotations:
        metadata["annotations"] = dict(sorted(annotations.items()))
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _tests(tests: Iterable[Expectation]) -> dict[str, Any]:
    written = [test.as_dict() for test in tests]
    return {"tests": written} if written else {}


def _kinds(tree: Tree, group: Group) -> list[str]:
    """Return the policy types of which the group must say something: what it has, and what it would copy."""
    kinds = set(group.policies)
    above = tree.lineage(group.parent) if group.parent else ()
    kinds.update(
        kind for one in above for kind in one.policies if _above(tree, group, kind).policies.get(kind)
    )
    return sorted(kind for kind in kinds if not group.inherits_item(kind))


def _above(tree: Tree, group: Group, item: str) -> Group:
    """Return the group of which a new one at this place would copy ``item``."""
    return origin(tree, group.parent, item)


def _locations(tree: Tree, group: Group) -> dict[str, Any]:
    """Return the list of locations, and how agents look."""
    inherits = group.inherits_item(LOCATIONS)
    rules = resolve_locations(tree, group.name).value
    spec: dict[str, Any] = {}
    if not inherits:
        above = own_locations(_above(tree, group, LOCATIONS)) if group.parent else LocationRules()
        if rules.check != above.check:
            spec["location_check"] = show_duration(rules.check)
        if rules.remembers != above.remembers:
            spec["location_memory"] = rules.remembers
        if set(group.values) - set(rules.names):
            return spec  # A list that is written would drop these values; the stored one stays.
        plain = rules.locations == LocationRules().locations and rules.default == LocationRules().default
        copied = not group.parent or above.locations == rules.locations
        if plain and copied and not group.values and not _hides(tree, group, rules.default):
            return spec
    entries = _entries(tree, group, rules)
    return spec | ({"locations": entries} if entries else {})


def _entries(tree: Tree, group: Group, rules: LocationRules) -> list[dict[str, Any]]:
    """Return the locations to write: all of an own list, else those of which the group says something."""
    inherits = group.inherits_item(LOCATIONS)
    entries = []
    for location in sorted(
        rules.locations, key=lambda one: (one.name == rules.default, -one.weight, one.name)
    ):
        values = _location_values(tree, group, location.name)
        entry: dict[str, Any] = {"name": location.name}
        if not inherits and location.when is None:
            entry["default"] = True
        elif not inherits and location.when is not None:
            entry |= {"weight": location.weight} if location.weight else {}
            entry["when"] = location.when.as_dict()
        if not inherits or values or _hides(tree, group, location.name):
            entries.append(entry | values)
    return entries


def _location_values(tree: Tree, group: Group, name: str) -> dict[str, Any]:
    held = group.values.get(name, NO_VALUES)
    found: dict[str, Any] = {"policies": dict(sorted(held.policies.items()))} if held.policies else {}
    if held.communication is not None:
        others = [own_communication(group)]
        if group.parent:
            above = _above(tree, group, COMMUNICATION)
            known = above.values.get(name, NO_VALUES).communication
            others += [own_communication(above), *([known] if known else [])]
        found["communication"] = write_settings(held.communication, others, download=False)
    return found


def _hides(tree: Tree, group: Group, name: str) -> bool:
    """Return whether a new group at this place would copy something for a location that this one has not."""
    if not group.parent:
        return False
    kinds = {kind for one in tree.lineage(group.parent) for v in one.values.values() for kind in v.policies}
    own = [kind for kind in kinds if not group.inherits_item(kind)]
    if any(kind in _above(tree, group, kind).values.get(name, NO_VALUES).policies for kind in own):
        return True
    settings = _above(tree, group, COMMUNICATION).values.get(name, NO_VALUES).communication
    return settings is not None and not group.inherits_item(COMMUNICATION)


def _warnings(tree: Tree, group: Group) -> Iterator[str]:
    """Yield what the definition of a group cannot say, or would be refused for."""
    rules = resolve_locations(tree, group.name).value
    for name in sorted(set(group.values) - set(rules.names)):
        yield f"group {group.name!r} has values for location {name!r}, which it has not; no definition can say them"
    own = () if group.inherits_item(LOCATIONS) else own_locations(group).locations
    if any(one.when is not None and hangs_on_manager(one.when) for one in own):
        yield f"group {group.name!r} has a location that hangs on the Manager alone: apply it with --force"
