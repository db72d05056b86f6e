import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.link.backoff import CAP, Backoff
from popham.link.cadence import phase_of, wait_until_next


@given(st.floats(1, 7 * 86400), st.floats(0, 300), st.integers(1, 5), st.floats(0, 1, exclude_max=True))
def test_no_round_is_later_than_the_promised_heartbeat(heartbeat, window, rounds, phase):
    assert 0 < wait_until_next(heartbeat, window, rounds=rounds, phase=phase) <= heartbeat


def test_f_c4_agents_that_started_together_are_spread_evenly_over_the_window():
    agents = [random.Random(n).randbytes(16) for n in range(6000)]
    waits = [wait_until_next(300, 300, rounds=1, phase=phase_of(uid)) for uid in agents]
    histogram = Counter(min(int(wait // 30), 9) for wait in waits)
    assert len(histogram) == 10
    assert max(histogram.values()) < 1.2 * 600
    assert min(histogram.values()) > 0.8 * 600


def test_f_c4_without_spread_every_agent_keeps_the_same_step():
    assert wait_until_next(300, 0, rounds=1, phase=0.9) == 300


def test_the_phase_of_an_agent_is_its_own_and_stays():
    assert phase_of(b"a" * 16) == phase_of(b"a" * 16) != phase_of(b"b" * 16)


def test_the_first_retry_is_drawn_from_the_window_that_the_manager_named():
    backoff = Backoff(lambda: 0.5)
    backoff.window = 120
    assert backoff.failed() == 60


def test_later_retries_use_full_jitter_up_to_a_ceiling():
    high = Backoff(lambda: 1.0)
    waits = [high.failed() for _ in range(20)]
    assert waits[1] < waits[2] < waits[3]
    assert max(waits) == CAP
    low = Backoff(lambda: 0.0)
    assert [low.failed() for _ in range(5)] == [0.0] * 5


@pytest.mark.parametrize("draw", [0.0, 0.99])
def test_opc_16_retry_after_is_obeyed_with_jitter(draw):
    backoff = Backoff(lambda: draw)
    assert 30 <= backoff.failed(30) <= 33


def test_a_success_ends_the_row_of_failures():
    backoff = Backoff(lambda: 1.0)
    for _ in range(6):
        backoff.failed()
    backoff.succeeded()
    assert backoff.failed() == backoff.window


def test_rel_10_a_fleet_that_lost_its_manager_does_not_return_as_one_wave():
    agents, rate = 20_000, 400
    draw = random.Random(7).random
    waits = []
    for _ in range(agents):
        backoff = Backoff(draw)
        backoff.window = agents / rate
        waits.append(backoff.failed())
    per_second = Counter(int(wait) for wait in waits)
    assert max(per_second.values()) < 1.25 * rate
    assert max(waits) < 1.1 * agents / rate
