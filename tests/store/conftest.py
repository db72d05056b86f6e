from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from popham.clock import SystemClock
from popham.store.memory import MemoryStore
from popham.store.postgres import PostgresStore
from popham.store.seam import Store
from popham.store.sqlite import SqliteStore
from popham.testing.postgres import Server, find_programs


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server of our own."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: neither /usr/lib/postgresql/*/bin nor the path has it")
    with Server(programs) as running:
        yield running


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Every filling of the seam: the conformance suite runs on each."""
    filling: Store
    if request.param == "memory":
        filling = MemoryStore()
    elif request.param == "sqlite":
        filling = SqliteStore.open(tmp_path / "popham.db", clock=SystemClock())
    else:
        server = request.getfixturevalue("server")
        filling = PostgresStore.open(server.create_schema(), clock=SystemClock())
    yield filling
    await filling.aclose()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    filling = SqliteStore.open(tmp_path / "popham.db", clock=SystemClock())
    yield filling
    await filling.aclose()


@pytest.fixture
def url(server: Server) -> str:
    """An empty place on the server."""
    return server.create_schema()


@pytest.fixture
async def postgres(url: str) -> AsyncIterator[PostgresStore]:
    filling = PostgresStore.open(url, clock=SystemClock())
    yield filling
    await filling.aclose()
