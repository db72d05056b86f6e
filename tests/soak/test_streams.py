"""Streams for a long time: kills, and everything that can happen to disk and wire. Minutes."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.agent.streams.conftest import tell_in
from tests.agent.streams.test_ways import switch_among_the_cells
from tests.streams.killing import kill_often
from tests.streams.test_spool_machine import SpoolAndReceiver

from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock

pytestmark = pytest.mark.soak


def test_rel_1_a_thousand_kills_of_an_agents_spool_lose_nothing_uncounted(tmp_path):
    durable, lost = kill_often(tmp_path / "spool", 1000, seed=11)
    assert durable > 10_000
    assert lost > 0


def test_rel_2_whatever_happens_to_disk_and_wire_nothing_is_doubled_or_lost_uncounted():
    chosen = settings(
        max_examples=5000, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(SpoolAndReceiver, settings=chosen)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rel_29_an_hour_of_switches_among_the_cells_leaves_no_gap_and_no_double(tmp_path, seed):
    tell_in(make_keys(VirtualClock()), tmp_path, lambda world: switch_among_the_cells(world, 360, seed), seed)
