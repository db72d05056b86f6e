"""The entries of an ``agentlist.cfg`` become definitions, by an import or of a followed file.

Rules:

1. A place that has a definition already is left as it is, unless that came from the same followed file.
2. What came from a followed file and is not in it any more is deleted; nothing else ever is.
3. Nothing is deleted while a line of the file is wrong, since nobody knows what stood there, nor if no entry is
   left: a file that was emptied by an accident must not take all agents out of reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from popham.clock import Clock
from popham.errors import DefinitionError
from popham.manager.agent_definitions import (
    annotations_of,
    definition_of,
    definition_row,
    delete_agent_definition,
    describe,
    named_agent,
)
from popham.manager.apply_views import Change
from popham.manager.audit import note
from popham.manager.grant import Grant
from popham.manager.views import ImportView
from popham.model.agent_definition import AGENT_DEFINITIONS_MAX, AgentDefinition, Tls
from popham.model.agentlist import AgentList, Entry, with_digest
from popham.model.managed import SOURCE
from popham.store.rows import AgentDefinitionRow
from popham.store.seam import Reading, Store, Writing

SLICE: Final = 200
"""Entries of one transaction, so that nobody else waits for a large list."""
SHOWN: Final = 1000
"""Changes that are told one by one."""
Taken = tuple[Change, AgentDefinitionRow | None]


_PAGE: Final = 1000


def _page(reading: Reading, *, after: str) -> list[AgentDefinitionRow]:
    return reading.agent_definitions(after=after, limit=_PAGE)


def source_of(path: str) -> str:
    """Return what the definitions of a followed file name as the place where they are kept."""
    return f"agentlist:{path}"


@dataclass
class _Sum:
    """What became of a list so far."""

    counts: dict[str, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, change: Change) -> None:
        self.counts[change.action] = self.counts.get(change.action, 0) + 1
        if change.action == "unchanged":
            return
        self.names.append(change.name)
        if len(self.changes) < SHOWN:
            self.changes.append(change)


class ListTaker:
    """Makes definitions of the entries of a list, a slice in each transaction."""

    def __init__(self, store: Store, clock: Clock, changed: Callable[[Sequence[str]], None]) -> None:
        """Keep what is needed; ``changed`` is told the names of definitions, once they are durable."""
        self._store = store
        self._clock = clock
        self._changed = changed

    async def take(
        self, listed: AgentList, *, grant: Grant, source: str = "", dry_run: bool = False
    ) -> ImportView:
        """Make definitions of all entries; with a ``source`` also delete what came from there and is gone."""
        done = _Sum()
        places = frozenset(entry.definition.where for entry in listed.entries)
        rest = await self._settle(listed.entries, done, source)
        for begin in range(0, len(rest), SLICE):
            part = rest[begin : begin + SLICE]
            await self._do(part, places, done, grant=grant, source=source, dry_run=dry_run)
        if source and places and not listed.unclear and not dry_run:
            await self._delete(places, done, grant=grant, source=source)
        return ImportView(
            dry_run=dry_run,
            created=done.counts.get("created", 0),
            changed=done.counts.get("changed", 0),
            unchanged=done.counts.get("unchanged", 0),
            deleted=done.counts.get("deleted", 0),
            changes=tuple(done.changes),
            findings=tuple(map(str, listed.findings)),
            wrong=listed.wrong,
        )

    async def _settle(self, entries: Sequence[Entry], done: _Sum, source: str) -> list[Entry]:
        """Count the entries that change nothing, which are nearly all of a list that was edited; return the others."""
        wanted = {entry.definition.where: entry.definition for entry in entries}
        settled: set[str] = set()
        after = ""
        while rows := await self._store.read(partial(_page, after=after)):
            after = rows[-1].name
            for row in rows:
                change, fresh = (
                    _known(row, wanted[row.place], source) if row.place in wanted else (None, None)
                )
                if change is not None and fresh is None:
                    settled.add(row.place)
                    done.add(change)
            await asyncio.sleep(0)
        return [entry for entry in entries if entry.definition.where not in settled]

    async def _do(
        self,
        part: Sequence[Entry],
        places: frozenset[str],
        done: _Sum,
        *,
        grant: Grant,
        source: str,
        dry_run: bool,
    ) -> None:
        if dry_run:
            found = await self._store.read(lambda tx: [decide(tx, one, places, source)[0] for one in part])
        else:
            now = self._clock.now()
            found = await self._store.write(lambda tx: _take(tx, part, places, source, grant, now=now))
        self._tell(found, done, told=not dry_run)

    async def _delete(self, places: frozenset[str], done: _Sum, *, grant: Grant, source: str) -> None:
        """Delete what came from ``source`` and is at none of ``places``."""
        rows = await self._store.read(lambda tx: tx.agent_definitions_from(source))
        gone = [row.name for row in rows if row.place not in places]
        for begin in range(0, len(gone), SLICE):
            names, now = gone[begin : begin + SLICE], self._clock.now()

            def work(tx: Writing, names: Sequence[str] = names, now: float = now) -> list[Change]:
                held = [name for name in names if tx.agent_definition(name) is not None]
                for name in held:
                    delete_agent_definition(tx, grant, name, now=now, source=source)
                return [Change(kind="Agent", name=name, action="deleted") for name in held]

            self._tell(await self._store.write(work), done, told=True)

    def _tell(self, found: Sequence[Change], done: _Sum, *, told: bool) -> None:
        for change in found:
            done.add(change)
        names = [change.name for change in found if change.action != "unchanged"]
        if names and told:
            self._changed(names)


def decide(reading: Reading, entry: Entry, places: frozenset[str], source: str) -> Taken:
    """Return what becomes of an entry, and the row that keeps it afterwards; None if nothing changes.

    Args:
        reading: The transaction.
        entry: A line.
        places: All places of its list.
        source: As which the file is followed; empty for an import.
    """
    wanted = entry.definition
    row = reading.agent_definition_at(wanted.where)
    return _known(row, wanted, source) if row else _new(reading, wanted, places, source)


def _known(row: AgentDefinitionRow, wanted: AgentDefinition, source: str) -> Taken:
    """Return what becomes of an entry whose place has a definition."""
    if not source or row.source != source:
        return Change(kind="Agent", name=row.name, action="unchanged"), None
    return _update(row, wanted)


def _new(reading: Reading, wanted: AgentDefinition, places: frozenset[str], source: str) -> Taken:
    held = reading.agent_definition(wanted.name)
    if held is not None and source and held.source == source and held.place not in places:
        # The same host at another port or alias.
        return _update(held, wanted)
    if held is not None:
        wanted = replace(wanted, name=with_digest(wanted.name, wanted.where))
    annotations = {SOURCE: source} if source else {}
    fresh = definition_row(wanted, annotations, uid=named_agent(reading, wanted.name), edition=1)
    return Change(kind="Agent", name=wanted.name, action="created"), fresh


def _update(row: AgentDefinitionRow, wanted: AgentDefinition) -> Taken:
    """Return what a row becomes; its name, its agent and what a list cannot say stay.

    A password stays with the one that it is for: no line of a file sends it to another, or over a network in the clear.
    """
    old = definition_of(row)
    safe = wanted.address == old.address and (wanted.tls is not Tls.OFF or old.tls is Tls.OFF)
    new = replace(
        old,
        address=wanted.address,
        port=wanted.port,
        prefix=wanted.prefix,
        tls=wanted.tls,
        ca=old.ca if wanted.tls is Tls.WEB else "",
        http_proxy=wanted.http_proxy,
        http_proxy_password=old.http_proxy_password if wanted.http_proxy == old.http_proxy else "",
        password=old.password if safe else "",
    )
    if new == old:
        return Change(kind="Agent", name=row.name, action="unchanged"), None
    fresh = definition_row(new, annotations_of(row), uid=row.uid, edition=row.edition + 1)
    return Change(kind="Agent", name=row.name, action="changed"), fresh


def _take(
    tx: Writing, part: Sequence[Entry], places: frozenset[str], source: str, grant: Grant, *, now: float
) -> list[Change]:
    """Store what some entries make, and return what became of each.

    Raises:
        DefinitionError: ``definition.agent``: there would be too many.
    """
    room = AGENT_DEFINITIONS_MAX - tx.agent_definition_count()
    found = []
    for entry in part:
        change, fresh = decide(tx, entry, places, source)
        found.append(change)
        if fresh is None:
            continue
        room -= change.action == "created"
        if room < 0:
            problem = f"there would be more than {AGENT_DEFINITIONS_MAX} agent definitions"
            raise DefinitionError("agent", problem, "Delete some, or put a Proxy Manager between")
        row = None if change.action == "created" else tx.agent_definition(change.name)
        tx.put_agent_definition(fresh)
        before, after = describe(row) if row else None, describe(fresh, row)
        note(tx, grant, "agentlist", f"agent/{change.name}", now=now, before=before, after=after)
    return found
