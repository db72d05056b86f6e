"""Why a value holds: the lineage of one item, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from popham.model.communication import (
    ACCELERATED_DEFAULT,
    HOLD_DEFAULT,
    CommunicationSettings,
    show_duration,
)
from popham.model.fleet import COMMUNICATION, LOCATIONS, Group, Tree
from popham.model.location import LocationRules
from popham.resolve.lineage import origin
from popham.resolve.resolved import own_communication, own_locations


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
        item: A policy type, ``communication`` or ``locations``.

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
    if item == LOCATIONS:
        return show_locations(own_locations(group))
    return group.policies.get(item) or "none"


def show_locations(rules: LocationRules) -> str:
    """Return a list of locations in words: ``office, home; default home``, or ``home`` alone."""
    return f"{', '.join(rules.names)}; default {rules.default}" if len(rules.names) > 1 else rules.default


def show_communication(settings: CommunicationSettings) -> str:
    """Return communication settings in words: ``Push, heartbeat 5m, spread 5m``."""
    spread = show_duration(settings.spread) if settings.spread else "off"
    parts = [f"{settings.preset}", f"heartbeat {show_duration(settings.heartbeat)}", f"spread {spread}"]
    parts += [f"{name} off" for name in ("download", "upload", "critical") if not getattr(settings, name)]
    if settings.accelerated != ACCELERATED_DEFAULT:
        parts.append(f"accelerated {show_duration(settings.accelerated) if settings.accelerated else 'off'}")
    if settings.never_dial:
        parts.append("agents never dial")
    if settings.data is not None:
        parts.append(f"data: {settings.data.preset}")
    parts += [period.describe() for period in settings.times]
    if settings.metered is not None:
        parts.append(f"metered: {settings.metered.describe()}")
    if settings.servers:
        parts.append("servers " + " ".join(f"{one.url} ({one.priority})" for one in settings.servers))
    if settings.hold != HOLD_DEFAULT:
        parts.append(f"hold {show_duration(settings.hold)}")
    return ", ".join(parts)
