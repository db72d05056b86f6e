"""Runs tests of policies on a fleet as it is, or would be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from popham.errors import DefinitionError, NotFoundError
from popham.model.communication import CommunicationSettings, settings_from_definition
from popham.model.expectation import Expectation
from popham.model.fleet import Tree
from popham.model.names import ROOT_GROUP, show
from popham.model.placement import Rules
from popham.resolve.resolved import (
    find_location,
    resolve_assignments,
    resolve_communication,
    resolve_locations,
)


def failures(test: Expectation, tree: Tree, placements: Rules) -> Iterator[str]:
    """Yield in sentences what an agent would not get as ``test`` expects.

    Args:
        test: What is expected of whom.
        tree: All groups.
        placements: The rules by which labels find a group.
    """
    try:
        group = test.group or _placed(test.labels, placements)
        location = find_location(resolve_locations(tree, group).value, group, test.location)
        held = resolve_assignments(tree, group, location)
        settings = resolve_communication(tree, group, location).value
    except NotFoundError as error:
        yield error.problem
        return
    for kind, wanted in test.policies.items():
        found = held[kind].value if kind in held else None
        if found != wanted:
            by = f" (of group {held[kind].group!r})" if kind in held else ""
            yield f"policies.{kind} is {_named(found)}{by}, expected {_named(wanted)}"
    for key, wanted in test.communication.items():
        found = _setting(key, wanted, settings)
        if found is not None:
            yield f"communication.{key} is {found}, expected {show(wanted)}"


def _placed(labels: Mapping[str, str], placements: Rules) -> str:
    """Return the group in which an agent with these labels begins, if it joins by any token from any address."""
    rule = placements.place(token="", labels=labels, address="")
    return rule.group if rule and rule.group else ROOT_GROUP


def _setting(key: str, wanted: Any, settings: CommunicationSettings) -> str | None:
    """Return what one setting is, if it is not as wanted."""
    try:
        if settings_from_definition({key: wanted}, settings) == settings:
            return None
    except DefinitionError as error:
        return error.problem
    return show(
        settings.preset.value if key == "preset" else settings.as_dict().get(key, getattr(settings, key))
    )


def _named(policy: str | None) -> str:
    return "none" if policy is None else show(policy)
