"""The resolved policy: what is to hold in one group and location, each value with its origin.

Rules:

1. Each item comes whole from one group: the nearest in the lineage that does
   not inherit it, with what that group says of the location.  Values of two
   groups are never mixed.
2. A type without a policy there has no policy here; assigning none is a value.
3. A policy that no group of the lineage assigns has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

from popham.errors import NotFoundError
from popham.model.bundle import LocationSet, PolicyRef
from popham.model.communication import CommunicationSettings
from popham.model.fleet import COMMUNICATION, LOCATIONS, SETTINGS, Group, Tree
from popham.model.location import NO_VALUES, LocationRules
from popham.model.names import DEFAULT_LOCATION, nearest
from popham.resolve.lineage import items, origin

V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden(Generic[V]):
    """The value that would hold otherwise, and where it would come from."""

    group: str
    value: V
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin(Generic[V]):
    """A value and where it comes from.

    Attributes:
        value: What holds.
        group: The group that has it as its own.
        inherited: Whether that is a group above.
        location: The location for which that group says it; empty if it is the group's for all.
        overrides: What it hides; None if it hides nothing.
    """

    value: V
    group: str
    inherited: bool
    location: str = ""
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

    def as_set(self, *, download: bool = True) -> LocationSet:
        """Return what holds as it stands in a bundle: policies by type, without origins."""
        held = (self.policies[kind].value for kind in sorted(self.policies))
        return LocationSet(
            policies=tuple(ref for ref in held if ref is not None) if download else (),
            communication=self.communication.value,
        )


def resolve(tree: Tree, policies: Mapping[str, PolicyRef], group: str, location: str = "") -> ResolvedPolicy:
    """Return what is to hold in ``group`` at ``location``.

    Args:
        tree: All groups.
        policies: Policy name → the revision to deliver.
        group: Name of the group.
        location: Name of the location; empty for the group's default.

    Raises:
        NotFoundError: There is no such group or location, or a group of its
            lineage assigns a policy that does not exist.
    """
    location = find_location(resolve_locations(tree, group).value, group, location)
    found = {
        kind: _with_ref(kind, assigned, policies)
        for kind, assigned in resolve_assignments(tree, group, location).items()
    }
    return ResolvedPolicy(
        group=group,
        location=location,
        communication=resolve_communication(tree, group, location),
        policies=found,
    )


def find_location(rules: LocationRules, group: str, location: str) -> str:
    """Return ``location``, or the default if it is empty.

    Raises:
        NotFoundError: ``group`` has no such location.
    """
    if not location:
        return rules.default
    if location not in rules.names:
        problem = f"group {group!r} has no location {location!r}"
        raise NotFoundError("location", problem, nearest(location, rules.names))
    return location


def resolve_locations(tree: Tree, group: str) -> Origin[LocationRules]:
    """Return the locations of ``group``.

    Raises:
        NotFoundError: There is no such group.
    """
    return _originate(tree, group, LOCATIONS, own_locations)


def resolve_communication(tree: Tree, group: str, location: str = "") -> Origin[CommunicationSettings]:
    """Return the communication settings that are to hold in ``group`` at ``location``.

    Whether anything is downloaded is the group's matter in every location.

    Raises:
        NotFoundError: There is no such group.
    """
    found = _originate(tree, group, COMMUNICATION, own_communication)
    held = tree[found.group].values.get(location, NO_VALUES).communication
    if held is None:
        return found
    return replace(
        found,
        value=replace(held, download=found.value.download),
        location=location,
        overrides=Overridden(group=found.group, value=found.value),
    )


def resolve_assignments(tree: Tree, group: str, location: str = "") -> dict[str, Origin[str | None]]:
    """Return policy type → the name of the policy that is to hold in ``group`` at ``location``, or None.

    Raises:
        NotFoundError: There is no such group.
    """
    types = [item for item in items(tree.lineage(group)) if item not in SETTINGS]
    return {kind: _assignment(tree, group, location, kind) for kind in types}


def own_communication(group: Group) -> CommunicationSettings:
    """Return the settings that ``group`` itself has; the defaults if it has never had any."""
    return group.communication or CommunicationSettings()


def own_locations(group: Group) -> LocationRules:
    """Return the locations that ``group`` itself has; the default alone if it has never had any."""
    return group.locations or LocationRules()


def _assignment(tree: Tree, group: str, location: str, kind: str) -> Origin[str | None]:
    found = _originate(tree, group, kind, partial(_assigned, kind))
    held = tree[found.group].values.get(location, NO_VALUES).policies
    if kind not in held:
        return found
    hidden = Overridden(group=found.group, value=found.value)
    return replace(found, value=held[kind], location=location, overrides=hidden)


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
        overrides = Overridden(
            group=hidden.group, value=policies.get(hidden.value or ""), location=hidden.location
        )
    ref = None
    if assigned.value is not None:
        ref = policies.get(assigned.value)
        if ref is None or ref.type != kind:
            problem = (
                f"group {assigned.group!r} assigns {assigned.value!r}, which is no policy of type {kind!r}"
            )
            raise NotFoundError("policy", problem, nearest(assigned.value, policies))
    return Origin(
        value=ref,
        group=assigned.group,
        inherited=assigned.inherited,
        location=assigned.location,
        overrides=overrides,
    )
