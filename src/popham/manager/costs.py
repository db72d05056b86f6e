"""What an apply costs, or would cost: settings before and after, over what was measured.

Rules:

1. Agents count where they are: in their group, and in the location that they last reported where settings
   differ by location.  Every agent counts as one of ours by mutual TLS, which costs most.
2. Reckoning reads a snapshot, after the change or beside it: it holds nobody up, and stops nothing.
"""

from __future__ import annotations

import json
import os
import resource
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from popham.errors import ConfigError, StateError
from popham.manager.apply_views import AdviceView, CommunicationShift, Costs, CostView
from popham.manager.sampled import Sampled
from popham.model.advice import Bounds, advise
from popham.model.communication import CommunicationSettings
from popham.model.cost import Load, cost, load_of
from popham.model.fleet import Tree
from popham.model.measured import BUILT_IN, FILE, Measured
from popham.resolve.explain import show_communication
from popham.resolve.resolved import resolve_communication, resolve_locations
from popham.statedir import replace_file
from popham.store.seam import Reading

SHIFTS = 200
"""Changed settings that are listed; more help nobody."""
_RESERVED = 100
"""Open files that the Manager needs for itself: database, log, listeners, people."""
_TABLE_BYTES = 64 * 1024
"""Bytes of a measured table that are read, at most."""
Places = Mapping[str, Mapping[str, CommunicationSettings]]
"""Group → location → the settings that are to hold there."""
_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What is reckoned with: the measured table, and what this process can bear."""

    measured: Measured = BUILT_IN
    bounds: Bounds = _BOUNDS


def read_basis(state: Path, connections: int, keepalive: float = BUILT_IN.keepalive) -> Basis:
    """Return what a Manager reckons with: its own table if it has one, and its limits.

    Args:
        state: State directory.
        connections: Open connections that its configuration allows.
        keepalive: Seconds between two keepalives of a held link.

    A table that cannot be read stops no apply: the built-in one counts, and says so.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = connections if soft == resource.RLIM_INFINITY else soft - _RESERVED
    try:
        measured = read_measured(state)
    except ConfigError as error:
        measured = replace(BUILT_IN, source=f"{BUILT_IN.source} ({error.problem})")
    measured = replace(measured, keepalive=keepalive)
    return Basis(measured=measured, bounds=Bounds(connections=max(1, min(connections, files))))


def read_measured(state: Path) -> Measured:
    """Return the table of the Manager in ``state``, or the built-in one.

    Raises:
        ConfigError: ``config.measured``: it cannot be read, or is no such table.
    """
    try:
        with (state / FILE).open("rb") as file:
            data = json.loads(file.read(_TABLE_BYTES))
    except FileNotFoundError:
        return BUILT_IN
    except (OSError, ValueError) as error:
        problem = f"{state / FILE} cannot be read: {error}"
        raise ConfigError("measured", problem, "Make it again: popham bench --calibrate") from error
    if not isinstance(data, dict):
        data = {}
    return Measured.from_dict(data)


def write_measured(state: Path, measured: Measured) -> None:
    """Write the table for the Manager in ``state``, which may run meanwhile.

    Raises:
        StateError: ``state.denied``.
    """
    path = state / FILE
    try:
        replace_file(path, (json.dumps(measured.as_dict(), indent=1) + "\n").encode())
        owner = state.stat()
        if os.geteuid() == 0:
            # The Manager has an account of its own, and root may have measured.
            os.chown(path, owner.st_uid, owner.st_gid)
    except OSError as error:
        problem = f"{path} cannot be written: {error.strerror or error}"
        raise StateError("denied", problem, "Run it as the account of the Manager") from error


