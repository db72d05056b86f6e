"""The first form."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite orders text by the numbers of its characters; PostgreSQL has to be told.
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables of the first fleet."""
    _create_definitions()
    _create_agents()
    _create_records()


def _create_definitions() -> None:
    """Create what people define."""
    op.create_table(
        "meta",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "groups",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("edition", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "policies",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("private_to", TEXT, nullable=False),
        sa.Column("labels", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "revisions",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("encoded", sa.LargeBinary(), nullable=False),
        sa.Column("author", TEXT, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "revision"),
    )
    op.create_index("revisions_by_sha256", "revisions", ["tenant", "sha256"])


def _create_agents() -> None:
    """Create agents, and the tokens by which they join."""
    op.create_table(
        "agents",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("group", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("admission", TEXT, nullable=False),
        sa.Column("first_seen", sa.Float(), nullable=False),
        sa.Column("labels", TEXT, nullable=False),
        sa.Column("spki", TEXT, nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("certificate_serial", TEXT, nullable=False),
        sa.Column("certificate_until", sa.Float(), nullable=False),
        sa.Column("assignment", sa.LargeBinary(), nullable=False),
        sa.Column("assignment_seq", sa.BigInteger(), nullable=False),
        sa.Column("capabilities", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("state_revision", TEXT, nullable=False),
        sa.Column("remote", TEXT, nullable=False),
        sa.Column("last_contact", sa.Float(), nullable=True),
        sa.Column("promise", sa.Float(), nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("sequence", TEXT, nullable=False),
        sa.Column("token", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "uid"),
    )
    op.create_table(
        "tokens",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("group", TEXT, nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("uses_left", sa.BigInteger(), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("accepts", sa.Boolean(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.Column("cidr", TEXT, nullable=False),
        sa.Column("author", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("agents_by_group", "agents", ["tenant", "group", "uid"])
    op.create_index("agents_by_name", "agents", ["tenant", "name"])
    op.create_index("agents_by_spki", "agents", ["tenant", "spki"])


def _create_records() -> None:
    """Create what was signed, who may ask, and who changed what."""
    op.create_table(
        "bundles",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("group", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("content_digest", TEXT, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "group", "version"),
    )
    op.create_table(
        "admins",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "audit",
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("method", TEXT, nullable=False),
        sa.Column("object", TEXT, nullable=False),
        sa.Column("before", TEXT, nullable=False),
        sa.Column("after", TEXT, nullable=False),
        sa.Column("prev", TEXT, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "seq"),
    )
