"""Proxy Managers, the tokens that they join by, and the agents that they visit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

# SQLite orders text by the numbers of its characters; PostgreSQL has to be told.
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add definitions of Proxy Managers, and who belongs to them."""
    op.add_column("tokens", sa.Column("proxy", TEXT, nullable=False, server_default=""))
    op.add_column("agent_definitions", sa.Column("proxy", TEXT, nullable=False, server_default=""))
    op.create_index("agent_definitions_by_proxy", "agent_definitions", ["tenant", "proxy", "name"])
    op.create_table(
        "proxies",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("changed", sa.Float(), nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("edition", sa.BigInteger(), nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_index("proxies_by_uid", "proxies", ["tenant", "uid"])
