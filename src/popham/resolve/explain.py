"""Why a value holds: the lineage of one item, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from popham.model.communication import CommunicationSettings, show_duration
from popham.model.fleet import COMMUNICATION, Group, Tree
from popham.resolve.lineage import origin
from popham.resolve.resolved import own_communication


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one group of the lineage contributes.

    Attributes:
        group: Its name.
        inherits: Whether it takes the item from its parent.
        value: Its own value in words; empty if it inherits.
        holds: Whether this is the value that holds.
    """

    group: str
    inherits: bool
    value: str
    holds: bool


def explain(tree: Tree, group: str, item: str) -> tuple[Step, ...]:
    """Return one step per group of the lineage, from ``group`` up to the root.

    Args:
        tree: All groups.
        group: Name of the group.
        item: A policy type, or ``communication``.

    Raises:
        NotFoundError: There is no such group.
    """
    holder = origin(tree, group, item)
    return tuple(
        Step(
            group=at.name,
            inherits=at.inherits_item(item),
            value="" if at.inherits_item(item) else show_own(at, item),
            holds=at.name == holder.name,
        )
        for at in tree.lineage(group)
    )


def show_own(group: Group, item: str) -> str:
    """Return the group's own value of ``item`` in words."""
    if item == COMMUNICATION:
        return show_communication(own_communication(group))
    return group.policies.get(item) or "none"


def show_communication(settings: CommunicationSettings) -> str:
    """Return communication settings in words: ``Push, heartbeat 5m, spread 5m``."""
    spread = show_duration(settings.spread) if settings.spread else "off"
    return f"{settings.preset}, heartbeat {show_duration(settings.heartbeat)}, spread {spread}"
