"""Logs of real processes that are killed a thousand times, and of a Manager whose disk was full. An hour."""

import os

import pytest
from tests.system.conftest import founding  # noqa: F401  # a fixture
from tests.system.data_lab import CELLS, Lab, Storm, fill_disk_of_manager

pytestmark = pytest.mark.soak

KILLS = int(os.environ.get("POPHAM_SOAK_KILLS", "1000"))
ROUND = 50
"""Kills after which is checked what came."""
MINUTES = 180.0
"""Seconds until a Manager with room again has what it refused: it looks every 30 s, and agents stay away for 120."""


@pytest.fixture
def lab(founding):  # noqa: F811  # the fixture above
    """A machine in each cell."""
    lab = Lab(founding().found())
    for name in CELLS:
        lab.add(name)
    lab.fleet.until(
        lambda: all(one.settled() for one in lab.machines.values()), "each has what it should have"
    )
    return lab


@pytest.mark.parametrize("seed", [int(os.environ.get("POPHAM_SOAK_SEED", "1"))])
def test_rel_1_nothing_is_lost_or_doubled_in_a_thousand_kills_of_agents_and_manager(lab, seed):
    storm = Storm(lab, seed)
    while storm.killed.total() < KILLS:
        storm.rage(min(ROUND, KILLS - storm.killed.total()))
        for name in CELLS:
            lab.check_counted(name)


def test_rel_3_a_manager_whose_disk_was_full_has_all_that_it_refused_once_there_is_room(founding):  # noqa: F811  # as above
    lab = Lab(founding().found("[intake]\nreserve = 0\n"))
    filler = fill_disk_of_manager(lab, "dials", 3000)
    filler.unlink()
    lab.fleet.until(lambda: lab.stored("dials") == 3010, "all came", MINUTES)
    assert len(lab.check_counted("dials")) == 3010
