"""What people can do with agents: see, admit, move, label, and ask for a round."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from popham.clock import Clock
from popham.errors import ConflictError, DefinitionError
from popham.manager.agents import admit, every_agent, find_agent
from popham.manager.answers import explain_agent, explain_why
from popham.manager.bundles import Bundles
from popham.manager.cohort import Member
from popham.manager.costs import Basis
from popham.manager.data.data import Data
from popham.manager.digests import hide_of_agent, sees_digests
from popham.manager.grant import Grant, Permission, require, require_operation
from popham.manager.intake.views import IntakeView
from popham.manager.keys import ManagerKeys
from popham.manager.links import Links
from popham.manager.measures import Measures
from popham.manager.members import read_members
from popham.manager.moves import delete_placement, label_agent, labels_of, move_agent, read_placements
from popham.manager.objects import find_group, lineage_of
from popham.manager.operations.known import Nobody
from popham.manager.operations.register import Register
from popham.manager.proxies.binding import accept_as_proxy
from popham.manager.proxies.why import with_proxies
from popham.manager.publishing import ASK_ABOVE, Members, Publishing
from popham.manager.rollout_telling import Progress
from popham.manager.rollouts import StoredRollout
from popham.manager.roster import Roster
from popham.manager.summary.newest import Newest
from popham.manager.summary.rollups import Rollups
from popham.manager.summary.window import NoFleet, Window
from popham.manager.told import check_tests
from popham.manager.views import AgentView, CheckIn, Explanation, Page, PlacementView, Why
from popham.model.definition import Definitions
from popham.model.fleet import Admission, Tree
from popham.model.operation import Kind
from popham.model.selector import Selector, parse_selector
from popham.store.rows import AgentRow
from popham.store.seam import Reading, Store, Writing

T = TypeVar("T")
PAGE_MAX = 1000
"""Items of one page."""
_SLICE = 500
"""Agents asked for a round before others have the event loop."""
_ATTEMPTS = 5
"""Transactions tried when another process takes the same version of a bundle."""


class _Called(NamedTuple):
    """What a check-in needs of an agent: of a large fleet whole rows would be too many."""

    uid: str
    name: str
    group: str
    promise: float
    last_contact: float | None


class AgentService:
    """The part of the service that is about agents."""

    def __init__(
        self,
        store: Store,
        *,
        keys: ManagerKeys,
        clock: Clock,
        rng: random.Random,
        on_groups_changed: Callable[[Iterable[str]], None],
        links: Links,
        measures: Callable[[], Measures] = Measures,
        basis: Callable[[], Basis] = Basis,
        ask_above: int = ASK_ABOVE,
        members: Members | None = None,
        progress: Callable[[int], Progress | None] = lambda _number: None,
        holders: Callable[[StoredRollout], Awaitable[int]] | None = None,
        operations: Register | None = None,
        intake: Callable[[], tuple[IntakeView, ...]] = tuple,
        window: Window | None = None,
        rollups: Rollups | None = None,
        data: Data | None = None,
    ) -> None:
        """Wire the service.

        Args:
            store: The database.
            keys: Sign, and go into join strings.
            clock: Dates changes.
            rng: Draws secrets: ``random.SystemRandom()`` outside tests.
            on_groups_changed: Told the names of groups that have a new bundle,
                once that is durable. Must not wait.
            links: The table of open links.
            measures: Returns what the process measures of itself.
            basis: Returns what costs are reckoned with; may read a file.
            ask_above: Agents that a change may give new content at once without a decision; 0 for any number.
            members: Returns who could be in the cohort of a rollout; None to read them from the database.
            progress: Returns how the cohort of a rollout is doing, by its number; None if nobody looks.
            holders: Counts the agents that still have what a rollout brought; None if nobody looks.
            operations: Keeps those that go on; None where nobody serves agents.
            intake: Returns how the intake of each stream is.
            window: Puts the summary window together; None where nobody serves agents.
            rollups: Reads what was rolled up of it; likewise.
            data: Has logs and metrics; likewise.
        """
        self._store = store
        self._keys = keys
        self._clock = clock
        self._rng = rng
        self._on_groups_changed = on_groups_changed
        self._links = links
        self._measures = measures
        self._basis = basis
        self._progress = progress
        self._holders = holders
        self._intake = intake
        self._window = window or Window(NoFleet(), clock, Newest())
        self._rollups = rollups
        self._data = data
        self._operations = operations or Register(store, Nobody(), keys.director, clock)
        publishing = Publishing(ask_above=ask_above, members=members or self._stored_members, rng=rng)
        self._bundles = Bundles(keys.director, publishing)

    def _stored_members(self, tx: Reading, groups: Collection[str]) -> Mapping[str, Sequence[Member]]:
        return read_members(tx, groups, self._clock.now())

    async def agents(
        self,
        grant: Grant,
        *,
        group: str | None = None,
        selector: str = "",
        after: str = "",
        limit: int = 500,
    ) -> Page:
        """Return a page of agents by uid, those above ``after``, of ``group``, that ``selector`` means.

        Raises:
            NotFoundError: ``group`` does not exist.
            DefinitionError: ``definition.selector``.
        """
        require(grant, Permission.READ)
        wanted = parse_selector(selector)
        limit = max(1, min(limit, PAGE_MAX))

        def work(tx: Reading) -> Page:
            if group is not None:
                find_group(tx, group)
            roster = Roster(tx, self._links, self._clock.now())
            rows = _select(tx, wanted, group=group, after=after, limit=limit + 1)
            views = tuple(roster.view(row) for row in rows[:limit])
            return Page(items=views, cursor=views[-1].uid if len(rows) > limit else "")

        return await self._store.read(work)

    async def agent(self, grant: Grant, ref: str) -> AgentView:
        """Return one agent by name or uid, with its detail; digests in it for those who may change policies.

        Raises:
            NotFoundError: ``not_found.agent``.
            ConflictError: ``conflict.ambiguous``.
        """
        require(grant, Permission.READ)
        view = await self._store.read(lambda tx: self._view(tx, find_agent(tx, ref)))
        view = replace(view, detail={**view.detail, "clock_skew": self._window.skew(view.uid)})
        return view if sees_digests(grant) else hide_of_agent(view)

    async def explain(self, grant: Grant, ref: str, *, setting: str = "", location: str = "") -> Explanation:
        """Return where an agent's values come from; errors as :func:`popham.manager.answers.explain_agent`."""
        require(grant, Permission.READ)
        return await self._store.read(
            lambda tx: explain_agent(tx, find_agent(tx, ref), setting=setting, location=location)
        )

    async def why(self, grant: Grant, ref: str) -> Why:
        """Return why an agent is where it is, and the next step; errors as :meth:`agent`."""
        require(grant, Permission.READ)

        def explain(tx: Reading) -> Why:
            view = self._view(tx, find_agent(tx, ref))
            return with_proxies(tx, view, explain_why(view))

        return await self._store.read(explain)

    async def accept(self, grant: Grant, ref: str) -> AgentView:
        """Accept an agent: it is assigned, and given its group's bundle; errors as :meth:`agent`."""
        return await self._admit(grant, ref, Admission.ACCEPTED)

    async def refuse(self, grant: Grant, ref: str) -> AgentView:
        """Refuse an agent that is new; errors as :meth:`agent`, and ``conflict.admission``."""
        return await self._admit(grant, ref, Admission.REFUSED)

    async def revoke(self, grant: Grant, ref: str) -> AgentView:
        """Revoke an accepted agent: nothing more is given to it; errors as :meth:`refuse`."""
        return await self._admit(grant, ref, Admission.REVOKED)

    async def check_in(
        self,
        grant: Grant,
        refs: Sequence[str] = (),
        *,
        group: str | None = None,
        selector: str = "",
        everyone: bool = False,
    ) -> tuple[CheckIn, ...]:
        """Ask agents for a round now: those named, those of ``group`` that ``selector`` means, or everyone.

        Agents without a held link are not asked; their answer says when they
        will be heard of anyway.

        Raises:
            NotFoundError: An agent or the group does not exist; nobody was asked.
            ConflictError: ``conflict.ambiguous``; nobody was asked.
            GrantError: The scope of the grant leaves out one of them; nobody was asked.
            DefinitionError: ``definition.selector``; ``definition.check_in``: it names more than
                one of agents, a group or selector, and everyone; nobody was asked.
        """
        require(grant, Permission.CHECK_IN)
        wanted = parse_selector(selector)
        if sum(map(bool, (refs, group is not None or wanted.parts, everyone))) > 1:
            problem = "a check-in is for agents, or for a group or a selector, or for all"
            raise DefinitionError("check_in", problem, "Name one of them")

        def work(tx: Reading) -> dict[str, _Called]:
            found = {row.uid: _called(row) for row in (find_agent(tx, ref) for ref in refs)}
            if group is not None:
                find_group(tx, group)
            if group is not None or everyone or wanted.parts:
                for row in every_agent(tx, group):
                    if not wanted.parts or wanted.matches(labels_of(row)):
                        found[row.uid] = _called(row)
            self._require_operation(tx, grant, Kind.CHECK_IN, {called.group for called in found.values()})
            return found

        asked: list[CheckIn] = []
        for number, called in enumerate((await self._store.read(work)).values(), 1):
            asked.append(self._check_in(called))
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        return tuple(asked)

    async def move(self, grant: Grant, ref: str, group: str) -> AgentView:
        """Put an agent into another group; errors as :func:`popham.manager.moves.move_agent`."""
        require(grant, Permission.ADMIT)
        now, director = self._clock.now(), self._keys.director
        row = await self._write(lambda tx: move_agent(tx, grant, ref, group, director, now=now))
        self._links.agent_changed(row.uid)
        return await self._store.read(lambda tx: self._view(tx, row))

    async def label(self, grant: Grant, ref: str, labels: Mapping[str, str | None]) -> AgentView:
        """Set or take away (None) an operator's labels; errors as :func:`popham.manager.moves.label_agent`."""
        require(grant, Permission.ADMIT)
        now = self._clock.now()
        row = await self._write(lambda tx: label_agent(tx, grant, ref, labels, now=now))
        return await self._store.read(lambda tx: self._view(tx, row))

    async def placements(self, grant: Grant) -> tuple[PlacementView, ...]:
        """Return the rules that say where agents begin, in the order in which they are asked."""
        require(grant, Permission.READ)
        rules = await self._store.read(read_placements)
        ordered = sorted(rules, key=lambda rule: (rule.order, rule.name))
        return tuple(
            PlacementView(name=rule.name, **rule.as_dict() | {"address": rule.address, "names": rule.names})
            for rule in ordered
        )

    async def delete_placement(self, grant: Grant, name: str) -> None:
        """Delete a rule of placement; raises NotFoundError ``not_found.placement``.

        A test that would fail by it raises DefinitionSetError: it would stop every apply from then on.
        """
        require(grant, Permission.APPLY)
        now = self._clock.now()

        def work(tx: Writing) -> None:
            delete_placement(tx, grant, name, now=now)
            self._check_stored_tests(tx)

        await self._write(work)

    def _require_operation(self, tx: Reading, grant: Grant, kind: str, groups: Iterable[str]) -> None:
        """Return if ``grant`` may order ``kind`` in all these groups; raises GrantError ``grant.not_permitted``."""
        lineages: list[tuple[str, ...]] = []
        if grant.scope.groups:
            tree = Tree(self._bundles.groups.read(tx).values())
            lineages = [lineage_of(tree, name) for name in sorted(groups)]
        require_operation(grant, kind, lineages)

    async def _admit(self, grant: Grant, ref: str, admission: Admission) -> AgentView:
        require(grant, Permission.ADMIT)
        now = self._clock.now()

        def work(tx: Writing) -> AgentRow:
            found = admit(tx, grant, ref, admission, self._keys.director, now=now)
            if admission is Admission.ACCEPTED:
                accept_as_proxy(tx, found, now=now)
            return found

        row = await self._write(work)
        self._links.agent_changed(row.uid)
        return await self._store.read(lambda tx: self._view(tx, tx.agent(row.uid) or row))

    def _check_stored_tests(self, tx: Writing) -> None:
        """Return if every test holds in the fleet as the transaction leaves it; errors as :func:`check_tests`."""
        check_tests(tx, Definitions(), Tree(self._bundles.groups.read(tx).values()), tx.policies())

    def _view(self, reading: Reading, row: AgentRow) -> AgentView:
        return Roster(reading, self._links, self._clock.now()).view(row, detailed=True)

    def _check_in(self, called: _Called) -> CheckIn:
        if self._links.check_in(called.uid):
            return CheckIn(uid=called.uid, name=called.name, state="asked", when=None)
        seen = [at for at in (called.last_contact, self._links.last_contact(called.uid)) if at is not None]
        promise = self._links.relayed.promise(called.uid) or called.promise
        when = max(seen) + promise if seen else None
        return CheckIn(uid=called.uid, name=called.name, state="waits", when=when)

    async def _write(self, work: Callable[[Writing], T]) -> T:
        """Write, and try again if another process has just taken the same version of a bundle."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._store.write(work)
            except ConflictError as error:
                if error.code != "conflict.bundle":
                    raise
        return await self._store.write(work)


def _called(row: AgentRow) -> _Called:
    return _Called(row.uid, row.name, row.group, row.promise, row.last_contact)


def _select(tx: Reading, wanted: Selector, *, group: str | None, after: str, limit: int) -> list[AgentRow]:
    """Return the first ``limit`` agents above ``after`` that are meant."""
    if not wanted.parts:
        return tx.agents(group=group, after=after, limit=limit)
    found: list[AgentRow] = []
    while len(found) < limit and (rows := tx.agents(group=group, after=after, limit=PAGE_MAX)):
        found += [row for row in rows if wanted.matches(labels_of(row))]
        after = rows[-1].uid
    return found[:limit]
