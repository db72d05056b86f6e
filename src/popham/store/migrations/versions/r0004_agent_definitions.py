"""Agents are visited where definitions say, and one agent may be dialled otherwise than its group."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# SQLite orders text by the numbers of its characters; PostgreSQL has to be told.
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add where agents are visited, and what an assignment says of one agent alone."""
    op.add_column("agents", sa.Column("overrides", TEXT, nullable=False, server_default="{}"))
    op.create_table(
        "agent_definitions",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("edition", sa.BigInteger(), nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_index("agent_definitions_by_place", "agent_definitions", ["tenant", "place"])
    op.create_index("agent_definitions_by_uid", "agent_definitions", ["tenant", "uid"])
    op.create_index("agent_definitions_by_source", "agent_definitions", ["tenant", "source", "name"])
