"""Locations: named circumstances inside a group.

A group has one list of locations, or inherits its parent's.  One of them is
the default: it holds where no other does.  What differs in a location, its
policies and communication settings, are *values*; those of an item stand in
the group that the item comes from.

Rules:

1. Of the locations whose criteria hold, the one with the largest weight counts; of equal ones the first by name.
2. An inherited location can be used, with values of items that are the group's own, and not edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from popham.errors import DefinitionError
from popham.model.communication import CommunicationSettings
from popham.model.criteria import Criterion, Surroundings, evaluate, needs, walk
from popham.model.criteria_form import criterion_from_dict
from popham.model.names import DEFAULT_LOCATION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

LOCATIONS_MAX = 64
CHECK_DEFAULT = 30.0
CHECK_MIN, CHECK_MAX = 1.0, 3600.0
"""Seconds between two looks at the surroundings; a change of the network is looked at sooner."""
CONDITIONS_MAX = 512
"""Conditions of a whole list."""
PROBES_MAX = 32
"""Names, targets and files that a list asks for: what a machine finds out within one look, however slow each is."""
PROBES_CHECK_MIN = 10.0
"""Seconds between two looks where there are such: a look may take half of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A named circumstance.

    Attributes:
        name: Unique in the list.
        weight: Of several locations that hold, the largest counts; 0 to 1,000,000.
        when: What must hold; None for the default only.
    """

    name: str
    weight: int = 0
    when: Criterion | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the location as it stands in a bundle."""
        when = {} if self.when is None else {"when": self.when.as_dict()}
        return {"name": self.name, "weight": self.weight, **when}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Location:
        """Return the location of a bundle.

        Raises:
            DefinitionError: Its criteria are none.
        """
        when = criterion_from_dict(data["when"]) if "when" in data else None
        return cls(name=data["name"], weight=int(data["weight"]), when=when)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where an agent is: the location, and the conditions that held, in words; none in the default."""

    location: str
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationRules:
    """A list of locations, and how agents find out where they are.

    Attributes:
        locations: By name, the default included.
        default: Name of the one that holds where no other does.
        check: Seconds between two looks at the surroundings.
        remembers: Whether an agent starts in the location in which it ended.
    """

    locations: tuple[Location, ...] = (Location(name=DEFAULT_LOCATION),)
    default: str = DEFAULT_LOCATION
    check: float = CHECK_DEFAULT
    remembers: bool = True

    def __post_init__(self) -> None:
        """Put the locations in order, so that equal lists are equal."""
        object.__setattr__(self, "locations", tuple(sorted(self.locations, key=lambda one: one.name)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the locations."""
        return tuple(location.name for location in self.locations)

    def find(self, around: Surroundings) -> Whereabouts:
        """Return where a machine with these surroundings is."""
        best: tuple[int, str, tuple[str, ...]] | None = None
        for location in self.locations:
            if location.when is None:
                continue
            holds, rules = evaluate(location.when, around)
            key = (-location.weight, location.name, rules)
            if holds and (best is None or key < best):
                best = key
        return Whereabouts(best[1], best[2]) if best else Whereabouts(self.default)

    def as_dict(self) -> dict[str, Any]:
        """Return the rules as they stand in a bundle and in the store."""
        return {
            "locations": [location.as_dict() for location in self.locations],
            "default": self.default,
            "check": float(self.check),
            "remembers": self.remembers,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LocationRules:
        """Return the rules of a bundle; fields this program does not know are ignored.

        Raises:
            DefinitionError: A location has no criteria, the default has some or is not there, a name
                stands twice, or the seconds between two looks are out of range.
        """
        locations = tuple(Location.from_dict(item) for item in data["locations"])
        default = data["default"]
        if any((one.when is None) != (one.name == default) for one in locations):
            raise DefinitionError("criteria", "a location other than the default has no criteria")
        names = {one.name for one in locations}
        if default not in names or len(names) != len(locations):
            raise DefinitionError("default_location", "the default is missing, or a location stands twice")
        if not CHECK_MIN <= float(data["check"]) <= CHECK_MAX:
            raise DefinitionError("location_check", "location_check is outside 1 s to 1 h")
        return cls(
            locations=locations,
            default=default,
            check=float(data["check"]),
            remembers=bool(data["remembers"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationValues:
    """What differs in one location, as a group itself says.

    Attributes:
        policies: Policy type → policy name, or None for explicitly none; a type that is absent is the group's.
        communication: Own settings; None to use the group's.
    """

    policies: Mapping[str, str | None] = field(default_factory=dict)
    communication: CommunicationSettings | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the values as they stand in the store."""
        held = self.communication
        return {"policies": dict(self.policies), "communication": held.as_dict() if held else None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LocationValues:
        """Return the values of the store."""
        held = data.get("communication")
        return cls(
            policies=dict(data["policies"]),
            communication=CommunicationSettings.from_dict(held) if held else None,
        )


NO_VALUES = LocationValues()


def values_as_dict(values: Mapping[str, LocationValues]) -> dict[str, Any]:
    """Return the values of several locations as they stand in the store, empty ones left out."""
    return {name: held.as_dict() for name, held in sorted(values.items()) if held != NO_VALUES}


def check_extent(criteria: Collection[Criterion], check: float) -> None:
    """Refuse a list of locations that asks for more than a machine can look at.

    Args:
        criteria: Those of the whole list.
        check: Seconds between two looks.

    Raises:
        DefinitionError: It has too many conditions or probes, or looks at probes too often.
    """
    if sum(1 for criterion in criteria for _ in walk(criterion)) > CONDITIONS_MAX:
        problem = f"locations: more than {CONDITIONS_MAX} conditions in one list"
        raise DefinitionError("criteria", problem, "Use larger ranges, or several groups")
    wanted = needs(criteria)
    probes = len(wanted.names) + len(wanted.reachable) + len(wanted.files)
    if probes > PROBES_MAX:
        problem = f"locations: {probes} names, targets and files to look at are more than {PROBES_MAX}"
        hint = "Criteria such as address, gateway and dns_suffix cost nothing; or use several groups"
        raise DefinitionError("criteria", problem, hint)
    if probes and check < PROBES_CHECK_MIN:
        problem = (
            f"location_check: less than {PROBES_CHECK_MIN:g} s, where names, targets or files are looked at"
        )
        hint = f"Write {PROBES_CHECK_MIN:g}s or more; a change of the network is looked at once"
        raise DefinitionError("location_check", problem, hint)


def overlapping(locations: Iterable[Location]) -> list[tuple[str, str]]:
    """Return pairs of locations of one weight: where both hold, only their names decide."""
    held = sorted((one for one in locations if one.when is not None), key=lambda one: (one.weight, one.name))
    return [(a.name, b.name) for a, b in pairwise(held) if a.weight == b.weight]
