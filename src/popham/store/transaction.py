"""Questions and changes inside one transaction, in SQL.

Rows and tables have the same fields, so nothing here lists columns.  Each
transaction sees one tenant.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from popham.store.audit import chain
from popham.store.refusal import taken_bundle, taken_revision
from popham.store.rows import (
    AdminRow,
    AgentRow,
    AuditRow,
    BundleRow,
    Contact,
    GroupRow,
    Kept,
    PlacementRow,
    PolicyRow,
    RevisionRow,
    Said,
    TokenRow,
)
from popham.store.tables import TABLES, meta

R = TypeVar("R")
Insert = postgresql.Insert | sqlite.Insert

_INSERT: Final[Mapping[str, Callable[[Table], Insert]]] = types.MappingProxyType(
    {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
)
_FEW: Final = 100
"""Groups that are counted one by one; of more, all are counted."""
_SAID: Final = tuple(field.name for field in dataclasses.fields(Said) if field.name != "uid")
"""Columns that a report changes."""


def _adding(table: Table, database: str) -> Insert:
    """Return the statement that inserts a row unless its key is taken."""
    statement = _INSERT[database](table).on_conflict_do_nothing(index_elements=list(table.primary_key))
    return statement.execution_options(preserve_rowcount=True)


def _replacing(table: Table, database: str) -> Insert:
    """Return the statement that inserts a row or replaces the one with its key."""
    statement = _INSERT[database](table)
    keys = {column.name for column in table.primary_key}
    values = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=sorted(keys), set_=values)


_ADD: Final[Mapping[tuple[str, Table], Insert]] = types.MappingProxyType(
    {(database, table): _adding(table, database) for database in _INSERT for table in TABLES.values()}
)
_REPLACE: Final[Mapping[tuple[str, Table], Insert]] = types.MappingProxyType(
    {
        (database, table): _replacing(table, database)
        for database in _INSERT
        for table in (*TABLES.values(), meta)
    }
)


class SqlReading:
    """``Reading`` on a connection inside a transaction."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant
        self._database = connection.dialect.name

    def _rows(
        self,
        kind: type[R],
        *where: ColumnElement[bool],
        order: Iterable[Any] = (),
        limit: int | None = None,
    ) -> list[R]:
        """Return rows of one class."""
        table = TABLES[kind]
        query = select(table).where(table.c.tenant == self._tenant, *where).order_by(*order).limit(limit)
        names = [column.name for column in table.c]
        # A mapping of the library's own per row takes longer than the rest together.
        return [kind(**dict(zip(names, row, strict=True))) for row in self._connection.execute(query)]

    def _row(self, kind: type[R], *where: ColumnElement[bool], order: Iterable[Any] = ()) -> R | None:
        """Return the first row of one class, None if there is none."""
        found = self._rows(kind, *where, order=order, limit=1)
        return found[0] if found else None

    def meta(self, key: str) -> str | None:
        """Return a value of the Manager's own."""
        return self._connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()

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


class SqlWriting(SqlReading):
    """``Writing`` on a connection inside a transaction."""

    def _put(self, row: object) -> None:
        """Insert a row, or replace the one with its key."""
        table = TABLES[type(row)]
        self._connection.execute(_REPLACE[self._database, table], _values(row, table))

    def _add(self, row: object) -> bool:
        """Insert a row; returns False if its key is taken."""
        table = TABLES[type(row)]
        done = self._connection.execute(_ADD[self._database, table], _values(row, table))
        return done.rowcount == 1

    def _delete(self, kind: type, column: str, value: str) -> None:
        """Delete what has this value."""
        table = TABLES[kind]
        self._connection.execute(
            delete(table).where(table.c.tenant == self._tenant, table.c[column] == value)
        )

    def set_meta(self, key: str, value: str) -> None:
        """Set a value of the Manager's own."""
        self._connection.execute(_REPLACE[self._database, meta], {"key": key, "value": value})

    def put_group(self, row: GroupRow) -> None:
        """Insert or replace a group."""
        self._put(row)

    def delete_group(self, name: str) -> None:
        """Delete a group, if it is there."""
        self._delete(GroupRow, "name", name)

    def put_placement(self, row: PlacementRow) -> None:
        """Insert or replace a rule of placement."""
        self._put(row)

    def delete_placement(self, name: str) -> None:
        """Delete a rule of placement, if it is there."""
        self._delete(PlacementRow, "name", name)

    def put_policy(self, row: PolicyRow) -> None:
        """Insert or replace the head of a policy."""
        self._put(row)

    def delete_policy(self, name: str) -> None:
        """Delete the head of a policy; its revisions stay."""
        self._delete(PolicyRow, "name", name)

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

    def delete_agent(self, uid: str) -> None:
        """Delete an agent, if it is there."""
        self._delete(AgentRow, "uid", uid)

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
        self._connection.execute(insert(table), _values(row, table))
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


def _values(row: object, table: Table) -> dict[str, Any]:
    """Return the fields of a row by column."""
    return {column.name: getattr(row, column.name) for column in table.c}
