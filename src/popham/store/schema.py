"""Brings a database to the form this program knows."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from popham.errors import StateError


def upgrade(connection: Connection) -> None:
    """Migrate the database of ``connection`` to the newest form, all or nothing.

    Raises:
        StateError: ``state.newer``: a newer Popham wrote it.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    with connection.begin():
        current = MigrationContext.configure(connection).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        problem = f"The database was written by a newer Popham (its form is {current!r})"
        raise StateError("newer", problem, "Use the newer Popham, or restore a backup made by this one")
    if current != script.get_current_head():
        command.upgrade(config, "head")
