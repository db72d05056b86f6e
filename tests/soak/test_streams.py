"""Streams for a long time: kills, and everything that can happen to disk and wire. Minutes."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.streams.killing import kill_often
from tests.streams.test_spool_machine import SpoolAndReceiver

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