def reckon(
    reading: Reading,
    before: Tree,
    after: Tree,
    basis: Basis,
    *,
    always: bool = False,
    sampled: Sampled | None = None,
) -> Costs | None:
    """Return what the fleet costs before and after, and what is to be said about it.

    Args:
        reading: A snapshot with the agents; where they belong is not changed by an apply.
        before: All groups as they were.
        after: All groups as they are to be.
        basis: What is reckoned with.
        always: Also if no settings change; otherwise the answer is None then.
        sampled: Where agents are, as far as it was read from the snapshot already.
    """
    named = _concerned(before, after)
    if not named and not always:
        return None
    counts = reading.agent_counts()
    wanted = {name for name, agents in counts.items() if agents} | named
    new = _places(after, wanted)
    old = {name: new[name] for name in wanted - named if name in new} | _places(before, named)
    if new == old and not always:
        return None
    differ = {name for name in new if counts.get(name) and not _uniform(new[name], old.get(name, {}))}
    sampled = sampled or Sampled(reading)
    loads: list[Load] = []
    loads_before: list[Load] = []
    shifts: list[CommunicationShift] = []
    for group in sorted(new):
        was = old.get(group, {})
        agents = counts.get(group, 0)
        here = sampled.located(group, agents, groups=len(differ)) if group in differ else {"": agents}
        loads += _loads(here, new[group])
        loads_before += _loads(here, was)
        if len(shifts) < SHIFTS:
            shifts += _shifts(group, here, was, new[group])
    said = advise(_joined(loads_before), _joined(loads), basis.measured, basis.bounds)
    return Costs(
        before=_view(loads_before, basis.measured),
        after=_view(loads, basis.measured),
        shifts=tuple(shifts[:SHIFTS]),
        advice=tuple(AdviceView(**asdict(one)) for one in said),
        measured=basis.measured.source,
        connections_max=basis.bounds.connections,
    )


def _concerned(before: Tree, after: Tree) -> set[str]:
    """Return the groups whose settings may change: those that differ in more than policies, and all below."""
    told = ("parent", "inherits", "exceptions", "communication", "locations", "values")
    known = {group.name: group for group in before}
    changed: set[str] = set()
    for group in after:
        old = known.get(group.name)
        if old is None or any(getattr(old, name) != getattr(group, name) for name in told):
            changed.add(group.name)
    if not changed:
        return changed
    return {
        group.name for group in after if any(above.name in changed for above in after.lineage(group.name))
    }


def _places(tree: Tree, names: Iterable[str]) -> dict[str, dict[str, CommunicationSettings]]:
    """Return the settings of groups by location, the default location first."""
    found = {}
    for name in names:
        if name in tree:
            rules = resolve_locations(tree, name).value
            order = [rules.default, *(one for one in rules.names if one != rules.default)]
            found[name] = {at: resolve_communication(tree, name, at).value for at in order}
    return found


def _uniform(*places: Mapping[str, CommunicationSettings]) -> bool:
    """Return whether the settings are the same in all locations, before and after."""
    held = [list(one.values()) for one in places]
    return all(settings == one[0] for one in held for settings in one)


def _place(places: Mapping[str, CommunicationSettings], location: str) -> str:
    """Return where agents are that said ``location``: in the default location if it is not there."""
    return location if location in places else next(iter(places))


def _loads(here: Mapping[str, int], places: Mapping[str, CommunicationSettings]) -> Iterator[Load]:
    for location, agents in here.items():
        if agents and places:
            yield load_of(places[_place(places, location)], agents)


def _joined(loads: Iterable[Load]) -> list[Load]:
    """Return one load for all agents that get in touch alike."""
    found: Counter[Load] = Counter()
    for load in loads:
        found[replace(load, agents=0)] += load.agents
    return [replace(load, agents=agents) for load, agents in found.items()]


def _shifts(
    group: str,
    here: Mapping[str, int],
    was: Mapping[str, CommunicationSettings],
    new: Mapping[str, CommunicationSettings],
) -> Iterator[CommunicationShift]:
    """Yield where settings change; the group as one where they are the same in all its locations."""
    whole = _uniform(new, was)
    for location, settings in new.items():
        old = was[_place(was, location)] if was else None
        if old != settings:
            there = (number for said, number in here.items() if whole or _place(new, said) == location)
            yield CommunicationShift(
                group=group,
                location="" if whole else location,
                agents=sum(there),
                before=show_communication(old) if old else "",
                after=show_communication(settings),
            )
        if whole:
            return


def _view(loads: Iterable[Load], measured: Measured) -> CostView:
    return CostView(**asdict(cost(loads, measured)))
