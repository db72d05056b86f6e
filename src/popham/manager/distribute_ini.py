"""``Distribute.ini`` at a Manager: its groups are made, and their hosts put into them.

Rules:

1. A group that exists stays as it is; a new one has nothing of its own, and inherits.
2. Agents that are known are moved.  Every host has a rule of placement too, so that one that arrives later, or
   is set up anew, begins in its group.  The rules follow from the files alone.
3. Groups and rules are one transaction.  Agents are moved a slice at a time, so that nobody waits for many of
   them; what was not done is done by the next import, and a repeated one changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, NamedTuple

from popham.clock import Clock
from popham.errors import DefinitionError
from popham.manager.agent_definitions import definition_of
from popham.manager.agents import PAGE
from popham.manager.apply_views import ApplyResult, Change
from popham.manager.definitions import Terms
from popham.manager.grant import Grant
from popham.manager.import_views import DistributionView, ImportedGroup, MoveView
from popham.manager.moves import delete_placement, move_agent
from popham.manager.objects import find_group
from popham.model.agentlist import FINDINGS_MAX, with_digest
from popham.model.distribute_ini import Distribution, Host, Leftover, Target
from popham.model.fleet import Admission, AgentKind
from popham.model.names import NAME_MAX, show
from popham.model.placement import NAMES_MAX, Placement
from popham.model.wanted import Definitions, GroupDefinition, Place, PlacementDefinition
from popham.store.rows import AgentDefinitionRow, Kept
from popham.store.seam import Reading, Store, Writing
from popham.trust.dsse import Signer

SLICE: Final = 200
"""Agents that are moved in one transaction."""
SHOWN: Final = 1000
"""Moves that are told one by one."""
_MESSAGE: Final = "import of Distribute.ini"
Apply = Callable[..., Awaitable[ApplyResult]]
"""Applies definitions; as ``PolicyService._carry_out``."""


class _Agent(NamedTuple):
    """What is asked of an agent."""

    uid: str
    name: str
    group: str
    kind: str


@dataclass
class _Sorted:
    """Where each host's agent is to be found."""

    found: Distribution
    moves: list[tuple[_Agent, str]] = field(default_factory=list)
    here: dict[str, int] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    awaited: dict[str, int] = field(default_factory=dict)
    findings: list[DefinitionError] = field(default_factory=list)
    left: list[Leftover] = field(default_factory=list)

    def refuse(self, host: Host, problem: str, hint: str) -> None:
        self.findings.append(DefinitionError("distribute", problem, hint, source=host.source, line=host.line))


