"""Changes inside one transaction, in SQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import bindparam, insert, update

from popham.store.audit import chain
from popham.store.data_writing import SqlDataWriting
from popham.store.refusal import taken_bundle, taken_revision
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
from popham.store.sql_change import values_of
from popham.store.tables import TABLES

_SAID: Final = tuple(field.name for field in dataclasses.fields(Said) if field.name != "uid")
"""Columns that a report changes."""


class SqlWriting(SqlDataWriting):
    """``Writing`` on a connection inside a transaction."""

    def put_group(self, row: GroupRow) -> None:
        """Insert or replace a group."""
        self._put(row)

    def delete_group(self, name: str) -> None:
        """Delete a group, if it is there."""
        self._delete(GroupRow, name=name)

    def put_placement(self, row: PlacementRow) -> None:
        """Insert or replace a rule of placement."""
        self._put(row)

    def delete_placement(self, name: str) -> None:
        """Delete a rule of placement, if it is there."""
        self._delete(PlacementRow, name=name)

    def put_agent_definition(self, row: AgentDefinitionRow) -> None:
        """Insert or replace where an agent is visited."""
        self._put(row)

    def delete_agent_definition(self, name: str) -> None:
        """Delete where an agent is visited, if it is there."""
        self._delete(AgentDefinitionRow, name=name)

    def put_proxy(self, row: ProxyRow) -> None:
        """Insert or replace the definition of a Proxy Manager."""
        self._put(row)

    def delete_proxy(self, name: str) -> None:
        """Delete the definition of a Proxy Manager, if it is there."""
        self._delete(ProxyRow, name=name)

    def put_rollout(self, row: RolloutRow) -> None:
        """Insert or replace a rollout."""
        self._put(row)

    def put_draft(self, row: DraftRow) -> None:
        """Insert or replace a draft."""
        self._put(row)

    def delete_draft(self, name: str) -> None:
        """Delete a draft, if it is there."""
        self._delete(DraftRow, name=name)

    def put_policy(self, row: PolicyRow) -> None:
        """Insert or replace the head of a policy."""
        self._put(row)

    def delete_policy(self, name: str) -> None:
        """Delete the head of a policy; its revisions stay."""
        self._delete(PolicyRow, name=name)

    def add_revision(self, row: RevisionRow) -> None:
        """Insert a revision.

        Raises:
            ConflictError: ``conflict.revision``: it is there already.
        """
        if not self._add(row):
            raise taken_revision(row)

    def put_agent(self, row: AgentRow) -> None:
        """Insert or replace an agent."""
        self._put(row)

    def put_agents(self, rows: Iterable[AgentRow]) -> None:
        """Insert or replace agents, many at once."""
        self._put_all(AgentRow, rows)

    def delete_agent(self, uid: str) -> None:
        """Delete an agent, if it is there."""
        self._delete(AgentRow, uid=uid)

    def put_operation(self, row: OperationRow) -> None:
        """Insert or replace an operation."""
        self._put(row)

    def put_targets(self, rows: Iterable[TargetRow]) -> None:
        """Insert or replace targets, many at once."""
        self._put_all(TargetRow, rows)

    def put_output(self, row: OutputRow) -> None:
        """Insert or replace the output of a target."""
        self._put(row)

    def delete_output(self, number: int, uid: str) -> None:
        """Delete an output, if it is there."""
        self._delete(OutputRow, operation=number, uid=uid)

    def delete_operation(self, number: int) -> None:
        """Delete an operation with its targets and outputs, if it is there."""
        self._delete(OperationRow, number=number)
        self._delete(TargetRow, operation=number)
        self._delete(OutputRow, operation=number)

    def put_token(self, row: TokenRow) -> None:
        """Insert or replace a token."""
        self._put(row)

    def add_bundle(self, row: BundleRow) -> None:
        """Insert a bundle.

        Raises:
            ConflictError: ``conflict.bundle``: tenant, group and version are taken.
        """
        if not self._add(row):
            raise taken_bundle(row)

    def put_admin(self, row: AdminRow) -> None:
        """Insert or replace an API token."""
        self._put(row)

    def add_audit(self, row: AuditRow) -> AuditRow:
        """Append to the audit chain; returns the row with seq, prev and hash."""
        table = TABLES[AuditRow]
        last = self._row(AuditRow, order=[table.c.seq.desc()])
        row = chain(dataclasses.replace(row, tenant=self._tenant), last)
        self._connection.execute(insert(table), values_of(row, table))
        return row

    def reports(self, batch: Iterable[Said]) -> None:
        """Note what agents said of themselves; agents that are gone are skipped."""
        self._update_agents(
            [{f"to_{name}": getattr(said, name) for name in _SAID} | {"of_uid": said.uid} for said in batch]
        )

    def contacts(self, batch: Iterable[Contact]) -> None:
        """Note last contacts; agents that are gone are skipped."""
        self._update_agents(
            [
                {
                    "of_uid": contact.uid,
                    "to_last_contact": contact.at,
                    "to_address": contact.address,
                    "to_promise": contact.promise,
                    "to_sequence": contact.sequence,
                }
                for contact in batch
            ]
        )

    def _update_agents(self, values: list[dict[str, Any]]) -> None:
        """Change columns of many agents, by uid; each entry has the same ones."""
        if not values:
            return
        table = TABLES[AgentRow]
        names = [name.removeprefix("to_") for name in values[0] if name != "of_uid"]
        statement = (
            update(table)
            .where(table.c.tenant == self._tenant, table.c.uid == bindparam("of_uid"))
            .values({name: bindparam(f"to_{name}") for name in names})
        )
        self._connection.execute(statement, values)
