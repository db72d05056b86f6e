"""Groups and policies as the store keeps them, and back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from popham.errors import NotFoundError, StateError
from popham.model.bundle import PolicyRef
from popham.model.communication import CommunicationSettings
from popham.model.expectation import Expectation
from popham.model.fleet import Group, Tree
from popham.model.location import LocationRules, LocationValues, values_as_dict
from popham.model.names import DEFAULT_TENANT, canonical, nearest, show
from popham.model.policy import Policy
from popham.model.relations import PolicyHead
from popham.store.rows import GroupRow, PolicyRow
from popham.store.seam import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What is kept of a policy beside its body; none of it is ever in a bundle."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    tests: tuple[Expectation, ...] = ()

    def encoded(self) -> str:
        """Return what the column ``labels`` of a row keeps: the labels alone, if there is nothing else."""
        more = _more(self.annotations, self.tests)
        return canonical({"labels": dict(self.labels), **more} if more else dict(self.labels)).decode()


def notes_of(row: PolicyRow) -> Notes:
    """Return what is kept of a policy beside its body."""
    data = json.loads(row.labels)
    # A label is a text, so a mapping of this name is none.
    if not isinstance(data.get("labels"), dict):
        return Notes(labels=data)
    return Notes(labels=data["labels"], annotations=data.get("annotations", {}), tests=_read_tests(data))


def _more(annotations: Mapping[str, str], tests: Iterable[Expectation]) -> dict[str, Any]:
    """Return annotations and tests as plain data; what is not there is left out."""
    held = {"annotations": dict(annotations), "tests": [test.as_dict() for test in tests]}
    return {key: value for key, value in held.items() if value}


def _read_tests(data: Mapping[str, Any]) -> tuple[Expectation, ...]:
    return tuple(map(Expectation.from_dict, data.get("tests", ())))


def describe_group(group: Group) -> dict[str, Any]:
    """Return a group as plain data: what is kept of it, and what the audit shows."""
    # Only where it is used, so that what is stored of other groups stays as it is.
    minimum = {"minimum_serial": group.minimum_serial} if group.minimum_serial else {}
    return (
        _more(group.annotations, group.tests)
        | minimum
        | {
            "parent": group.parent,
            "inherits": group.inherits,
            "exceptions": dict(group.exceptions),
            "policies": dict(group.policies),
            "communication": group.communication.as_dict() if group.communication else None,
            "locations": group.locations.as_dict() if group.locations else None,
            "values": values_as_dict(group.values),
            "labels": dict(group.labels),
        }
    )


def describe_policy(row: PolicyRow) -> dict[str, Any]:
    """Return a policy's head as plain data; its body only by digest, since it may hold secrets."""
    notes = notes_of(row)
    return {
        "type": row.type,
        "revision": row.revision,
        "sha256": row.sha256,
        "private_to": row.private_to,
        "labels": dict(notes.labels),
        **_more(notes.annotations, notes.tests),
    }


def row_of(group: Group, edition: int) -> GroupRow:
    """Return the row that keeps ``group``."""
    body = canonical(describe_group(group)).decode()
    return GroupRow(name=group.name, body=body, edition=edition, tenant=group.tenant)


def group_of(row: GroupRow) -> Group:
    """Return the group that a row keeps."""
    return parse_group(row.name, row.body, tenant=row.tenant)


def parse_group(name: str, body: str, *, tenant: str = DEFAULT_TENANT) -> Group:
    """Return the group ``name`` whose row has this body."""
    data = json.loads(body)
    # What v0.1.0 kept has neither locations nor values.
    settings, rules = data["communication"], data.get("locations")
    return Group(
        name=name,
        parent=data["parent"],
        inherits=data["inherits"],
        exceptions=data["exceptions"],
        policies=data["policies"],
        communication=CommunicationSettings.from_dict(settings) if settings else None,
        locations=LocationRules.from_dict(rules) if rules else None,
        values={name: LocationValues.from_dict(held) for name, held in data.get("values", {}).items()},
        labels=data["labels"],
        annotations=data.get("annotations", {}),
        tests=_read_tests(data),
        minimum_serial=data.get("minimum_serial", 0),
        tenant=tenant,
    )


