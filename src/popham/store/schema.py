"""Brings a database to the form this program knows.

Alembic is loaded only where there is something to do: it takes as long as a
quarter of what else a Manager loads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from popham.errors import StateError

NEWEST: Final = "0007"
"""The newest revision in ``migrations/versions``; a test compares."""
_TABLE: Final = "alembic_version"
_FORM: Final = text("SELECT version_num FROM alembic_version")


def is_newest(connection: Connection) -> bool:
    """Return whether the database of ``connection`` has the newest form."""
    with connection.begin():
        if not inspect(connection).has_table(_TABLE):
            return False
        return connection.execute(_FORM).scalars().all() == [NEWEST]


def upgrade(connection: Connection) -> None:
    """Migrate the database of ``connection`` to the newest form, all or nothing.

    Raises:
        StateError: ``state.newer``: a newer Popham wrote it.
    """
    if is_newest(connection):
        return

    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

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
    command.upgrade(config, "head")
