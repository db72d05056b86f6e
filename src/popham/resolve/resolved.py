"""The resolved policy: what is to hold in one group and location, each value with its origin.

Rules:

1. Each item comes whole from one group: the nearest in the lineage that does
   not inherit it. Values of two groups are never mixed.
2. A type without a policy there has no policy here; assigning none is a value.
3. A policy that no group of the lineage assigns has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from popham.errors import NotFoundError
from popham.model.bundle import LocationSet, PolicyRef
from popham.model.communication import CommunicationSettings
from popham.model.fleet import COMMUNICATION, Group, Tree
from popham.model.names import DEFAULT_LOCATION, nearest
from popham.resolve.lineage import items, origin

V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden(Generic[V]):
    """The value that would hold if the item were inherited, and the group it would come from."""

    group: str
    value: V


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin(Generic[V]):
    """A value and where it comes from.

    Attributes:
        value: What holds.
        group: The group that has it as its own.
        inherited: Whether that is a group above.
        overrides: What it hides; None if it is inherited or stands in the root.
    """

    value: V
    group: str
    inherited: bool
    overrides: Overridden[V] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPolicy:
    """What is to hold.

    Attributes:
        policies: Policy type → the policy, or None where there is none, with
            its origin; every type that the lineage mentions.
        communication: The settings with their origin.
    """

    group: str
    communication: Origin[CommunicationSettings]
    policies: Mapping[str, Origin[PolicyRef | None]] = field(default_factory=dict)
    location: str = DEFAULT_LOCATION

    def as_set(self) -> LocationSet:
        """Return what holds as it stands in a bundle: policies by type, without origins."""
        held = (self.policies[kind].value for kind in sorted(self.policies))
        return LocationSet(
            policies=tuple(ref for ref in held if ref is not None), communication=self.communication.value
        )


def resolve(
    tree: Tree, policies: Mapping[str, PolicyRef], group: str, location: str = DEFAULT_LOCATION
) -> ResolvedPolicy:
    """Return what is to hold in ``group`` at ``location``.

    Args:
        tree: All groups.
        policies: Policy name → the revision to deliver.
        group: Name of the group.
        location: Name of the location; a location uses its group's values.

    Raises:
        NotFoundError: There is no such group, or a group of its lineage
            assigns a policy that does not exist.
    """
    found = {
        kind: _with_ref(kind, assigned, policies)
        for kind, assigned in resolve_assignments(tree, group).items()
    }
    return ResolvedPolicy(
        group=group, location=location, communication=resolve_communication(tree, group), policies=found
    )


def resolve_communication(tree: Tree, group: str) -> Origin[CommunicationSettings]:
    """Return the communication settings that are to hold in ``group``.

    Raises:
        NotFoundError: There is no such group.
    """
    return _originate(tree, group, COMMUNICATION, own_communication)


def resolve_assignments(tree: Tree, group: str) -> dict[str, Origin[str | None]]:
    """Return policy type → the name of the policy that is to hold in ``group``, or None.

    Raises:
        NotFoundError: There is no such group.
    """
    types = [item for item in items(tree.lineage(group)) if item != COMMUNICATION]
    return {kind: _originate(tree, group, kind, partial(_assigned, kind)) for kind in types}


def own_communication(group: Group) -> CommunicationSettings:
    """Return the settings that ``group`` itself has; the defaults if it has never had any."""
    return group.communication or CommunicationSettings()


def _assigned(kind: str, group: Group) -> str | None:
    return group.policies.get(kind)


def _originate(tree: Tree, name: str, item: str, value_of: Callable[[Group], V]) -> Origin[V]:
    """Return the value of ``item`` in the group ``name``, given how a group tells its own."""
    holder = origin(tree, name, item)
    inherited = holder.name != name
    overrides = None
    if not inherited and holder.parent:
        above = origin(tree, holder.parent, item)
        overrides = Overridden(group=above.name, value=value_of(above))
    return Origin(value=value_of(holder), group=holder.name, inherited=inherited, overrides=overrides)


def _with_ref(
    kind: str, assigned: Origin[str | None], policies: Mapping[str, PolicyRef]
) -> Origin[PolicyRef | None]:
    """Return ``assigned`` with revisions instead of names."""
    hidden = assigned.overrides
    overrides: Overridden[PolicyRef | None] | None = None
    if hidden is not None:
        overrides = Overridden(group=hidden.group, value=policies.get(hidden.value or ""))
    ref = None
    if assigned.value is not None:
        ref = policies.get(assigned.value)
        if ref is None or ref.type != kind:
            problem = (
                f"group {assigned.group!r} assigns {assigned.value!r}, which is no policy of type {kind!r}"
            )
            raise NotFoundError("policy", problem, nearest(assigned.value, policies))
    return Origin(value=ref, group=assigned.group, inherited=assigned.inherited, overrides=overrides)
