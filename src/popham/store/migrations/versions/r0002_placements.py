"""Operators label agents, and rules say where agents begin."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# SQLite orders text by the numbers of its characters; PostgreSQL has to be told.
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what operators call an agent, and the rules of placement."""
    op.add_column("agents", sa.Column("operator_labels", TEXT, nullable=False, server_default="{}"))
    op.create_table(
        "placements",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("edition", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
