"""Who gets what by an apply: group by group, location by location.

Rules:

1. What held and what is to hold is resolved from groups and heads of policies; nothing is opened or signed.
2. A location that a group did not have had the values of its default; one that goes leaves its agents to the
   default.  Where all locations of a group change alike, they stand as one.
3. With download off no policy arrives, so none changes.  Turned on, all that holds comes, to agents that have kept
   what they had then.
4. It runs on a snapshot, beside the transaction of the dry run: no writer waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from popham.manager.apply_views import GroupEffect, PlaceEffect, PolicyShift
from popham.manager.sampled import Sampled
from popham.model.communication import CommunicationSettings
from popham.model.fleet import Tree
from popham.model.location import LocationRules
from popham.resolve.explain import show_locations
from popham.resolve.resolved import resolve_assignments, resolve_communication, resolve_locations
from popham.store.rows import PolicyRow

PLACES = 1000
"""Places that are listed; more help nobody."""
KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All groups, and the heads of all policies by name, at one moment."""

    tree: Tree
    heads: Mapping[str, PolicyRow]


@dataclass(frozen=True, slots=True)
class PolicyMove:
    """Another policy or revision of a type; None for none. ``kept``: agents have something, nobody knows what."""

    type: str
    before: PolicyRow | None
    after: PolicyRow | None
    kept: bool = False

    def shown(self) -> PolicyShift:
        """Return it for people."""
        was = KEPT if self.kept else _named(self.before)
        return PolicyShift(type=self.type, before=was, after=_named(self.after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One location of a group, or all of it (empty), and what changes there.

    Attributes:
        group: Name of the group.
        location: Where agents say they are.
        moves_to: The location whose values hold for them afterwards, if that one goes; else empty.
        agents: How many are there.
        policies: What changes, by type.
        communication: Whether the communication settings change.
        way: What of them changes that decides how agents reach the Manager.
    """

    group: str
    location: str = ""
    moves_to: str = ""
    agents: int = 0
    policies: tuple[PolicyMove, ...] = ()
    communication: bool = False
    way: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything changes."""
        return bool(self.policies) or self.communication

    def like(self, other: Place) -> bool:
        """Return whether the same changes in both."""
        return (self.policies, self.communication, self.way) == (
            other.policies,
            other.communication,
            other.way,
        )

    def shown(self) -> PlaceEffect:
        """Return it for people."""
        return PlaceEffect(
            location=self.location,
            agents=self.agents,
            policies=tuple(move.shown() for move in self.policies),
            communication=self.communication,
            moves_to=self.moves_to,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counting:
    """All places of one group, changed or not; ``home`` is where those count that did not say where they are."""

    effect: GroupEffect
    places: Sequence[Place]
    home: str = ""
    locations: str = ""

    @property
    def asks(self) -> bool:
        """Whether it must be known where the agents are."""
        several = len(self.places) > 1 and self.effect.agents > 0
        return several and any(place.changes for place in self.places)

    def counted(self, here: Mapping[str, int]) -> list[Place]:
        """Return the places where something changes, with their agents, given how many said that they are where."""
        known = {place.location: 0 for place in self.places}
        for said, agents in here.items():
            known[said if said in known else self.home] += agents
        return [replace(place, agents=known[place.location]) for place in self.places if place.changes]


@dataclass(slots=True)
class Effects:
    """What an apply means for agents.

    Attributes:
        groups: For people; not more than :data:`PLACES` places in all.
        places: All places where something changes.
    """

    groups: list[GroupEffect] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)


def find_effects(effects: Sequence[GroupEffect], before: Fleet, after: Fleet, sampled: Sampled) -> Effects:
    """Return where in each group what changes, and for how many agents.

    Args:
        effects: The groups that get a new bundle.
        before: The fleet as it was.
        after: The fleet as it is to be.
        sampled: Knows where agents are.
    """
    groups = [_compare(effect, before, after) for effect in effects if effect.group in after.tree]
    apart = sum(1 for one in groups if one.asks)
    found, room = Effects(), PLACES
    for one in groups:
        here: Mapping[str, int] = {one.places[0].location: one.effect.agents}
        if one.asks:
            here = sampled.located(one.effect.group, one.effect.agents, groups=apart)
        changed = one.counted(here)
        shown = tuple(place.shown() for place in changed[:room])
        room -= len(shown)
        found.places += changed
        found.groups.append(
            replace(one.effect, places=shown, more=len(changed) - len(shown), locations=one.locations)
        )
    return found


def _compare(effect: GroupEffect, before: Fleet, after: Fleet) -> _Counting:
    """Return the places of one group; as one where they change alike."""
    group = effect.group
    new = resolve_locations(after.tree, group).value
    old = resolve_locations(before.tree, group).value if group in before.tree else None
    places = [_place(group, was, now, old, before, after) for was, now in _pairs(old, new)]
    words = _tell_locations(old, new) if old and old != new else ""
    if all(place.like(places[0]) for place in places):
        places = [replace(places[0], location="", moves_to="")]
    return _Counting(effect=effect, places=places, home=_home(old or new, places), locations=words)


def _home(rules: LocationRules, places: Sequence[Place]) -> str:
    """Return the place of agents that are in the default location, as far as anybody knows."""
    names = {place.location for place in places}
    return rules.default if rules.default in names else places[0].location


def _pairs(old: LocationRules | None, new: LocationRules) -> Iterator[tuple[str, str]]:
    """Yield each location as agents know it, and the one whose values hold there afterwards; the default first."""
    known = old.names if old else ()
    for name in (new.default, *(name for name in new.names if name != new.default)):
        if name in known or old is None or name != new.default or old.default in new.names:
            yield name, name
    yield from ((name, new.default) for name in known if name not in new.names)


def _place(group: str, was: str, now: str, old: LocationRules | None, before: Fleet, after: Fleet) -> Place:
    """Return what changes for agents in the location ``was`` of a group, where then that of ``now`` holds.

    ``old`` are the locations that it had; None for a new group.
    """
    settings = resolve_communication(after.tree, group, now).value
    held = _policies(after, group, now)
    place = Place(group=group, location=was, moves_to=now if now != was else "")
    if old is None:
        return replace(place, policies=tuple(_moves({}, held)) if settings.download else ())
    known = was if was in old.names else old.default
    former = resolve_communication(before.tree, group, known).value
    moves: Iterable[PolicyMove] = ()
    if settings.download and not former.download:
        moves = (PolicyMove(kind, None, row, kept=True) for kind, row in sorted(held.items()))
    elif settings.download:
        moves = _moves(_policies(before, group, known), held)
    return replace(
        place,
        policies=tuple(moves),
        communication=former != settings,
        way=tuple(_way(former, settings)),
    )


def _policies(fleet: Fleet, group: str, location: str) -> dict[str, PolicyRow]:
    """Return policy type → the policy that holds."""
    assigned = resolve_assignments(fleet.tree, group, location)
    named = {kind: origin.value for kind, origin in assigned.items() if origin.value}
    return {kind: fleet.heads[name] for kind, name in named.items() if name in fleet.heads}


def _moves(before: Mapping[str, PolicyRow], after: Mapping[str, PolicyRow]) -> Iterator[PolicyMove]:
    for kind in sorted({*before, *after}):
        was, now = before.get(kind), after.get(kind)
        if _named(was) != _named(now):
            yield PolicyMove(kind, was, now)


def _way(before: CommunicationSettings, after: CommunicationSettings) -> Iterator[str]:
    """Yield the settings that differ by which agents reach their Manager, or it reaches them."""
    for name in ("mode", "dialer", "heartbeat", "servers", "times", "metered"):
        if getattr(before, name) != getattr(after, name):
            yield name


def _tell_locations(old: LocationRules, new: LocationRules) -> str:
    was, now = show_locations(old), show_locations(new)
    return f"{was} -> {now}" if was != now else f"{now}: found in another way"


def _named(row: PolicyRow | None) -> str:
    return f"{row.name}@{row.revision}" if row else ""
