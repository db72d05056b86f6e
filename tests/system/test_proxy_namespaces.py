"""Proxy Managers on machines of their own: links are cut, go one way only, and are silent; processes stop and die."""

import os

import pytest

from .namespaces import INSIDE, lay_wires, run_inside
from .proxy_data import ABOVE
from .proxy_namespaces import KEEPALIVE, MANAGER, Islands, Strait

MACHINES = ("held", "visited")
PARTITIONS = 1
SEED = 5
inside = pytest.mark.skipif(
    INSIDE not in os.environ, reason="it runs in namespaces, started by the first test"
)


@pytest.mark.skipif(INSIDE in os.environ, reason="it is what is run")
def test_rel_5_rel_7_after_partitions_between_processes_all_are_in_sync_and_nothing_is_lost(
    tmp_path_factory,
):
    # A socket's path may have 107 bytes, so that of its folder is short.
    run_inside(__file__, "partitions between processes", tmp_path_factory.mktemp("n"))


@inside
def test_inside_namespaces(tmp_path_factory):
    with lay_wires((MANAGER, *ABOVE, *MACHINES)) as wires:
        fleet = Strait(tmp_path_factory.mktemp("f"), wires)
        try:
            islands = Islands(fleet.found(KEEPALIVE), MACHINES, seed=SEED)
            islands.check_half_open(islands.mute)
            for _ in range(PARTITIONS):
                islands.part(2)
                islands.check_in_sync()
            islands.check_streams()
        finally:
            fleet.close()
