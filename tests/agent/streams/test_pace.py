"""A bound of bytes per second: what goes now, and what has to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.agent.streams.pace import SAVED, Bandwidth

MIB = 1024 * 1024


def bounded(rate):
    bandwidth = Bandwidth()
    bandwidth.rate = rate
    return bandwidth


def test_without_a_bound_nothing_waits():
    bandwidth = bounded(0)
    bandwidth.sent(10 * MIB, 5.0)
    assert bandwidth.wait(5.0) == 0
    assert bandwidth.room(MIB) == bandwidth.saved(MIB, 5.0) == MIB


def test_what_was_sent_beyond_the_rate_is_waited_for():
    bandwidth = bounded(1000)
    bandwidth.sent(2500, 100.0)
    assert bandwidth.wait(100.0) == pytest.approx(2.5)
    assert bandwidth.wait(102.5) == 0


def test_a_request_has_no_more_than_a_second_of_the_rate():
    assert bounded(1000).room(MIB) == 1000
    assert bounded(10 * MIB).room(MIB) == MIB


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 10)), max_size=30))
def test_requests_keep_the_rate_whatever_their_sizes(sends):
    bandwidth, now, total = bounded(1000), 50.0, 0
    for size, pause in sends:
        now += bandwidth.wait(now) + pause
        assert total <= 1000 * (now - 50.0) + 1e-3
        bandwidth.sent(size, now)
        total += size


def test_a_visit_may_bring_what_was_not_used_since_the_last():
    bandwidth = bounded(10)
    bandwidth.sent(100, 1000.0, visit=True)
    begun = bandwidth.saved(MIB, 1000.0)
    assert bandwidth.saved(MIB, 1060.0) == begun + 600
    bandwidth.sent(begun + 600, 1060.0, visit=True)
    assert bandwidth.saved(MIB, 1060.0) == 0
    assert bandwidth.saved(MIB, 1060.0 + 10 * SAVED) == int(10 * SAVED)
