"""Logs of real processes behind Proxy Managers that are killed 200 times. Half an hour."""

import os

import pytest
from tests.system.conftest import founding  # noqa: F401  # a fixture
from tests.system.data_lab import CELLS
from tests.system.proxy_data import END_TO_END, HOP, Yard

pytestmark = pytest.mark.soak

KILLS = int(os.environ.get("POPHAM_SOAK_KILLS", "200"))
ROUND = 20
"""Kills after which is checked what came."""


@pytest.mark.parametrize("custody", [HOP, END_TO_END])
def test_rel_1_nothing_is_lost_or_doubled_in_two_hundred_kills_of_proxies(founding, custody):  # noqa: F811  # as above
    yard = Yard(founding().found(), custody=custody)
    for name in CELLS:
        yard.add(name)
    machines = yard.machines.values()
    yard.fleet.until(lambda: all(one.settled() for one in machines), "each has what it should have")
    for begin in range(0, KILLS, ROUND):
        yard.storm(min(ROUND, KILLS - begin), seed=begin)
        for name in CELLS:
            yard.check_whole(name)
