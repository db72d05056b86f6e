"""Who is admitted in a second, and when the others return."""

import random

from hypothesis import given
from hypothesis import strategies as st

from popham.net.rate import LONGEST, RoundRate


class HandClock:
    """Time that a test turns by hand."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    monotonic = now


def test_no_limit_admits_all():
    rate = RoundRate(0.0, clock=HandClock(), rng=random.Random(1))
    assert {rate.admit() for _ in range(10_000)} == {None}


@given(st.floats(0.5, 500), st.lists(st.floats(0, 2), max_size=300))
def test_no_more_than_a_burst_and_the_rate_are_admitted(per_second, gaps):
    clock = HandClock()
    rate = RoundRate(per_second, clock=clock, rng=random.Random(1))
    admitted = 0
    for gap in gaps:
        clock.time += gap
        wait = rate.admit()
        admitted += wait is None
        assert wait is None or 1.0 <= wait <= 1.0 + LONGEST
    assert admitted <= max(1.0, per_second) + per_second * clock.time + 1e-6


def test_a_storm_is_spread_over_the_time_it_takes_to_admit_it():
    clock = HandClock()
    rate = RoundRate(100.0, clock=clock, rng=random.Random(1))
    waits = [wait for _ in range(10_000) if (wait := rate.admit()) is not None]
    assert len(waits) == 9_900
    assert 90 < max(waits[-500:]) < 101
    clock.time += 100.0
    assert rate.admit() is None
