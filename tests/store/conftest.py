from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from popham.clock import SystemClock
from popham.store.memory import MemoryStore
from popham.store.seam import Store
from popham.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Every filling of the seam: the conformance suite runs on each."""
    filling: Store
    filling = (
        MemoryStore()
        if request.param == "memory"
        else SqliteStore.open(tmp_path / "popham.db", clock=SystemClock())
    )
    yield filling
    await filling.aclose()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    filling = SqliteStore.open(tmp_path / "popham.db", clock=SystemClock())
    yield filling
    await filling.aclose()
