"""Questions inside one transaction, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import String, func, select, tuple_, type_coerce

from popham.store.data_reading import SqlDataReading
from popham.store.proxy_reading import SqlProxyReading
from popham.store.rows import (
    AdminRow,
    AgentDefinitionRow,
    AgentRow,
    AuditRow,
    BundleRow,
    DraftRow,
    GroupRow,
    Kept,
    OperationRow,
    OutputRow,
    PlacementRow,
    PolicyRow,
    RevisionRow,
    RolloutRow,
    TargetRow,
    TokenRow,
)
from popham.store.tables import TABLES

_FEW: Final = 100
"""Groups that are counted one by one; of more, all are counted."""


class SqlReading(SqlDataReading, SqlProxyReading):
    """``Reading`` on a connection inside a transaction."""

    def groups(self) -> list[GroupRow]:
        """Return all groups by name."""
        return self._rows(GroupRow, order=[TABLES[GroupRow].c.name])

    def group_bodies(self) -> dict[str, str]:
        """Return group → its body, of all groups."""
        columns = TABLES[GroupRow].c
        # Names and JSON hold no control characters, so no database keeps them otherwise than they are.
        query = select(type_coerce(columns.name, String), type_coerce(columns.body, String))
        rows = self._connection.execute(query.where(columns.tenant == self._tenant)).all()
        return {name: body for name, body in rows}  # noqa: C416 - rows are no pairs for the type checker

    def group(self, name: str) -> GroupRow | None:
        """Return one group."""
        return self._row(GroupRow, TABLES[GroupRow].c.name == name)

    def placements(self) -> list[PlacementRow]:
        """Return the rules of placement by name."""
        return self._rows(PlacementRow, order=[TABLES[PlacementRow].c.name])

    def placement(self, name: str) -> PlacementRow | None:
        """Return one rule of placement."""
        return self._row(PlacementRow, TABLES[PlacementRow].c.name == name)

    def agent_definitions(self, *, after: str = "", limit: int | None = None) -> list[AgentDefinitionRow]:
        """Return where agents are visited, by name, those above ``after`` only."""
        columns = TABLES[AgentDefinitionRow].c
        return self._rows(AgentDefinitionRow, columns.name > after, order=[columns.name], limit=limit)

    def agent_definition(self, name: str) -> AgentDefinitionRow | None:
        """Return the definition of this name."""
        return self._row(AgentDefinitionRow, TABLES[AgentDefinitionRow].c.name == name)

    def agent_definition_at(self, place: str) -> AgentDefinitionRow | None:
        """Return the definition that names this place."""
        return self._row(AgentDefinitionRow, TABLES[AgentDefinitionRow].c.place == place)

    def agent_definition_of(self, uid: str) -> AgentDefinitionRow | None:
        """Return the definition that is bound to this agent, the first by name."""
        found = self._rows(AgentDefinitionRow, TABLES[AgentDefinitionRow].c.uid == uid) if uid else []
        return min(found, key=lambda row: row.name, default=None)

    def agent_definitions_from(self, source: str) -> list[AgentDefinitionRow]:
        """Return the definitions that are kept there, by name; none for an empty ``source``."""
        columns = TABLES[AgentDefinitionRow].c
        return (
            self._rows(AgentDefinitionRow, columns.source == source, order=[columns.name]) if source else []
        )

    def agent_definition_count(self) -> int:
        """Return how many definitions of agents there are."""
        columns = TABLES[AgentDefinitionRow].c
        query = select(func.count()).select_from(TABLES[AgentDefinitionRow])
        return int(self._connection.execute(query.where(columns.tenant == self._tenant)).scalar_one())

    def policies(self) -> list[PolicyRow]:
        """Return the heads of all policies by name."""
        return self._rows(PolicyRow, order=[TABLES[PolicyRow].c.name])

    def policy(self, name: str) -> PolicyRow | None:
        """Return the head of one policy."""
        return self._row(PolicyRow, TABLES[PolicyRow].c.name == name)

    def revision(self, name: str, revision: int) -> RevisionRow | None:
        """Return one revision of a policy."""
        columns = TABLES[RevisionRow].c
        return self._row(RevisionRow, columns.name == name, columns.revision == revision)

    def revisions(self, name: str) -> list[RevisionRow]:
        """Return all revisions of a policy, the newest first."""
        columns = TABLES[RevisionRow].c
        return self._rows(RevisionRow, columns.name == name, order=[columns.revision.desc()])

    def revision_numbers(self, name: str) -> list[int]:
        """Return the numbers of all revisions of a policy, the newest first, without reading any body."""
        columns = TABLES[RevisionRow].c
        query = select(columns.revision).where(columns.tenant == self._tenant, columns.name == name)
        return list(self._connection.scalars(query.order_by(columns.revision.desc())))

    def encoded(self, sha256: str) -> bytes | None:
        """Return a policy body by its digest, whichever policy has it."""
        columns = TABLES[RevisionRow].c
        where = (columns.tenant == self._tenant, columns.sha256 == sha256)
        return self._connection.execute(select(columns.encoded).where(*where).limit(1)).scalar()

    def policy_lengths(self) -> dict[str, int]:
        """Return policy → bytes of its newest body, without reading any."""
        heads, bodies = TABLES[PolicyRow].c, TABLES[RevisionRow].c
        query = select(heads.name, func.length(bodies.encoded)).where(
            heads.tenant == self._tenant,
            bodies.tenant == self._tenant,
            bodies.name == heads.name,
            bodies.revision == heads.revision,
        )
        return {str(name): int(length) for name, length in self._connection.execute(query)}

    def agents(
        self, *, group: str | None = None, after: str = "", limit: int | None = None
    ) -> list[AgentRow]:
        """Return agents by uid, those above ``after`` only."""
        columns = TABLES[AgentRow].c
        where = [columns.uid > after]
        if group is not None:
            where.append(columns.group == group)
        return self._rows(AgentRow, *where, order=[columns.uid], limit=limit)

    def agents_kept(self, *, after: str = "", limit: int | None = None) -> list[Kept]:
        """Return what a Manager keeps of its agents, by uid, those above ``after`` only."""
        columns = TABLES[AgentRow].c
        query = select(*(columns[name] for name in Kept._fields)).where(
            columns.tenant == self._tenant, columns.uid > after
        )
        return list(map(Kept._make, self._connection.execute(query.order_by(columns.uid).limit(limit))))

    def agent(self, uid: str) -> AgentRow | None:
        """Return one agent."""
        return self._row(AgentRow, TABLES[AgentRow].c.uid == uid)

    def agents_of(self, uids: Sequence[str]) -> dict[str, AgentRow]:
        """Return uid → agent, of those among ``uids`` that are there."""
        found: dict[str, AgentRow] = {}
        for first in range(0, len(uids), _FEW):
            few = uids[first : first + _FEW]
            found |= {row.uid: row for row in self._rows(AgentRow, TABLES[AgentRow].c.uid.in_(few))}
        return found

    def agents_named(self, name: str) -> list[AgentRow]:
        """Return the agents of this name, by uid."""
        columns = TABLES[AgentRow].c
        # Asked for in order, SQLite would rather read all agents by uid than these by name.
        return sorted(self._rows(AgentRow, columns.name == name), key=lambda row: row.uid)

    def agent_counts(self, groups: Sequence[str] | None = None) -> dict[str, int]:
        """Return group → how many agents it has, of ``groups`` at least; groups without agents are left out."""
        columns = TABLES[AgentRow].c
        query = select(columns.group, func.count()).where(columns.tenant == self._tenant)
        if groups is not None and len(groups) <= _FEW:
            query = query.where(columns.group.in_(groups))
        rows = self._connection.execute(query.group_by(columns.group))
        return {str(group): int(count) for group, count in rows}

    def agent_by_spki(self, spki: str) -> AgentRow | None:
        """Return the agent that enrolled with this key, the newest if there are several."""
        columns = TABLES[AgentRow].c
        found = self._rows(AgentRow, columns.spki == spki) if spki else []
        return max(found, key=lambda row: row.uid, default=None)

    def operations(
        self,
        *,
        before: int | None = None,
        limit: int | None = None,
        kind: str = "",
        author: str = "",
        uid: str = "",
        open_only: bool = False,
    ) -> list[OperationRow]:
        """Return operations, the newest first: those below ``before``, of this kind and author, with this target."""
        columns, targets = TABLES[OperationRow].c, TABLES[TargetRow].c
        where = []
        if before is not None:
            where.append(columns.number < before)
        if kind:
            where.append(columns.kind == kind)
        if author:
            where.append(columns.author == author)
        if uid:
            ordered = select(targets.operation).where(targets.tenant == self._tenant, targets.uid == uid)
            where.append(columns.number.in_(ordered))
        if open_only:
            where.append(columns.over.is_(False))
        return self._rows(OperationRow, *where, order=[columns.number.desc()], limit=limit)

    def operation(self, number: int) -> OperationRow | None:
        """Return one operation."""
        return self._row(OperationRow, TABLES[OperationRow].c.number == number)

    def target_counts(self, numbers: Sequence[int]) -> dict[int, dict[str, int]]:
        """Return operation → state → how many of its targets are in it, of each of ``numbers``."""
        columns = TABLES[TargetRow].c
        query = (
            select(columns.operation, columns.state, func.count())
            .where(columns.tenant == self._tenant, columns.operation.in_(numbers))
            .group_by(columns.operation, columns.state)
        )
        found: dict[int, dict[str, int]] = {number: {} for number in numbers}
        for number, state, count in self._connection.execute(query):
            found[number][state] = count
        return found

    def targets(
        self, number: int, *, states: Sequence[str] = (), after: str = "", limit: int | None = None
    ) -> list[TargetRow]:
        """Return targets of an operation by uid, those above ``after`` and in one of these states only."""
        columns = TABLES[TargetRow].c
        key = (columns.operation, columns.uid)
        # Asked for "= number and > after", SQLite would rather read all that agents above were ever ordered.
        where = [tuple_(*key) > (number, after), columns.operation <= number]
        if states:
            where.append(columns.state.in_(states))
        return self._rows(TargetRow, *where, order=key, limit=limit)

    def target(self, number: int, uid: str) -> TargetRow | None:
        """Return one target of an operation."""
        columns = TABLES[TargetRow].c
        return self._row(TargetRow, columns.operation == number, columns.uid == uid)

    def targets_of(self, uid: str, *, open_only: bool = False, limit: int | None = None) -> list[TargetRow]:
        """Return what was ordered of one agent, the newest first."""
        columns = TABLES[TargetRow].c
        where = [columns.uid == uid, *([columns.open.is_(True)] if open_only else [])]
        return self._rows(TargetRow, *where, order=[columns.operation.desc()], limit=limit)

    def open_targets(self, *, after: tuple[int, str] = (0, ""), limit: int | None = None) -> list[TargetRow]:
        """Return targets whose state is not an end, by operation and uid, those above ``after`` only."""
        columns = TABLES[TargetRow].c
        key = (columns.operation, columns.uid)
        return self._rows(TargetRow, columns.open.is_(True), tuple_(*key) > after, order=key, limit=limit)

    def output(self, number: int, uid: str) -> OutputRow | None:
        """Return the output of one target."""
        columns = TABLES[OutputRow].c
        return self._row(OutputRow, columns.operation == number, columns.uid == uid)

    def outputs(self) -> list[tuple[int, str, float, int]]:
        """Return (operation, uid, at, length) of every output, the oldest first, without reading any."""
        columns = TABLES[OutputRow].c
        query = select(columns.operation, columns.uid, columns.at, columns.length)
        query = query.where(columns.tenant == self._tenant)
        rows = self._connection.execute(query.order_by(columns.at, columns.operation, columns.uid))
        return [(number, uid, at, length) for number, uid, at, length in rows]

    def tokens(self) -> list[TokenRow]:
        """Return all tokens, the newest first."""
        columns = TABLES[TokenRow].c
        return self._rows(TokenRow, order=[columns.created.desc(), columns.id])

    def token(self, token: str) -> TokenRow | None:
        """Return one token by id."""
        return self._row(TokenRow, TABLES[TokenRow].c.id == token)

    def bundle(self, group: str) -> BundleRow | None:
        """Return the bundle of the highest version of a group."""
        columns = TABLES[BundleRow].c
        return self._row(BundleRow, columns.group == group, order=[columns.version.desc()])

    def bundles(self) -> list[BundleRow]:
        """Return the newest bundle of every group, by group."""
        columns = TABLES[BundleRow].c
        newest = (
            select(columns.group, func.max(columns.version).label("version"))
            .where(columns.tenant == self._tenant)
            .group_by(columns.group)
            .subquery()
        )
        is_newest = (columns.group == newest.c.group) & (columns.version == newest.c.version)
        return self._rows(BundleRow, is_newest, order=[columns.group])

    def admins(self) -> list[AdminRow]:
        """Return all API tokens, by id."""
        return self._rows(AdminRow, order=[TABLES[AdminRow].c.id])

    def admin(self, admin: str) -> AdminRow | None:
        """Return one API token by id."""
        return self._row(AdminRow, TABLES[AdminRow].c.id == admin)

    def audit(self, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """Return changes with ``seq`` above ``after``, oldest first."""
        columns = TABLES[AuditRow].c
        return self._rows(AuditRow, columns.seq > after, order=[columns.seq], limit=limit)

    def rollouts(self, *, open_only: bool = False, limit: int | None = None) -> list[RolloutRow]:
        """Return rollouts, the newest first: ``limit`` of them, or all; or those that are not over."""
        columns = TABLES[RolloutRow].c
        where = [columns.over.is_(False)] if open_only else []
        return self._rows(RolloutRow, *where, order=[columns.number.desc()], limit=limit)

    def rollout(self, number: int) -> RolloutRow | None:
        """Return one rollout."""
        return self._row(RolloutRow, TABLES[RolloutRow].c.number == number)

    def draft_names(self) -> list[str]:
        """Return the names of all drafts, sorted; their bodies are large."""
        names = TABLES[DraftRow].c.name
        query = select(names).where(TABLES[DraftRow].c.tenant == self._tenant).order_by(names)
        return list(self._connection.scalars(query))

    def draft(self, name: str) -> DraftRow | None:
        """Return one draft."""
        return self._row(DraftRow, TABLES[DraftRow].c.name == name)
