"""20,000 messages of an evil Proxy Manager to its Manager, and as many to its agents: nothing unsigned is believed."""

import os

import pytest
from hypothesis import settings
from tests.evil.below import turn_evil
from tests.evil.blows import blows
from tests.evil.siege import besiege
from tests.simulation.conftest import FOUR_CELLS, keys, simulate

pytestmark = pytest.mark.soak

__all__ = ["keys", "simulate"]
ATTACKS = int(os.environ.get("POPHAM_SOAK_ATTACKS", "20000"))


def test_sec_30_31_an_evil_proxy_sends_its_manager_20_000_messages(keys):  # a fixture
    counts = besiege(keys, blows(), least=ATTACKS, chosen=settings())
    assert counts["messages"] >= ATTACKS


@pytest.mark.parametrize("cell", FOUR_CELLS, ids=lambda cell: f"{cell[0]}-dialled-by-{cell[1]}")
def test_sec_21_25_an_evil_proxy_tells_its_agents_20_000_things(simulate, monkeypatch, cell):  # a fixture
    counts = turn_evil(simulate, monkeypatch, cell, rounds=ATTACKS // 36)
    assert sum(counts.values()) >= ATTACKS // 8