class GroupReader:
    """Reads all groups again and again: what has not changed since is not parsed once more.

    For one thread at a time. What was read inside a transaction that is then
    given up does no harm, since a group is known by what its row says.
    """

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._groups: dict[str, Group] = {}

    def read(self, reading: Reading) -> Mapping[str, Group]:
        """Return name → group, of all that there are."""
        bodies = reading.group_bodies()
        if bodies != self._bodies:
            held, known = self._groups, self._bodies
            self._groups = {
                name: held[name] if known.get(name) == body else parse_group(name, body)
                for name, body in bodies.items()
            }
            self._bodies = bodies
        return self._groups


def read_tree(reading: Reading) -> Tree:
    """Return all groups as a tree."""
    return Tree(group_of(row) for row in reading.groups())


def find_group(reading: Reading, name: str) -> GroupRow:
    """Return the row of one group; raises NotFoundError ``not_found.group``."""
    row = reading.group(name)
    if row is None:
        hint = nearest(name, [known.name for known in reading.groups()])
        raise NotFoundError("group", f"there is no group {show(name)}", hint)
    return row


def missing_policy(reading: Reading, name: str, hint: str = "") -> NotFoundError:
    """Return the refusal for a policy that is not there; without a ``hint`` it names the nearest."""
    hint = hint or nearest(name, [known.name for known in reading.policies()])
    return NotFoundError("policy", f"there is no policy {show(name)}", hint)


def last_revision(reading: Reading, name: str) -> int:
    """Return the number of the newest revision that a policy has, or had before it was deleted; 0 if none."""
    return next(iter(reading.revision_numbers(name)), 0)


def read_lineage(reading: Reading, name: str) -> Tree:
    """Return the tree of one group and those above it; asking for others finds nothing.

    Raises:
        NotFoundError: There is no such group.
    """
    found = [group_of(find_group(reading, name))]
    while found[-1].parent and (row := reading.group(found[-1].parent)) is not None:
        found.append(group_of(row))
    return Tree(found)


def read_refs(reading: Reading, heads: Iterable[PolicyRow] | None = None) -> dict[str, PolicyRef]:
    """Return policy name → its newest revision as bundles name it; ``heads`` if they were read already."""
    lengths = reading.policy_lengths()
    return {
        row.name: PolicyRef(
            type=row.type,
            name=row.name,
            revision=row.revision,
            sha256=row.sha256,
            length=lengths.get(row.name, 0),
        )
        for row in (reading.policies() if heads is None else heads)
    }


def read_heads(rows: Iterable[PolicyRow]) -> Mapping[str, PolicyHead]:
    """Return what must be known of each policy to assign it."""
    return {row.name: PolicyHead(type=row.type, private_to=row.private_to) for row in rows}


def show_some(names: Collection[str], most: int) -> str:
    """Return names for a sentence: ``a, b and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(list(names)[:most]) + more


def read_texts(text: str) -> dict[str, str]:
    """Return the labels or attributes that a row keeps as JSON."""
    found: dict[str, str] = json.loads(text)
    return found


def read_policies(reading: Reading, refs: Iterable[PolicyRef]) -> list[Policy]:
    """Return the policies that ``refs`` name, with their bodies.

    Raises:
        StateError: ``state.blob``: a body is gone from the store.
    """
    found = []
    for ref in refs:
        encoded = reading.encoded(ref.sha256)
        if encoded is None:
            problem = f"the body {ref.sha256} of policy {ref.name!r} is not in the store"
            raise StateError("blob", problem, "Restore the Manager from a backup")
        body = json.loads(encoded)["body"]
        found.append(Policy(name=ref.name, type=ref.type, body=body, revision=ref.revision))
    return found


def lineage_of(tree: Tree, group: str) -> tuple[str, ...]:
    """Return a group and all above it, itself first; itself alone if it is gone."""
    return tuple(one.name for one in tree.lineage(group)) if group in tree else (group,)
