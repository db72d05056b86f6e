"""Runs revisions for Alembic on the connection that ``popham.store.schema`` passes in."""

from __future__ import annotations

from alembic import context

from popham.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