class DistributionTaker:
    """Makes groups of files, and puts agents into them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        director: Signer,
        *,
        carry_out: Apply,
        changed: Callable[[str], None],
    ) -> None:
        """Keep what is needed; ``changed`` is told the uids of agents that were moved, once that is durable."""
        self._store = store
        self._clock = clock
        self._director = director
        self._carry_out = carry_out
        self._changed = changed

    async def take(
        self, found: Distribution, *, grant: Grant, under: str, dry_run: bool = False
    ) -> DistributionView:
        """Make the groups below ``under``, and their rules of placement, and move the agents that are known.

        Raises:
            NotFoundError: ``not_found.group``: there is no group ``under``.
            DefinitionSetError: The groups or rules cannot be as they would be; nothing was changed.
            ConflictError: ``conflict.managed``: a rule belongs to another source; nothing was changed.
        """
        definitions, old = await self._store.read(lambda tx: _wanted(tx, found.targets, under))
        done = _sort(found, await self._agents(), await self._defined())
        result = await self._carry_out(
            grant,
            definitions,
            Terms(message=_MESSAGE, dry_run=dry_run),
            first=lambda tx: _delete(tx, grant, old, now=self._clock.now()),
        )
        if not dry_run:
            for begin in range(0, len(done.moves), SLICE):
                await self._move(grant, done.moves[begin : begin + SLICE])
        deleted = tuple(Change(kind="Placement", name=name, action="deleted") for name in old)
        changes = tuple(one for one in result.changes if one.action != "unchanged") + deleted
        return _tell(found, done, changes, dry_run=dry_run)

    async def _move(self, grant: Grant, moves: Sequence[tuple[_Agent, str]]) -> None:
        now = self._clock.now()

        def work(tx: Writing) -> None:
            for agent, group in moves:
                if tx.agent(agent.uid) is not None:
                    move_agent(tx, grant, agent.uid, group, self._director, now=now)

        await self._store.write(work)
        for agent, _ in moves:
            self._changed(agent.uid)

    async def _agents(self) -> dict[str, list[_Agent]]:
        """Return name, or address from which it comes, → the agents that have it, but for those that are shut out."""
        known: dict[str, list[_Agent]] = {}
        after = ""
        while rows := await self._store.read(partial(_page, after=after)):
            after = rows[-1].uid
            for row in rows:
                if row.admission in {Admission.REFUSED, Admission.REVOKED}:
                    continue
                agent = _Agent(row.uid, row.name, row.group, row.kind)
                for key in {row.name, row.address} - {""}:
                    known.setdefault(key, []).append(agent)
            await asyncio.sleep(0)
        return known

    async def _defined(self) -> dict[str, set[str]]:
        """Return address → uids of the agents that are visited there."""
        known: dict[str, set[str]] = {}
        after = ""
        while rows := await self._store.read(partial(_definition_page, after=after)):
            after = rows[-1].name
            for row in rows:
                if row.uid:
                    known.setdefault(definition_of(row).address, set()).add(row.uid)
            await asyncio.sleep(0)
        return known


def _page(reading: Reading, *, after: str) -> list[Kept]:
    return reading.agents_kept(after=after, limit=PAGE)


def _definition_page(reading: Reading, *, after: str) -> list[AgentDefinitionRow]:
    return reading.agent_definitions(after=after, limit=PAGE)


def _wanted(reading: Reading, targets: Sequence[Target], under: str) -> tuple[Definitions, list[str]]:
    """Return the groups and rules of ``targets``, and the names of rules of former imports that go."""
    find_group(reading, under)
    groups: list[GroupDefinition] = []
    rules: list[PlacementDefinition] = []
    old: list[str] = []
    for target in targets:
        place = Place(source=target.source)
        if reading.group(target.group) is None:
            groups.append(GroupDefinition(name=target.group, parent=under, place=place))
        names = [host.name for host in target.hosts if host.name]
        number = 0
        for begin in range(0, len(names), NAMES_MAX):
            number += 1
            part = tuple(names[begin : begin + NAMES_MAX])
            rules.append(_rule(reading, _rule_name(target.group, number), target.group, part, place))
        old += _from(reading, target.group, number + 1)
    return Definitions(groups=tuple(groups), placements=tuple(rules)), old


def _rule(
    reading: Reading, name: str, group: str, names: tuple[str, ...], place: Place
) -> PlacementDefinition:
    """Return the rule of some hosts; what somebody added to the one that is there stays."""
    row = reading.placement(name)
    held = json.loads(row.body) if row else {}
    rule = Placement.from_dict(name, held) if row else Placement(name=name)
    return PlacementDefinition(
        name=name,
        rule=replace(rule, names=names, group=group),
        annotations=held.get("annotations", {}),
        place=place,
    )


def _rule_name(group: str, number: int) -> str:
    """Return the name of one of the rules of a group, which is no other group's."""
    name = f"distribute-{number}-{group}"
    return name if len(name) <= NAME_MAX else with_digest(name, name)


def _from(reading: Reading, group: str, number: int) -> Iterator[str]:
    """Yield the rules of a group from ``number`` on."""
    while reading.placement(name := _rule_name(group, number)) is not None:
        yield name
        number += 1


