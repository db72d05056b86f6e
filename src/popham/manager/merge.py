"""A group's definition and what is stored become the group that is to be.

Rules:

1. An item that is inherited has no own value; what was own is discarded, and listed.
2. An item that is the group's own and not named keeps its value. If it was
   inherited until now, it starts as a copy of what held, so that unchecking
   changes nothing.
3. What ``communication`` does not name stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from popham.model.communication import CommunicationSettings, settings_from_definition
from popham.model.definition import GroupDefinition
from popham.model.fleet import COMMUNICATION, Group
from popham.model.policy import TYPES
from popham.resolve.explain import show_own
from popham.resolve.resolved import own_communication


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
    for kind in _types(before, after) | set(definition.policies):
        if definition.inherits_item(kind):
            continue
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
    return Group(
        name=definition.name,
        parent=definition.parent,
        inherits=definition.inherits,
        exceptions={
            item: holds for item, holds in definition.exceptions.items() if holds != definition.inherits
        },
        policies=policies,
        communication=communication,
        labels=dict(definition.labels),
    )


def discarded(name: str, before: Mapping[str, Group], after: Group) -> tuple[str, ...]:
    """Return the own values that the group ``name`` loses because it inherits again, in words."""
    if name not in before:
        return ()
    old = before[name]
    found = []
    for item in [*sorted(_types(before)), COMMUNICATION]:
        if old.inherits_item(item) or not after.inherits_item(item):
            continue
        above = holder(before, old.parent, item) if old.parent else old
        if item == COMMUNICATION:
            found.append(f"{COMMUNICATION}: {show_own(old, item)}")
        elif old.policies.get(item) or above.policies.get(item):
            found.append(f"policies.{item}: {show_own(old, item)}")
    return tuple(found)


def holder(groups: Mapping[str, Group], name: str, item: str) -> Group:
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


def _types(*groups: Mapping[str, Group]) -> set[str]:
    return set(TYPES) | {kind for held in groups for group in held.values() for kind in group.policies}
