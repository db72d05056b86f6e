"""A database of the first form comes to the newest, and keeps what stood in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, create_engine, types

from popham.clock import SystemClock
from popham.store import migrations
from popham.store.engine import writer_engine
from popham.store.opening import open_store
from popham.store.schema import NEWEST, is_newest, upgrade

ROWS = 3


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Engine, str, Path]]:
    """An empty database: who writes to it, its URL (empty for SQLite), and its file."""
    path = tmp_path / "popham.db"
    url = "" if request.param == "sqlite" else request.getfixturevalue("url")
    engine = (
        writer_engine(path) if not url else create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    )
    yield engine, url, path
    engine.dispose()


def begin(connection: Connection) -> None:
    """Give a database the first form."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


def value_of(kind: types.TypeEngine[Any], number: int) -> object:
    """Return some value of a type, another for each number."""
    values: dict[type, Callable[[], object]] = {
        bool: lambda: number % 2 == 0,
        int: lambda: number,
        float: lambda: number + 0.5,
        bytes: lambda: bytes([number, 0, 255]),
    }
    return values.get(kind.python_type, lambda: f"é-{number}")()


def reflect(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


def read_all(connection: Connection) -> dict[str, list[dict[str, object]]]:
    """Return table → rows as they stand, by their first form's columns and all others."""
    tables = reflect(connection).sorted_tables
    return {
        table.name: [dict(row) for row in connection.execute(table.select()).mappings()] for table in tables
    }


def fill(connection: Connection) -> None:
    """Put some rows into every table."""
    for table in reflect(connection).sorted_tables:
        if table.name == "alembic_version":
            continue
        for number in range(1, ROWS + 1):
            row = {column.name: value_of(column.type, number) for column in table.columns}
            connection.execute(
                table.insert().values(row | ({"tenant": "default"} if "tenant" in row else {}))
            )


async def test_rel_16_rows_of_the_first_form_are_kept(place: tuple[Engine, str, Path]) -> None:
    engine, url, path = place
    with engine.connect() as connection:
        begin(connection)
        connection.commit()
        fill(connection)
        connection.commit()
        before = read_all(connection)
        connection.rollback()
        assert not is_newest(connection)
        upgrade(connection)
        assert is_newest(connection)
        after = read_all(connection)
    engine.dispose()
    assert before.pop("alembic_version") == [{"version_num": "0001"}]
    assert after.pop("alembic_version") == [{"version_num": NEWEST}]
    assert all(len(rows) == ROWS for rows in before.values())
    for table, rows in before.items():
        kept = [{key: row[key] for key in rows[0]} for row in after[table]]
        assert kept == rows
    assert after["placements"] == []
    assert {row["operator_labels"] for row in after["agents"]} == {"{}"}
    assert {row["former_key"] for row in after["agents"]} == {b""}
    store = open_store(url, path, clock=SystemClock())
    assert await store.read(lambda tx: tx.placements()) == []
    await store.aclose()
