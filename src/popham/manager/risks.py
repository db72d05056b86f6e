"""Risks of an apply: what should be looked at twice, in sentences with numbers.

They stop nothing, and are about agents that there are: a group without any risks nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from popham.manager.apply_views import GroupEffect, RiskView
from popham.manager.effects import Place, PolicyMove
from popham.manager.objects import show_some
from popham.model.fleet import Tree
from popham.model.names import ROOT_GROUP
from popham.model.policy import TYPES
from popham.store.rows import PolicyRow
from popham.store.seam import Reading

EXEC: Final = "exec"
WIDE: Final = "wide"
WAY: Final = "way"
REMOVES: Final = "removes"
NETWORK: Final = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/network*",
    "/etc/sysconfig/network*",
    "/etc/netplan",
    "/etc/systemd/network",
    "/etc/NetworkManager",
    "/etc/iptables*",
    "/etc/nftables*",
    "/etc/ssl",
    "/etc/pki",
)
"""Files and folders that decide whether a machine finds its Manager, and trusts it; ``*`` for any end of the name."""
_SHOWN = 5
"""Policies, paths or groups that a sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a policy's body does on a machine.

    Attributes:
        commands: Names of commands that it lets run.
        paths: Where it places something.
        network: Path → entry, of those paths that decide about the network.
    """

    commands: tuple[str, ...] = ()
    paths: frozenset[str] = frozenset()
    network: Mapping[str, Any]


_NOTHING = Facts(network={})


class Bodies:
    """Reads what bodies do, each once."""

    def __init__(self, reading: Reading, fresh: Mapping[str, Mapping[str, Any]]) -> None:
        """Read from ``reading``; ``fresh`` are bodies by digest that it cannot have yet."""
        self._reading = reading
        self._fresh = fresh
        self._found: dict[tuple[str, str], Facts] = {}

    def facts(self, row: PolicyRow | None) -> Facts:
        """Return what a policy does; nothing for None, for an unknown type, and for a body that is gone."""
        if row is None or row.type not in TYPES:
            return _NOTHING
        key = row.type, row.sha256
        if key not in self._found:
            self._found[key] = self._read(row)
        return self._found[key]

    def _read(self, row: PolicyRow) -> Facts:
        body = self._fresh.get(row.sha256)
        if body is None:
            encoded = self._reading.encoded(row.sha256)
            if encoded is None:
                return _NOTHING
            body = json.loads(encoded)["body"]
        kind = TYPES[row.type]
        paths = kind.paths(body)
        return Facts(
            commands=kind.commands_of(body),
            paths=frozenset(paths),
            network={path: entry for path, entry in paths.items() if decides_network(path)},
        )


def decides_network(path: str) -> bool:
    """Return whether a file or folder decides how a machine reaches others, and whom it trusts."""
    for known in NETWORK:
        if known.endswith("*"):
            if path.startswith(known[:-1]):
                return True
        elif path == known or path.startswith(f"{known}/"):
            return True
    return False


def find_risks(
    places: Iterable[Place],
    groups: Sequence[GroupEffect],
    tree: Tree,
    bodies: Bodies,
    *,
    ask_above: int,
) -> tuple[RiskView, ...]:
    """Return the risks of an apply.

    Args:
        places: Where what changes.
        groups: The groups that get a new bundle.
        tree: All groups as they are to be.
        bodies: Of the policies.
        ask_above: Agents that a change may reach without a decision; 0 for any number.
    """
    held = [place for place in places if place.agents]
    found = [
        (EXEC, _tell_commands(held, bodies)),
        (WIDE, _tell_reach(groups, tree, ask_above)),
        (WAY, _tell_way(held)),
        (WAY, _tell_network(held, bodies)),
        (REMOVES, _tell_policies(held)),
        (REMOVES, _tell_files(held, bodies)),
    ]
    return tuple(RiskView(code=code, sentence=sentence) for code, sentence in found if sentence)


def _tell_commands(places: Sequence[Place], bodies: Bodies) -> str:
    def named(move: PolicyMove) -> Iterator[str]:
        commands = bodies.facts(move.after).commands
        if move.after is not None and commands:
            yield f"policy {move.after.name} ({', '.join(commands)})"

    agents, policies = _gather(places, named)
    return f"commands run on {_agents(agents)}: {show_some(policies, _SHOWN)}" if policies else ""


def _tell_reach(groups: Sequence[GroupEffect], tree: Tree, ask_above: int) -> str:
    reach = sum(effect.agents for effect in groups)
    having = sum(1 for effect in groups if effect.agents)
    names = {effect.group for effect in groups}
    whole = ROOT_GROUP in names and all(group.name in names for group in tree)
    if not reach or not (whole or 0 < ask_above < reach):
        return ""
    where = f"{_agents(reach)} in {having} group{'s' if having > 1 else ''}"
    return f"new content for the whole fleet, {where}" if whole else f"new content for {where}"


def _tell_way(places: Sequence[Place]) -> str:
    changed = [place for place in places if place.way]
    if not changed:
        return ""
    agents = sum(place.agents for place in changed)
    settings = ", ".join(dict.fromkeys(name for place in changed for name in place.way))
    groups = show_some(dict.fromkeys(place.group for place in changed), _SHOWN)
    return f"the way to the Manager changes for {_agents(agents)} of {groups}: {settings}"


def _tell_network(places: Sequence[Place], bodies: Bodies) -> str:
    def named(move: PolicyMove) -> Iterator[str]:
        was, now = bodies.facts(move.before).network, bodies.facts(move.after).network
        yield from (path for path in sorted({*was, *now}) if was.get(path) != now.get(path))

    agents, paths = _gather(places, named)
    return (
        f"what decides the network of {_agents(agents)} changes: {show_some(paths, _SHOWN)}" if paths else ""
    )


def _tell_policies(places: Sequence[Place]) -> str:
    def named(move: PolicyMove) -> Iterator[str]:
        if move.before is not None and move.after is None:
            yield f"policy {move.before.name}"

    agents, policies = _gather(places, named)
    return f"taken from {_agents(agents)}: {show_some(policies, _SHOWN)}" if policies else ""


def _tell_files(places: Sequence[Place], bodies: Bodies) -> str:
    def named(move: PolicyMove) -> Iterator[str]:
        if move.after is not None:
            yield from sorted(bodies.facts(move.before).paths - bodies.facts(move.after).paths)

    agents, paths = _gather(places, named)
    return f"removed from {_agents(agents)}: {show_some(paths, _SHOWN)}" if paths else ""


def _gather(
    places: Sequence[Place], named: Callable[[PolicyMove], Iterator[str]]
) -> tuple[int, Mapping[str, None]]:
    """Return what ``named`` finds in all places, each once, and how many agents are where it found something."""
    agents, found = 0, dict[str, None]()
    known: dict[PolicyMove, Mapping[str, None]] = {}
    for place in places:
        for move in place.policies:
            if move not in known:
                known[move] = dict.fromkeys(named(move))
        here = [name for move in place.policies for name in known[move]]
        agents += place.agents if here else 0
        found |= dict.fromkeys(here)
    return agents, found


def _agents(number: int) -> str:
    return f"{number} agent" if number == 1 else f"{number} agents"
