"""The locations of a group, as people write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from popham.errors import DefinitionError
from popham.model.criteria import hangs_on_manager
from popham.model.criteria_form import criterion_from_dict
from popham.model.keys import check_keys, read_flag
from popham.model.lines import LinedDict, line_of
from popham.model.location import LOCATIONS_MAX
from popham.model.names import check_name, show
from popham.model.wanted import LocationDefinition

WEIGHT_MAX = 1_000_000
KEYS = ("name", "default", "weight", "when", "policies", "communication")
Part = Callable[[int], AbstractContextManager[None]]
"""Collects what is wrong on a line, and goes on."""
Assignments = Callable[[LinedDict, str], dict[str, str | None]]
"""Reads ``policies`` of a mapping; the text says where it stands."""


def read_locations(
    value: object, *, part: Part, assignments: Assignments, check_settings: Callable[[Any], None], force: bool
) -> tuple[LocationDefinition, ...] | None:
    """Return what stands under ``locations``; None if something is wrong with one of them.

    Args:
        value: A list of mappings.
        part: Collects what is wrong with one location.
        assignments: Reads its ``policies``.
        check_settings: Checks its ``communication``.
        force: Whether a location may hang on the Manager's reachability alone.

    Raises:
        DefinitionError: It is no list, a name stands twice, or there are two defaults.
    """
    if not isinstance(value, list) or len(value) > LOCATIONS_MAX:
        problem = f"locations: {show(value)} is no list of at most {LOCATIONS_MAX} locations"
        raise DefinitionError("locations", problem, "Write '- name: office' and what belongs to it below")
    found: dict[str, LocationDefinition] = {}
    for item in value:
        with part(line_of(item)):
            made = _read_location(item, assignments, check_settings, force=force)
            if made.name in found:
                problem = f"locations: {made.name!r} stands twice"
                raise DefinitionError("twice", problem, "Keep one of them", line=line_of(item))
            found[made.name] = made
    _check_defaults(list(found.values()))
    return tuple(found.values()) if len(found) == len(value) else None


def _check_defaults(found: list[LocationDefinition]) -> None:
    """Refuse two defaults. Whether there must be one is decided where it is known who inherits."""
    defaults = [location.name for location in found if location.default]
    if len(defaults) > 1:
        problem = f"locations: {' and '.join(map(repr, defaults[:2]))} are both the default"
        line = next(location.line for location in found if location.name == defaults[1])
        raise DefinitionError("default_location", problem, "Say 'default: true' once", line=line)


def _read_location(
    item: object, assignments: Assignments, check_settings: Callable[[Any], None], *, force: bool
) -> LocationDefinition:
    if not isinstance(item, LinedDict):
        problem = f"locations: {show(item)} is no location"
        raise DefinitionError("locations", problem, "Write '- name: office' and what belongs to it below")
    check_keys(item, KEYS, "locations: a location")
    name = check_name(item.get("name"), "location")
    default = read_flag(item, "default")
    weight = item.get("weight")
    if weight is not None and (type(weight) is not int or not 0 <= weight <= WEIGHT_MAX):
        problem = f"locations: weight {show(weight)} is not 0 to {WEIGHT_MAX}"
        hint = "Of several locations that hold, the one with the largest weight counts"
        raise DefinitionError("weight", problem, hint, line=line_of(item, "weight"))
    when = criterion_from_dict(item["when"]) if "when" in item else None
    if default and (when is not None or weight is not None):
        problem = f"locations: the default {name!r} has criteria or a weight"
        raise DefinitionError(
            "criteria", problem, "Leave them out: it holds where no other does", line=line_of(item)
        )
    if when is None and weight is not None:
        problem = f"locations: {name!r} has a weight and no criteria"
        raise DefinitionError("criteria", problem, "Write what must hold under 'when:'", line=line_of(item))
    if when is not None and hangs_on_manager(when) and not force:
        problem = f"locations: whether the Manager is reachable could alone decide about {name!r}"
        hint = "When it dies, the whole fleet changes location. Add a condition under 'all:', or apply with --force"
        raise DefinitionError("manager_alone", problem, hint, line=line_of(item, "when"))
    communication = item.get("communication")
    if communication is not None:
        _check_settings(communication, check_settings, line_of(item, "communication"))
    return LocationDefinition(
        name=name,
        default=default,
        weight=weight,
        when=when,
        policies=assignments(item, f"locations.{name}.policies"),
        communication=communication,
        line=line_of(item),
    )


def _check_settings(value: object, check: Callable[[Any], None], line: int) -> None:
    if not isinstance(value, Mapping):
        problem = f"locations: communication: {show(value)} is no mapping"
        raise DefinitionError("form", problem, "Leave it out to use the group's settings", line=line)
    if "download" in value:
        problem = "locations: download belongs to the group, and is the same in all its locations"
        hint = "Set 'download' in the communication of the group"
        raise DefinitionError("download", problem, hint, line=line_of(value, "download"))
    check(value)
