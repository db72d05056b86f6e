import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

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
