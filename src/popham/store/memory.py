"""The Manager's database without a disk: for tests and simulations.

It keeps the promises of the seam that need no disk, in one thread and
without waiting, so it also works in virtual time.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from popham.model.names import DEFAULT_TENANT
from popham.store.audit import chain
from popham.store.memory_data import MemoryDataWriting
from popham.store.memory_question import Tables
from popham.store.memory_reading import MemoryReading
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
    OperationRow,
    OutputRow,
    PlacementRow,
    PolicyRow,
    ProxyRow,
    RevisionRow,
    RolloutRow,
    Said,
    TargetRow,
    TokenRow,
)
from popham.store.seam import Reading, Writing

T = TypeVar("T")


class MemoryWriting(MemoryDataWriting, MemoryReading):
    """``Writing`` on dictionaries that are copied when they are first changed."""

    def __init__(self, tables: Tables, tenant: str) -> None:
        super().__init__(dict(tables), tenant)
        self._before = tables

    @property
    def result(self) -> Tables:
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

    def put_proxy(self, row: ProxyRow) -> None:
        """Insert or replace the definition of a Proxy Manager."""
        self._open(ProxyRow)[row.tenant, row.name] = row

    def delete_proxy(self, name: str) -> None:
        """Delete the definition of a Proxy Manager, if it is there."""
        self._open(ProxyRow).pop((self._tenant, name), None)

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

    def put_agents(self, rows: Iterable[AgentRow]) -> None:
        """Insert or replace agents, many at once."""
        self._open(AgentRow).update({(row.tenant, row.uid): row for row in rows})

    def delete_agent(self, uid: str) -> None:
        """Delete an agent, if it is there."""
        self._open(AgentRow).pop((self._tenant, uid), None)

    def put_operation(self, row: OperationRow) -> None:
        """Insert or replace an operation."""
        self._open(OperationRow)[row.tenant, row.number] = row

    def put_targets(self, rows: Iterable[TargetRow]) -> None:
        """Insert or replace targets, many at once."""
        self._open(TargetRow).update({(row.tenant, row.operation, row.uid): row for row in rows})

    def put_output(self, row: OutputRow) -> None:
        """Insert or replace the output of a target."""
        self._open(OutputRow)[row.tenant, row.operation, row.uid] = row

    def delete_output(self, number: int, uid: str) -> None:
        """Delete an output, if it is there."""
        self._open(OutputRow).pop((self._tenant, number, uid), None)

    def delete_operation(self, number: int) -> None:
        """Delete an operation with its targets and outputs, if it is there."""
        self._open(OperationRow).pop((self._tenant, number), None)
        for kind in (TargetRow, OutputRow):
            table = self._open(kind)
            for key in [key for key in table if key[:2] == (self._tenant, number)]:
                del table[key]

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
        self._tables: Tables = {}
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
