"""The fleet: a tree of groups, and who belongs to it.

A group inherits policies and settings from its parent unless told not to: one
check box (``inherits``) and, under it, one per policy type, one for the
communication settings and one for the locations (``exceptions``).  The root
inherits from nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from popham.errors import DefinitionError, NotFoundError
from popham.model.communication import CommunicationSettings
from popham.model.expectation import Expectation
from popham.model.location import LocationRules, LocationValues
from popham.model.names import DEFAULT_TENANT, ROOT_GROUP, nearest

COMMUNICATION = "communication"
LOCATIONS = "locations"
"""The items of inheritance that are not policy types."""
SETTINGS = frozenset({COMMUNICATION, LOCATIONS})


class Admission(StrEnum):
    """Whether an agent belongs to the fleet."""

    NEW = "new"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    REVOKED = "revoked"


class AgentKind(StrEnum):
    """What runs on the machine."""

    OWN = "own"
    STOCK = "stock"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A node of the tree.

    Attributes:
        name: Unique in the tenant; the identity of the group.
        parent: Name of the parent; empty for the root only.
        inherits: The check box *inherit policies and settings from the parent*.
        exceptions: Item (policy type, ``communication``, ``locations``) → whether
            this one item is inherited, where that differs from ``inherits``.
        policies: Own assignments, policy type → policy name, of items that are
            not inherited. A type that is absent has no policy here.
        communication: Own settings if they are not inherited, else None.
        locations: Own list of locations if it is not inherited, else None.
        values: Location → what differs there, of items that are not inherited.
        labels: Set by operators.
        annotations: For programs; where the group is kept, among others.
        tests: What agents are expected to get.
        minimum_serial: Serial whose policies an agent must have in force before it is given bodies with
            secrets; 0 for none. Never inherited.
    """

    name: str
    parent: str = ""
    inherits: bool = True
    exceptions: Mapping[str, bool] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    communication: CommunicationSettings | None = None
    locations: LocationRules | None = None
    values: Mapping[str, LocationValues] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    tests: tuple[Expectation, ...] = ()
    minimum_serial: int = 0
    tenant: str = DEFAULT_TENANT

    def assigned(self) -> set[str]:
        """Return the names of all policies that the group itself assigns, in any location."""
        own = [self.policies, *(held.policies for held in self.values.values())]
        return {name for held in own for name in held.values() if name is not None}

    def inherits_item(self, item: str) -> bool:
        """Return whether ``item`` (a policy type, ``communication`` or ``locations``) comes from the parent."""
        return bool(self.parent) and self.exceptions.get(item, self.inherits)


class Tree:
    """All groups of one tenant, checked: one root, no cycle, no unknown parent."""

    def __init__(self, groups: Iterable[Group]) -> None:
        """Check and index ``groups``.

        Raises:
            DefinitionError: No root, two roots, an unknown parent, or a cycle.
        """
        self._groups = {group.name: group for group in groups}
        self._lineages: dict[str, tuple[Group, ...]] = {}
        self._children: dict[str, list[Group]] = {}
        roots = [group.name for group in self._groups.values() if not group.parent]
        if roots != [ROOT_GROUP]:
            problem = f"the tree has the roots {roots}, and must have exactly {ROOT_GROUP!r}"
            raise DefinitionError("root", problem, f"Give every other group a parent, such as {ROOT_GROUP!r}")
        checked = {ROOT_GROUP}
        for name, group in self._groups.items():
            if group.parent in checked:
                checked.add(name)
            else:
                self._check_lineage(group, checked)

    def __getitem__(self, name: str) -> Group:
        """Return the group called ``name``.

        Raises:
            NotFoundError: There is none.
        """
        try:
            return self._groups[name]
        except KeyError:
            problem = f"there is no group {name!r}"
            raise NotFoundError("group", problem, nearest(name, self._groups)) from None

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a group."""
        return name in self._groups

    def __iter__(self) -> Iterator[Group]:
        """Yield all groups, in no particular order."""
        return iter(self._groups.values())

    def __len__(self) -> int:
        """Return how many groups there are."""
        return len(self._groups)

    def lineage(self, name: str) -> tuple[Group, ...]:
        """Return the group and all above it, the group first, the root last."""
        found = self._lineages.get(name)
        if found is None:
            line = [self[name]]
            while line[-1].parent and line[-1].parent not in self._lineages:
                line.append(self[line[-1].parent])
            found = (*line, *self._lineages.get(line[-1].parent, ()))
            self._lineages[name] = found
        return found

    def below(self, name: str) -> list[Group]:
        """Return the group and all below it, parents before their children."""
        if not self._children:
            for group in self:
                self._children.setdefault(group.parent, []).append(group)
        found = [self[name]]
        for group in found:
            found.extend(sorted(self._children.get(group.name, []), key=lambda g: g.name))
        return found

    def _check_lineage(self, group: Group, checked: set[str]) -> None:
        seen = {group.name: None}  # in order
        while group.name not in checked:
            if group.parent in seen:
                circle = " → ".join([*seen, group.parent])
                raise DefinitionError(
                    "cycle", f"groups inherit in a circle: {circle}", "Give one of them another parent"
                )
            if group.parent not in self._groups:
                problem = f"group {group.name!r} has the parent {group.parent!r}, which does not exist"
                raise DefinitionError("unknown_group", problem, nearest(group.parent, self._groups))
            group = self._groups[group.parent]
            seen[group.name] = None
        checked.update(seen)
