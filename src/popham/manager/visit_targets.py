"""Whom this Manager visits, and where: by the definitions in its database, and by what agents say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from popham.clock import Clock
from popham.manager.agent_definitions import bind, definition_of
from popham.manager.book import ManagerBook
from popham.manager.grant import Grant, Role
from popham.manager.visit_places import defined_place
from popham.store.rows import AgentDefinitionRow
from popham.store.seam import Reading, Store
from popham.upstream.kept_targets import Defined, KeptTargets
from popham.upstream.targets import Target

PAGE = 1000
"""Definitions read at once."""


class VisitTargets(KeptTargets):
    """Implements :class:`popham.upstream.targets.Targets`; :meth:`run` keeps the mapping."""

    def __init__(
        self,
        book: ManagerBook,
        store: Store,
        clock: Clock,
        *,
        changed: Callable[[Collection[str]], None] = lambda _keys: None,
        http_proxy: str = "",
    ) -> None:
        """Know nobody yet.

        Args:
            book: Who is known, and what groups are to have.
            store: Has the definitions.
            clock: Wall time.
            changed: Told the keys under which something may be another.
            http_proxy: Web proxy where a definition names none; empty for none.
        """
        super().__init__(book, clock, changed=changed, http_proxy=http_proxy)
        self._store = store
        self._dirty_names: set[str] = set()
        self._joined: set[str] = set()

    async def found(self, target: Target, uid: str) -> None:
        """Bind a definition to the agent that answers where it points.

        Raises:
            ConflictError: ``conflict.bound``.
            NotFoundError: It is gone meanwhile.
            StateError: It could not be written.
        """
        now, name = self._clock.now(), target.name
        grant = Grant(actor="visit", role=Role.ADMIN, source=target.place.host)
        row = await self._store.write(lambda tx: bind(tx, grant, name, uid, now=now))
        self._define(name, row)
        record = self._book.record(uid)
        if record is not None and not record.envelope:
            record.promise = max(record.promise, target.interval)  # it says so itself once it reports
        self.agent_changed(uid)

    def definitions_changed(self, names: Sequence[str]) -> None:
        """Take note that definitions were made, changed or deleted."""
        self._dirty_names.update(names)
        self._woken.set()

    def joined(self, uid: str) -> None:
        """Take note that an agent joined; a definition may be bound to it by its name."""
        if self._definitions and uid not in self._names:
            self._joined.add(uid)
        self.agent_changed(uid)

    async def look(self, *, everything: bool) -> set[str]:
        """Read the definitions that changed; return the keys that they concern. Raises StateError."""
        names, joined = set(self._dirty_names), set(self._joined)
        if everything or len(names) > PAGE:
            touched = await self._read_all()
        else:
            touched = await self._read_some(names, joined)
        self._dirty_names -= names
        self._joined -= joined
        return touched

    async def _read_all(self) -> set[str]:
        """Read all definitions, page by page; return the keys that they concern."""
        touched, seen, after = set(), set(), ""
        while True:
            rows = await self._store.read(partial(_page, after=after))
            for row in rows:
                touched |= self._define(row.name, row)
                seen.add(row.name)
            if len(rows) < PAGE:
                break
            after = rows[-1].name
        for name in self._definitions.keys() - seen:
            touched |= self._define(name, None)
        return touched

    async def _read_some(self, names: Collection[str], joined: Collection[str]) -> set[str]:
        if not names and not joined:
            return set()

        def work(tx: Reading) -> dict[str, AgentDefinitionRow | None]:
            found = {name: tx.agent_definition(name) for name in names}
            bound = [row for row in map(tx.agent_definition_of, joined) if row is not None]
            return found | {row.name: row for row in bound}

        rows = await self._store.read(work)
        return set().union(*(self._define(name, row) for name, row in rows.items()))

    def _define(self, name: str, row: AgentDefinitionRow | None) -> set[str]:
        """Keep a definition, or forget it; return the keys that it concerns."""
        if row is None:
            return self.define(name, None)
        definition = definition_of(row)
        # Whom a Proxy Manager visits is not visited here, wherever it came from.
        place = None if definition.proxy else defined_place(definition, self._http_proxy)
        return self.define(name, Defined(place, row.uid))


def _page(tx: Reading, *, after: str) -> list[AgentDefinitionRow]:
    return tx.agent_definitions(after=after, limit=PAGE)
