"""Two hundred random partitions between real processes on machines of their own. Half an hour."""

import os

import pytest
from tests.system.data_lab import CELLS
from tests.system.namespaces import INSIDE, lay_wires, run_inside
from tests.system.proxy_data import ABOVE, END_TO_END, HOP
from tests.system.proxy_namespaces import KEEPALIVE, MANAGER, NOTICED_BY_DIALLER, Islands, Strait

pytestmark = pytest.mark.soak

PARTITIONS = int(os.environ.get("POPHAM_SOAK_PARTITIONS", "200"))
SEED = int(os.environ.get("POPHAM_SOAK_SEED", "1"))
FAULTS = 3
"""How many things happen in one partition."""
ROUND = 20
"""Partitions after which is checked what came."""


@pytest.mark.timeout(0)
@pytest.mark.skipif(INSIDE in os.environ, reason="it is what is run")
def test_rel_5_rel_7_after_200_partitions_all_are_in_sync_and_nothing_is_lost_or_doubled(
    tmp_path_factory,
):
    folder = tmp_path_factory.mktemp("n")
    run_inside(__file__, "many partitions between processes", folder, seconds=600 + 40 * PARTITIONS)


@pytest.mark.skipif(INSIDE not in os.environ, reason="it runs in namespaces, started by the first test")
@pytest.mark.parametrize("custody", [END_TO_END, HOP])
def test_inside_namespaces(tmp_path_factory, custody):
    with lay_wires((MANAGER, *ABOVE, *CELLS)) as wires:
        fleet = Strait(tmp_path_factory.mktemp("f"), wires)
        try:
            islands = Islands(fleet.found(KEEPALIVE), CELLS, seed=SEED, custody=custody)
            islands.check_half_open(islands.mute)
            islands.check_half_open(islands.deafen, NOTICED_BY_DIALLER)
            for number in range(PARTITIONS // 2):
                islands.part(FAULTS)
                islands.check_in_sync()
                if number % ROUND == 0:
                    islands.check_streams()
            islands.check_streams()
        finally:
            fleet.close()
