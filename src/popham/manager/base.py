"""What a plan rests on: every object it looked at, by digest, so that an apply can tell that nothing moved.

Rules:

1. The base has what is written, what a written group inherits from, what it assigns, what tests and effects
   concern, and what is to be deleted; an object that is not there counts too.
2. If one has changed, nothing is applied, and the error says what changed, by whom and when.
3. So it is if the apply would reach a group that the base has not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from popham.errors import ConflictError
from popham.manager.agent_definitions import Known, base_of
from popham.manager.objects import describe_group, describe_policy, notes_of, show_some
from popham.manager.proxies.definitions import annotations_of_proxy, describe_proxy
from popham.model.definition import Definitions
from popham.model.fleet import Group, Tree
from popham.model.managed import SOURCE
from popham.model.names import canonical, digest
from popham.store.rows import AuditRow, PolicyRow, ProxyRow
from popham.store.seam import Reading

_NAMED = 5
"""Changed objects that an error names."""
_PAGE = 500
_LOOKED = 20_000
"""Entries of the audit that are read, from the newest back, to find who changed something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All objects at one moment.

    Attributes:
        groups: Name → group.
        policies: Name → head of the policy.
        placements: Name → body of the rule's row.
        agents: Where agents are visited.
        proxies: Name → row of the definition.
    """

    groups: Mapping[str, Group]
    policies: Mapping[str, PolicyRow]
    placements: Mapping[str, str]
    agents: Known
    proxies: Mapping[str, ProxyRow]

    def digest(self, about: str) -> str:
        """Return the digest of an object (``policy/motd``), or of what a source has; empty if it is not there."""
        kind, _, name = about.partition("/")
        held: Any = None
        if kind == "group" and name in self.groups:
            held = describe_group(self.groups[name])
        elif kind == "policy" and name in self.policies:
            held = describe_policy(self.policies[name])
            # Its revision says which body it is; a plan is also for those who may not see the digest of one.
            del held["sha256"]
        elif kind == "placement" and name in self.placements:
            held = json.loads(self.placements[name])
        elif kind == "agent":
            row = self.agents.row(name)
            held = base_of(row) if row else None
        elif kind == "proxy" and name in self.proxies:
            held = describe_proxy(self.proxies[name])
        elif kind == "source":
            held = self.of_source(name)
        return "" if held is None else digest(canonical(held))

    def of_source(self, source: str) -> list[str]:
        """Return the objects that belong to a source, sorted (``group/paris``, ``placement/…``, ``policy/motd``)."""
        rules = ((name, json.loads(body).get("annotations", {})) for name, body in self.placements.items())
        owners = {f"placement/{name}": annotations for name, annotations in rules}
        owners |= {f"group/{name}": group.annotations for name, group in self.groups.items()}
        owners |= {f"policy/{name}": notes_of(row).annotations for name, row in self.policies.items()}
        owners |= {f"proxy/{name}": annotations_of_proxy(row) for name, row in self.proxies.items()}
        found = [about for about, annotations in owners.items() if annotations.get(SOURCE) == source]
        return sorted([*found, *(f"agent/{name}" for name in self.agents.of_source(source))])


def read_state(
    reading: Reading, groups: Mapping[str, Group], definitions: Definitions | None = None, source: str = ""
) -> State:
    """Return all objects; ``groups`` are all that there are.

    Agents' definitions are too many to be read; what is asked for them after a change must be named here:
    what ``definitions`` are about, and what a ``source`` has.
    """
    known = Known(reading)
    for wanted in definitions.agents if definitions else ():
        known.row(wanted.name)
    known.of_source(source)
    return State(
        agents=known,
        groups=groups,
        policies={row.name: row for row in reading.policies()},
        placements={row.name: row.body for row in reading.placements()},
        proxies={row.name: row for row in reading.proxies()},
    )


def concerned(definitions: Definitions, tree: Tree, groups: Iterable[str], source: str = "") -> set[str]:
    """Return the objects that ``definitions`` are about, and those that decide what they mean.

    Args:
        definitions: What is to be applied.
        tree: All groups as they are to be.
        groups: Groups whose bundles change by it.
        source: Of which abandoned objects are deleted; empty for none.
    """
    found = {f"policy/{policy.name}" for policy in definitions.policies}
    found |= {f"placement/{placement.name}" for placement in definitions.placements}
    found |= {f"agent/{wanted.name}" for wanted in definitions.agents}
    found |= {f"proxy/{wanted.name}" for wanted in definitions.proxies}
    if source:
        found.add(f"source/{source}")
    names = [group.name for group in definitions.groups] + [name for name in groups if name in tree]
    for name in names:
        for group in tree.lineage(name):
            found.add(f"group/{group.name}")
            found |= {f"policy/{policy}" for policy in group.assigned()}
    return found


PLANNED = "the plan was made"
LOOK_AGAIN = "Nothing was applied. Make the plan again, and look at what it says now"


def check_base(
    reading: Reading, state: State, base: Mapping[str, str], *, since: str = PLANNED, hint: str = LOOK_AGAIN
) -> None:
    """Return if every object of ``base`` is in ``state`` as it was.

    Args:
        reading: A snapshot.
        state: All objects.
        base: Object → digest.
        since: When that was, for the sentence.
        hint: What to do about it.

    Raises:
        ConflictError: ``conflict.base``: it names what changed, by whom and when.
    """
    moved = find_moved(state, base)
    if moved:
        raise _moved(reading, moved, since, hint)


def find_moved(state: State, base: Mapping[str, str]) -> list[str]:
    """Return the objects of ``base`` that are not in ``state`` as they were."""
    return [about for about, was in base.items() if state.digest(about) != was]


def check_reach(reading: Reading, groups: Iterable[str], base: Mapping[str, str]) -> None:
    """Return if every group that gets a new bundle is one that the plan looked at.

    A group that came to inherit or to assign something since then is none, though nothing that the plan
    looked at has changed.

    Raises:
        ConflictError: ``conflict.base``: it names the group, and who changed it and when.
    """
    moved = [f"group/{name}" for name in groups if f"group/{name}" not in base]
    if moved:
        raise _moved(reading, moved)


def _moved(reading: Reading, moved: list[str], since: str = PLANNED, hint: str = LOOK_AGAIN) -> ConflictError:
    told = [*tell_changes(reading, moved[:_NAMED]), *moved[_NAMED:]]
    problem = f"this has changed since {since}: {show_some(told, _NAMED)}"
    return ConflictError("base", problem, hint)


def tell_changes(reading: Reading, objects: list[str]) -> list[str]:
    """Return ``policy/motd (by ada at 2027-01-15T08:00:00Z)`` for each object, as far back as is looked."""
    by = _last_changes(reading, set(objects))
    return [f"{about} ({_who(by[about])})" if about in by else about for about in objects]


def last_change(reading: Reading, about: str) -> AuditRow | None:
    """Return the newest entry of the audit about an object, as far back as is looked."""
    return _last_changes(reading, {about}).get(about)


def _last_changes(reading: Reading, objects: set[str]) -> dict[str, AuditRow]:
    """Return object → its newest entry in the audit, as far back as is looked."""
    end = _last_entry(reading)
    found: dict[str, AuditRow] = {}
    for after in range(max(0, end - _PAGE), max(0, end - _LOOKED) - _PAGE, -_PAGE):
        for row in reversed(reading.audit(after=max(0, after), limit=_PAGE)):
            if row.object in objects:
                found.setdefault(row.object, row)
        if after <= 0 or len(found) == len(objects):
            break
    return found


def _last_entry(reading: Reading) -> int:
    """Return the number of the newest entry of the audit, which has no gaps: by halving, from below."""
    step = 1
    while reading.audit(after=step, limit=1):
        step *= 2
    low = 0
    while low < step:
        middle = (low + step) // 2
        if reading.audit(after=middle, limit=1):
            low = middle + 1
        else:
            step = middle
    return low


def _who(row: AuditRow) -> str:
    return who(row.actor, row.at)


def who(actor: str, at: float) -> str:
    """Return ``by ada at 2027-01-15T08:00:00Z``."""
    return f"by {actor} at {datetime.fromtimestamp(at, UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"
