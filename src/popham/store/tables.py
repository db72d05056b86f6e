"""The tables, one per class of ``rows``: same name, same fields, same order.

Columns follow from the fields' types, so that a new field needs a migration
and nothing here.  A test compares the migrations with these tables.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from popham.store.data_rows import AlertRow, DeliveryRow, EventRow, SilenceRow, StreamRow, SummaryRow
from popham.store.rows import (
    AdminRow,
    AgentDefinitionRow,
    AgentRow,
    AuditRow,
    BundleRow,
    DraftRow,
    GroupRow,
    OperationRow,
    OutputRow,
    PlacementRow,
    PolicyRow,
    ProxyRow,
    RevisionRow,
    RolloutRow,
    TargetRow,
    TokenRow,
)


class AnyText(TypeDecorator[str]):
    """Any text, in the order of its characters' numbers, on every database.

    PostgreSQL has no NUL in its texts: there U+0000 and U+0001 are two
    characters each, which keeps the order.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type in this database."""
        return dialect.type_descriptor(String(collation="C" if _is_postgresql(dialect) else None))

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any] | None:
        """Return what is called with each text that is read: nothing where none has to be changed."""
        return super().result_processor(dialect, coltype) if _is_postgresql(dialect) else None

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return what is stored for a text."""
        if value is None or not _is_postgresql(dialect) or not ("\0" in value or "\1" in value):
            return value
        return value.replace("\1", "\1\2").replace("\0", "\1\1")

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text that was stored."""
        if value is None or not _is_postgresql(dialect) or "\1" not in value:
            return value
        return value.replace("\1\1", "\0").replace("\1\2", "\1")


def _is_postgresql(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"


class WideInteger(TypeDecorator[int]):
    """A number that an agent names: up to 64 bits without sign, which no database has; kept as text."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        """Return the text for a number."""
        del dialect
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        """Return the number for a text."""
        del dialect
        return None if value is None else int(value)


_WIDE: Final = frozenset({"capabilities", "sequence", "state_revision"})
_TYPES: Final[Mapping[Any, type[TypeEngine[Any]]]] = types.MappingProxyType(
    {str: AnyText, int: BigInteger, float: Float, bytes: LargeBinary, bool: Boolean}
)

metadata: Final = MetaData()


def _column(name: str, hint: Any, *, key: bool) -> Column[Any]:
    """Return the column for a field of a row class."""
    options = typing.get_args(hint)
    kind = next(option for option in options if option is not types.NoneType) if options else hint
    column_type = WideInteger if name in _WIDE else _TYPES[kind]
    return Column(
        name, column_type(), primary_key=key, nullable=types.NoneType in options, autoincrement=False
    )


def _table(name: str, row: type, key: tuple[str, ...]) -> Table:
    """Return the table for a row class; ``tenant`` leads its key."""
    hints = typing.get_type_hints(row)
    keys = {"tenant", *key}
    fields = {field.name: hints[field.name] for field in dataclasses.fields(row)}
    ordered = ["tenant", *key, *(field for field in fields if field not in keys)]
    return Table(name, metadata, *(_column(field, fields[field], key=field in keys) for field in ordered))


meta: Final = Table("meta", metadata, Column("key", AnyText(), primary_key=True), Column("value", AnyText()))

TABLES: Final[Mapping[type, Table]] = types.MappingProxyType(
    {
        GroupRow: _table("groups", GroupRow, ("name",)),
        PolicyRow: _table("policies", PolicyRow, ("name",)),
        PlacementRow: _table("placements", PlacementRow, ("name",)),
        AgentDefinitionRow: _table("agent_definitions", AgentDefinitionRow, ("name",)),
        ProxyRow: _table("proxies", ProxyRow, ("name",)),
        RolloutRow: _table("rollouts", RolloutRow, ("number",)),
        DraftRow: _table("drafts", DraftRow, ("name",)),
        RevisionRow: _table("revisions", RevisionRow, ("name", "revision")),
        AgentRow: _table("agents", AgentRow, ("uid",)),
        OperationRow: _table("operations", OperationRow, ("number",)),
        TargetRow: _table("operation_targets", TargetRow, ("operation", "uid")),
        OutputRow: _table("operation_outputs", OutputRow, ("operation", "uid")),
        TokenRow: _table("tokens", TokenRow, ("id",)),
        BundleRow: _table("bundles", BundleRow, ("group", "version")),
        AdminRow: _table("admins", AdminRow, ("id",)),
        AuditRow: _table("audit", AuditRow, ("seq",)),
        StreamRow: _table("streams", StreamRow, ("uid", "stream", "epoch")),
        EventRow: _table("events", EventRow, ("number",)),
        SummaryRow: _table("summaries", SummaryRow, ("uid",)),
        AlertRow: _table("alerts", AlertRow, ("uid", "item", "resource")),
        SilenceRow: _table("silences", SilenceRow, ("name",)),
        DeliveryRow: _table("deliveries", DeliveryRow, ("number", "route")),
    }
)

_agents: Final = TABLES[AgentRow].c
_revisions: Final = TABLES[RevisionRow].c
_visited: Final = TABLES[AgentDefinitionRow].c
_proxies: Final = TABLES[ProxyRow].c
_targets: Final = TABLES[TargetRow].c
_events: Final = TABLES[EventRow].c
INDEXES: Final = (
    Index("agents_by_group", _agents.tenant, _agents.group, _agents.uid),
    Index("agents_by_name", _agents.tenant, _agents.name),
    Index("agents_by_spki", _agents.tenant, _agents.spki),
    Index("agent_definitions_by_place", _visited.tenant, _visited.place),
    Index("agent_definitions_by_uid", _visited.tenant, _visited.uid),
    Index("agent_definitions_by_source", _visited.tenant, _visited.source, _visited.name),
    Index("agent_definitions_by_proxy", _visited.tenant, _visited.proxy, _visited.name),
    Index("proxies_by_uid", _proxies.tenant, _proxies.uid),
    Index("events_by_uid", _events.tenant, _events.uid, _events.number),
    Index("events_by_received", _events.tenant, _events.received),
    Index("operation_targets_by_state", _targets.tenant, _targets.operation, _targets.state, _targets.uid),
    Index("operation_targets_by_uid", _targets.tenant, _targets.uid, _targets.operation),
    Index("operation_targets_open", _targets.tenant, _targets.open, _targets.operation, _targets.uid),
    Index("revisions_by_sha256", _revisions.tenant, _revisions.sha256),
)
