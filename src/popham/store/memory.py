"""The Manager's database without a disk: for tests and simulations.

It keeps the promises of the seam that need no disk, in one thread and
without waiting, so it also works in virtual time.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from popham.model.names import DEFAULT_TENANT
from popham.store.audit import chain
from popham.store.refusal import closed, taken_bundle, taken_revision
from popham.store.rows import (
    AdminRow,
    AgentDefinitionRow,
    AgentRow,
    AuditRow,
    BundleRow,
    Contact,
    DraftRow,
    GroupRow,
    Kept,
    PlacementRow,
    PolicyRow,
    RevisionRow,
    RolloutRow,
    Said,
    TokenRow,
)
from popham.store.seam import Reading, Writing

T = TypeVar("T")
R = TypeVar("R")

_Rows = dict[Any, dict[Any, Any]]


class MemoryReading:
    """``Reading`` on dictionaries."""

    def __init__(self, tables: _Rows, tenant: str) -> None:
        self._tables = tables
        self._tenant = tenant

    def _table(self, kind: type[R]) -> dict[tuple[Any, ...], R]:
        """Return the rows of one class by key; the key begins with the tenant."""
        return self._tables.get(kind, {})

    def _rows(self, kind: type[R]) -> list[R]:
        """Return the rows of one class by key."""
        table = self._table(kind)
        return [table[key] for key in sorted(table) if key[0] == self._tenant]

    def _row(self, kind: type[R], *key: object) -> R | None:
        """Return one row."""
        return self._table(kind).get((self._tenant, *key))

    def meta(self, key: str) -> str | None:
        """Return a value of the Manager's own."""
        return self._tables.get("meta", {}).get(key)

    def groups(self) -> list[GroupRow]:
        """Return all groups by name."""
        return self._rows(GroupRow)

    def group_bodies(self) -> dict[str, str]:
        """Return group → its body, of all groups."""
        return {row.name: row.body for row in self._rows(GroupRow)}

    def group(self, name: str) -> GroupRow | None:
        """Return one group."""
        return self._row(GroupRow, name)

    def placements(self) -> list[PlacementRow]:
        """Return the rules of placement by name."""
        return self._rows(PlacementRow)

    def placement(self, name: str) -> PlacementRow | None:
        """Return one rule of placement."""
        return self._row(PlacementRow, name)

    def agent_definitions(self, *, after: str = "", limit: int | None = None) -> list[AgentDefinitionRow]:
        """Return where agents are visited, by name, those above ``after`` only."""
        return [row for row in self._rows(AgentDefinitionRow) if row.name > after][:limit]

    def agent_definition(self, name: str) -> AgentDefinitionRow | None:
        """Return the definition of this name."""
        return self._row(AgentDefinitionRow, name)

    def agent_definition_at(self, place: str) -> AgentDefinitionRow | None:
        """Return the definition that names this place."""
        return next((row for row in self._rows(AgentDefinitionRow) if row.place == place), None)

    def agent_definition_of(self, uid: str) -> AgentDefinitionRow | None:
        """Return the definition that is bound to this agent, the first by name."""
        return next((row for row in self._rows(AgentDefinitionRow) if uid and row.uid == uid), None)

    def agent_definitions_from(self, source: str) -> list[AgentDefinitionRow]:
        """Return the definitions that are kept there, by name; none for an empty ``source``."""
        return [row for row in self._rows(AgentDefinitionRow) if source and row.source == source]

    def agent_definition_count(self) -> int:
        """Return how many definitions of agents there are."""
        return len(self._rows(AgentDefinitionRow))

    def rollouts(self, *, open_only: bool = False, limit: int | None = None) -> list[RolloutRow]:
        """Return rollouts, the newest first: ``limit`` of them, or all; or those that are not over."""
        found = [row for row in reversed(self._rows(RolloutRow)) if not (open_only and row.over)]
        return found[:limit]

    def rollout(self, number: int) -> RolloutRow | None:
        """Return one rollout."""
        return self._row(RolloutRow, number)

    def draft_names(self) -> list[str]:
        """Return the names of all drafts, sorted; their bodies are large."""
        return [row.name for row in self._rows(DraftRow)]

    def draft(self, name: str) -> DraftRow | None:
        """Return one draft."""
        return self._row(DraftRow, name)

    def policies(self) -> list[PolicyRow]:
        """Return the heads of all policies by name."""
        return self._rows(PolicyRow)

    def policy(self, name: str) -> PolicyRow | None:
        """Return the head of one policy."""
        return self._row(PolicyRow, name)

    def revision(self, name: str, revision: int) -> RevisionRow | None:
        """Return one revision of a policy."""
        return self._row(RevisionRow, name, revision)

    def revisions(self, name: str) -> list[RevisionRow]:
        """Return all revisions of a policy, the newest first."""
        return [row for row in reversed(self._rows(RevisionRow)) if row.name == name]

    def revision_numbers(self, name: str) -> list[int]:
        """Return the numbers of all revisions of a policy, the newest first."""
        return [row.revision for row in self.revisions(name)]

    def encoded(self, sha256: str) -> bytes | None:
        """Return a policy body by its digest, whichever policy has it."""
        return next((row.encoded for row in self._rows(RevisionRow) if row.sha256 == sha256), None)

    def policy_lengths(self) -> dict[str, int]:
        """Return policy → bytes of its newest body."""
        held = {(row.name, row.revision): len(row.encoded) for row in self._rows(RevisionRow)}
        rows = self._rows(PolicyRow)
        return {row.name: held[row.name, row.revision] for row in rows if (row.name, row.revision) in held}

    def agents(
        self, *, group: str | None = None, after: str = "", limit: int | None = None
    ) -> list[AgentRow]:
        """Return agents by uid, those above ``after`` only."""
        rows = [row for row in self._rows(AgentRow) if row.uid > after and group in {None, row.group}]
        return rows[:limit]

    def agents_kept(self, *, after: str = "", limit: int | None = None) -> list[Kept]:
        """Return what a Manager keeps of its agents, by uid, those above ``after`` only."""
        rows = self.agents(after=after, limit=limit)
        return [Kept._make(getattr(row, name) for name in Kept._fields) for row in rows]

    def agent(self, uid: str) -> AgentRow | None:
        """Return one agent."""
        return self._row(AgentRow, uid)

    def agents_named(self, name: str) -> list[AgentRow]:
        """Return the agents of this name, by uid."""
        return [row for row in self._rows(AgentRow) if row.name == name]

    def agent_counts(self, groups: Sequence[str] | None = None) -> dict[str, int]:
        """Return group → how many agents it has, of ``groups`` at least; groups without agents are left out."""
        rows = self._rows(AgentRow)
        return dict(Counter(row.group for row in rows if groups is None or row.group in groups))

    def agent_by_spki(self, spki: str) -> AgentRow | None:
        """Return the agent that enrolled with this key, the newest if there are several."""
        return next((row for row in reversed(self._rows(AgentRow)) if spki and row.spki == spki), None)

    def tokens(self) -> list[TokenRow]:
        """Return all tokens, the newest first."""
        return sorted(self._rows(TokenRow), key=lambda row: (-row.created, row.id))

    def token(self, token: str) -> TokenRow | None:
        """Return one token by id."""
        return self._row(TokenRow, token)

    def bundle(self, group: str) -> BundleRow | None:
        """Return the bundle of the highest version of a group."""
        return next((row for row in self.bundles() if row.group == group), None)

    def bundles(self) -> list[BundleRow]:
        """Return the newest bundle of every group, by group."""
        return list({row.group: row for row in self._rows(BundleRow)}.values())

    def admins(self) -> list[AdminRow]:
        """Return all API tokens, by id."""
        return self._rows(AdminRow)

    def admin(self, admin: str) -> AdminRow | None:
        """Return one API token by id."""
        return self._row(AdminRow, admin)

    def audit(self, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """Return changes with ``seq`` above ``after``, oldest first."""
        return [row for row in self._rows(AuditRow) if row.seq > after][:limit]


class MemoryWriting(MemoryReading):
    """``Writing`` on dictionaries that are copied when they are first changed."""

    def __init__(self, tables: _Rows, tenant: str) -> None:
        super().__init__(dict(tables), tenant)
        self._before = tables

    @property
    def result(self) -> _Rows:
        """The tables as this transaction leaves them."""
        return self._tables

    def _open(self, kind: object) -> dict[Any, Any]:
        """Return a table of one's own to change."""
        table = self._tables.get(kind)
        if table is None or table is self._before.get(kind):
            table = self._tables[kind] = dict(table or {})
        return table

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the Manager's own."""
        self._open("meta")[key] = value

    def put_group(self, row: GroupRow) -> None:
        """Insert or replace a group."""
        self._open(GroupRow)[row.tenant, row.name] = row

    def delete_group(self, name: str) -> None:
        """Delete a group, if it is there."""
        self._open(GroupRow).pop((self._tenant, name), None)

    def put_placement(self, row: PlacementRow) -> None:
        """Insert or replace a rule of placement."""
        self._open(PlacementRow)[row.tenant, row.name] = row

    def delete_placement(self, name: str) -> None:
        """Delete a rule of placement, if it is there."""
        self._open(PlacementRow).pop((self._tenant, name), None)

    def put_agent_definition(self, row: AgentDefinitionRow) -> None:
        """Insert or replace where an agent is visited."""
        self._open(AgentDefinitionRow)[row.tenant, row.name] = row

    def delete_agent_definition(self, name: str) -> None:
        """Delete where an agent is visited, if it is there."""
        self._open(AgentDefinitionRow).pop((self._tenant, name), None)

    def put_rollout(self, row: RolloutRow) -> None:
        """Insert or replace a rollout."""
        self._open(RolloutRow)[row.tenant, row.number] = row

    def put_draft(self, row: DraftRow) -> None:
        """Insert or replace a draft."""
        self._open(DraftRow)[row.tenant, row.name] = row

    def delete_draft(self, name: str) -> None:
        """Delete a draft, if it is there."""
        self._open(DraftRow).pop((self._tenant, name), None)

    def put_policy(self, row: PolicyRow) -> None:
        """Insert or replace the head of a policy."""
        self._open(PolicyRow)[row.tenant, row.name] = row

    def delete_policy(self, name: str) -> None:
        """Delete the head of a policy; its revisions stay."""
        self._open(PolicyRow).pop((self._tenant, name), None)

    def add_revision(self, row: RevisionRow) -> None:
        """Insert a revision.

        Raises:
            ConflictError: ``conflict.revision``: it is there already.
        """
        if self._open(RevisionRow).setdefault((row.tenant, row.name, row.revision), row) is not row:
            raise taken_revision(row)

    def put_agent(self, row: AgentRow) -> None:
        """Insert or replace an agent."""
        self._open(AgentRow)[row.tenant, row.uid] = row

    def delete_agent(self, uid: str) -> None:
        """Delete an agent, if it is there."""
        self._open(AgentRow).pop((self._tenant, uid), None)

    def put_token(self, row: TokenRow) -> None:
        """Insert or replace a token."""
        self._open(TokenRow)[row.tenant, row.id] = row

    def add_bundle(self, row: BundleRow) -> None:
        """Insert a bundle.

        Raises:
            ConflictError: ``conflict.bundle``: tenant, group and version are taken.
        """
        if self._open(BundleRow).setdefault((row.tenant, row.group, row.version), row) is not row:
            raise taken_bundle(row)

    def put_admin(self, row: AdminRow) -> None:
        """Insert or replace an API token."""
        self._open(AdminRow)[row.tenant, row.id] = row

    def add_audit(self, row: AuditRow) -> AuditRow:
        """Append to the audit chain; returns the row with seq, prev and hash."""
        last = self._row(AuditRow, sum(key[0] == self._tenant for key in self._table(AuditRow)))
        row = chain(dataclasses.replace(row, tenant=self._tenant), last)
        self._open(AuditRow)[self._tenant, row.seq] = row
        return row

    def reports(self, batch: Iterable[Said]) -> None:
        """Note what agents said of themselves; agents that are gone are skipped."""
        table = self._open(AgentRow)
        for said in batch:
            row = table.get((self._tenant, said.uid))
            if row is not None:
                table[self._tenant, said.uid] = dataclasses.replace(row, **dataclasses.asdict(said))

    def contacts(self, batch: Iterable[Contact]) -> None:
        """Note last contacts; agents that are gone are skipped."""
        table = self._open(AgentRow)
        for contact in batch:
            row = table.get((self._tenant, contact.uid))
            if row is not None:
                table[self._tenant, contact.uid] = dataclasses.replace(
                    row,
                    last_contact=contact.at,
                    address=contact.address,
                    promise=contact.promise,
                    sequence=contact.sequence,
                )


class MemoryStore:
    """``Store`` in the memory of this process."""

    def __init__(self, *, tenant: str = DEFAULT_TENANT) -> None:
        self._tables: _Rows = {}
        self._tenant = tenant
        self._closed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Return 0: nothing waits here."""
        return 0

    async def write(self, work: Callable[[Writing], T]) -> T:
        """Run ``work`` in a transaction and return its result.

        Raises:
            StateError: ``state.closed``.
        """
        self._check()
        writing = MemoryWriting(self._tables, self._tenant)
        result = work(writing)
        self._tables = writing.result
        return result

    async def read(self, work: Callable[[Reading], T]) -> T:
        """Run ``work`` on what is committed and return its result.

        Raises:
            StateError: ``state.closed``.
        """
        self._check()
        return work(MemoryReading(self._tables, self._tenant))

    async def watch(self) -> None:
        """Return when the store is closed."""
        await self._closed.wait()

    async def aclose(self) -> None:
        """Refuse everything from now on."""
        self._closed.set()

    def _check(self) -> None:
        """Refuse whoever comes after the end."""
        if self._closed.is_set():
            raise closed()
