"""From which group of the lineage an item comes.

An *item* is what is inherited as one: a policy type, the communication
settings, or the list of locations.
"""

from __future__ import annotations

from collections.abc import Iterable

from popham.model.fleet import COMMUNICATION, LOCATIONS, SETTINGS, Group, Tree


def origin(tree: Tree, name: str, item: str) -> Group:
    """Return the group whose own value of ``item`` holds in the group ``name``.

    Raises:
        NotFoundError: There is no such group.
    """
    return next(group for group in tree.lineage(name) if not group.inherits_item(item))


def items(groups: Iterable[Group]) -> list[str]:
    """Return the items that ``groups`` say anything about: policy types by name, then the settings."""
    types: set[str] = set()
    for group in groups:
        types.update(group.policies, group.exceptions, *(held.policies for held in group.values.values()))
    return [*sorted(types - SETTINGS), COMMUNICATION, LOCATIONS]


def path(tree: Tree, name: str) -> str:
    """Return the lineage for people, from the root: ``fleet/branches/paris``."""
    return "/".join(group.name for group in reversed(tree.lineage(name)))
