"""From which group of the lineage an item comes.

An *item* is what is inherited as one: a policy type, or the communication
settings.
"""

from __future__ import annotations

from collections.abc import Iterable

from popham.model.fleet import COMMUNICATION, Group, Tree


def origin(tree: Tree, name: str, item: str) -> Group:
    """Return the group whose own value of ``item`` holds in the group ``name``.

    Raises:
        NotFoundError: There is no such group.
    """
    return next(group for group in tree.lineage(name) if not group.inherits_item(item))


def items(groups: Iterable[Group]) -> list[str]:
    """Return the items that ``groups`` say anything about: policy types by name, then communication."""
    types = {kind for group in groups for kind in (*group.policies, *group.exceptions)}
    return [*sorted(types - {COMMUNICATION}), COMMUNICATION]


def path(tree: Tree, name: str) -> str:
    """Return the lineage for people, from the root: ``fleet/branches/paris``."""
    return "/".join(group.name for group in reversed(tree.lineage(name)))
