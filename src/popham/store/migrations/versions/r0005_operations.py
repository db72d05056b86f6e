"""Operations and their results; what limits an API token; the key that an agent had before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# SQLite orders text by the numbers of its characters; PostgreSQL has to be told.
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add operations with their targets and outputs, and two columns."""
    op.add_column("admins", sa.Column("scope", TEXT, nullable=False, server_default="{}"))
    # What stands in quotes is text for SQLite, whatever the column's type.
    empty = "x''" if op.get_bind().dialect.name == "sqlite" else "''"
    op.add_column(
        "agents", sa.Column("former_key", sa.LargeBinary(), nullable=False, server_default=sa.text(empty))
    )
    op.create_table(
        "operations",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("author", TEXT, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "number"),
    )
    op.create_table(
        "operation_targets",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("operation", sa.BigInteger(), nullable=False),
        *(sa.Column(name, TEXT, nullable=False) for name in ("uid", "name", "group")),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("since", "expires")),
        sa.Column("nonce", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        *(sa.Column(name, TEXT, nullable=False) for name in ("code", "text")),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("sent", "began", "ended")),
        sa.Column("output", TEXT, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("length", "left_out")),
        sa.Column("cancelled_by", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "operation", "uid"),
    )
    op.create_table(
        "operation_outputs",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("operation", sa.BigInteger(), nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "operation", "uid"),
    )
    table = "operation_targets"
    op.create_index("operation_targets_by_state", table, ["tenant", "operation", "state", "uid"])
    op.create_index("operation_targets_by_uid", table, ["tenant", "uid", "operation"])
    op.create_index("operation_targets_open", table, ["tenant", "open", "operation", "uid"])
