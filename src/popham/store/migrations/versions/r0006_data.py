"""How far the intake is with agents' streams, and what is derived of them for windows and alerts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# SQLite orders text by the numbers of its characters; PostgreSQL has to be told.
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what is kept of agents' data."""
    op.create_table(
        "streams",
        *_columns(TEXT, "tenant", "uid", "stream"),
        *_columns(sa.BigInteger(), "epoch"),
        *_columns(TEXT, "body"),
        *_columns(sa.BigInteger(), "segment", "position"),
        sa.PrimaryKeyConstraint("tenant", "uid", "stream", "epoch"),
    )
    op.create_table(
        "events",
        *_columns(TEXT, "tenant"),
        *_columns(sa.BigInteger(), "number"),
        *_columns(TEXT, "uid"),
        *_columns(sa.Float(), "at", "received"),
        *_columns(TEXT, "name"),
        *_columns(sa.BigInteger(), "severity"),
        *_columns(TEXT, "body"),
        sa.PrimaryKeyConstraint("tenant", "number"),
    )
    op.create_index("events_by_uid", "events", ["tenant", "uid", "number"])
    op.create_index("events_by_received", "events", ["tenant", "received"])
    op.create_table(
        "summaries",
        *_columns(TEXT, "tenant", "uid"),
        *_columns(sa.Float(), "at", "received"),
        *_columns(TEXT, "body"),
        sa.PrimaryKeyConstraint("tenant", "uid"),
    )
    op.create_table(
        "alerts",
        *_columns(TEXT, "tenant", "uid", "item", "resource", "state"),
        *_columns(sa.Float(), "since"),
        *_columns(sa.BigInteger(), "number"),
        *_columns(TEXT, "body"),
        sa.PrimaryKeyConstraint("tenant", "uid", "item", "resource"),
    )
    op.create_table(
        "silences",
        *_columns(TEXT, "tenant", "name"),
        *_columns(sa.Float(), "begins", "ends"),
        *_columns(TEXT, "body"),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "deliveries",
        *_columns(TEXT, "tenant"),
        *_columns(sa.BigInteger(), "number"),
        *_columns(TEXT, "route"),
        *_columns(sa.Float(), "at"),
        *_columns(sa.BigInteger(), "attempts"),
        *_columns(TEXT, "body", "error"),
        sa.PrimaryKeyConstraint("tenant", "number", "route"),
    )


def _columns(kind: Any, *names: str) -> list[sa.Column[Any]]:
    """Return columns of one type that are never null."""
    return [sa.Column(name, kind, nullable=False) for name in names]