def _delete(tx: Writing, grant: Grant, names: Sequence[str], *, now: float) -> None:
    for name in names:
        if tx.placement(name) is not None:
            delete_placement(tx, grant, name, now=now)


def _sort(found: Distribution, agents: dict[str, list[_Agent]], defined: dict[str, set[str]]) -> _Sorted:
    """Return what is to become of the agents of all hosts."""
    done = _Sorted(found)
    by_uid = {agent.uid: agent for held in agents.values() for agent in held}
    taken: dict[str, tuple[str, Host]] = {}
    for target in found.targets:
        for host in target.hosts:
            same = agents.get(host.name or host.address, ())
            meant = [one for one in same if not host.name or one.name == host.name]
            if len(meant) != 1:
                visited = [by_uid[uid] for uid in sorted(defined.get(host.address, ())) if uid in by_uid]
                meant = visited or meant
            if len(meant) != 1:
                _miss(done, target, host, meant)
                continue
            (agent,) = meant
            group, other = taken.setdefault(agent.uid, (target.group, host))
            if group != target.group:
                problem = f"host {show(host.address)} is agent {agent.name!r}, which {other.source}:{other.line} puts into {group!r}"
                done.refuse(host, problem, "Keep it in one group")
            elif other is host:
                _put(done, target, host, agent)
    return done


def _miss(done: _Sorted, target: Target, host: Host, meant: Sequence[_Agent]) -> None:
    """Note a host that is no agent, or several."""
    if meant:
        names = ", ".join(sorted(one.uid for one in meant)[:3])
        problem = f"host {show(host.address)} is {len(meant)} agents: {names}"
        done.refuse(host, problem, f"Move the one that is meant: popham move agent UID --to {target.group}")
    elif host.name:
        done.awaited[target.group] = done.awaited.get(target.group, 0) + 1
    else:
        problem = f"no agent is known at {show(host.address)}, and a rule by name needs a host name"
        hint = f"Write its host name, or a definition of kind Placement with 'address:' and 'group: {target.group}'"
        done.refuse(host, problem, hint)


def _put(done: _Sorted, target: Target, host: Host, agent: _Agent) -> None:
    """Note what becomes of a host that is one agent."""
    if agent.group == target.group:
        done.here[target.group] = done.here.get(target.group, 0) + 1
    elif agent.kind == AgentKind.OWN:
        done.moved[target.group] = done.moved.get(target.group, 0) + 1
        done.moves.append((agent, target.group))
    elif agent.kind == AgentKind.STOCK:
        done.left.append(
            Leftover(
                source=host.source,
                line=host.line,
                text=host.address,
                why=f"agent {agent.name!r} is a stock agent, and belongs to the group of its token",
                instead=f"Give it a token of the group: popham token create --stock --group {target.group}",
            )
        )
    else:
        problem = f"agent {agent.name!r} has not said yet what it is, and whether it can be moved"
        done.refuse(host, problem, "Import again once it was in touch")


def _tell(
    found: Distribution, done: _Sorted, changes: tuple[Change, ...], *, dry_run: bool
) -> DistributionView:
    """Return what people are shown."""
    groups = tuple(
        ImportedGroup(
            group=target.group,
            folder=target.folder,
            source=target.source,
            moved=done.moved.get(target.group, 0),
            here=done.here.get(target.group, 0),
            awaited=done.awaited.get(target.group, 0),
        )
        for target in found.targets
    )
    moves = tuple(
        MoveView(uid=agent.uid, agent=agent.name, before=agent.group, after=group)
        for agent, group in done.moves[:SHOWN]
    )
    return DistributionView(
        dry_run=dry_run,
        groups=groups,
        changes=changes,
        moves=moves,
        findings=tuple(map(str, (*found.findings, *done.findings)))[:FINDINGS_MAX],
        wrong=found.wrong + len(done.findings),
        left=(*found.left, *done.left)[:FINDINGS_MAX],
        left_count=found.left_count + len(done.left),
    )
