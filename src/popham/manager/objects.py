"""Groups and policies as the store keeps them, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from popham.errors import StateError
from popham.model.bundle import PolicyRef
from popham.model.communication import CommunicationSettings
from popham.model.fleet import Group, Tree
from popham.model.names import canonical
from popham.model.policy import Policy
from popham.model.relations import PolicyHead
from popham.store.rows import GroupRow, PolicyRow
from popham.store.seam import Reading


def describe_group(group: Group) -> dict[str, Any]:
    """Return a group as plain data: what is kept of it, and what the audit shows."""
    return {
        "parent": group.parent,
        "inherits": group.inherits,
        "exceptions": dict(group.exceptions),
        "policies": dict(group.policies),
        "communication": group.communication.as_dict() if group.communication else None,
        "labels": dict(group.labels),
    }


def describe_policy(row: PolicyRow) -> dict[str, Any]:
    """Return a policy's head as plain data; its body only by digest, since it may hold secrets."""
    return {
        "type": row.type,
        "revision": row.revision,
        "sha256": row.sha256,
        "private_to": row.private_to,
        "labels": json.loads(row.labels),
    }


def row_of(group: Group, edition: int) -> GroupRow:
    """Return the row that keeps ``group``."""
    body = canonical(describe_group(group)).decode()
    return GroupRow(name=group.name, body=body, edition=edition, tenant=group.tenant)


def group_of(row: GroupRow) -> Group:
    """Return the group that a row keeps."""
    data = json.loads(row.body)
    settings = data["communication"]
    return Group(
        name=row.name,
        parent=data["parent"],
        inherits=data["inherits"],
        exceptions=data["exceptions"],
        policies=data["policies"],
        communication=CommunicationSettings.from_dict(settings) if settings else None,
        labels=data["labels"],
        tenant=row.tenant,
    )


def read_tree(reading: Reading) -> Tree:
    """Return all groups as a tree."""
    return Tree(group_of(row) for row in reading.groups())


def read_refs(reading: Reading, names: Iterable[str] | None = None) -> dict[str, PolicyRef]:
    """Return policy name → its newest revision as bundles name it, of ``names`` or of all."""
    wanted = None if names is None else set(names)
    found: dict[str, PolicyRef] = {}
    for row in reading.policies():
        if wanted is None or row.name in wanted:
            length = len(reading.encoded(row.sha256) or b"")
            found[row.name] = PolicyRef(
                type=row.type, name=row.name, revision=row.revision, sha256=row.sha256, length=length
            )
    return found


def read_heads(rows: Iterable[PolicyRow]) -> Mapping[str, PolicyHead]:
    """Return what must be known of each policy to assign it."""
    return {row.name: PolicyHead(type=row.type, private_to=row.private_to) for row in rows}


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
