"""How long agents stay away."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.link.backoff import BASE, CAP, LEAST_UNNAMED, LOWEST, Backoff


def test_the_first_retry_is_drawn_from_the_window_that_the_manager_named():
    backoff = Backoff(lambda: 0.5)
    backoff.window = 120
    assert backoff.failed() == 60


def test_without_a_named_window_later_retries_use_full_jitter_up_to_the_cap():
    high = Backoff(lambda: 1.0)
    waits = [high.failed() for _ in range(20)]
    assert waits[1] < waits[2] < waits[3]
    assert max(waits) == CAP
    low = Backoff(lambda: 0.0)
    assert [low.failed() for _ in range(5)] == [0.0] * 5


@pytest.mark.parametrize(("heartbeat", "most"), [(1, LEAST_UNNAMED), (60, 60), (300, CAP), (86_400, CAP)])
def test_rel_5_without_a_named_window_no_wait_is_longer_than_the_heartbeat_but_for_a_least(heartbeat, most):
    backoff = Backoff(lambda: 1.0)
    backoff.heartbeat = heartbeat
    assert max(backoff.failed() for _ in range(20)) == most
    backoff.window = 400
    assert backoff.failed() == 25


@pytest.mark.parametrize(("window", "ceiling"), [(1, 12), (100, 12), (400, 25), (3600, 225), (7200, 300)])
def test_rel_10_the_ceiling_of_later_retries_follows_the_window(window, ceiling):
    backoff = Backoff(lambda: 1.0)
    backoff.window = window
    assert max(backoff.failed() for _ in range(20)[1:]) <= max(window, ceiling)
    assert [backoff.failed() for _ in range(5)] == [ceiling] * 5


draws = st.floats(0, 1, exclude_max=True)


@given(st.floats(1, 3600), st.lists(draws, min_size=3, max_size=40))
def test_rel_10_no_wait_after_a_named_window_is_short_or_beyond_its_ceiling(window, drawn):
    backoff = Backoff(iter(drawn).__next__)
    backoff.window = window
    first, *later = [backoff.failed() for _ in drawn]
    assert 0 <= first <= window
    assert all(LOWEST * 2 * BASE <= wait <= backoff.ceiling <= CAP for wait in later)
    assert all(wait >= LOWEST * backoff.ceiling for wait in later[4:])


@given(st.floats(0, 3600), st.floats(0, 3600), st.lists(draws, min_size=2, max_size=20))
def test_rel_10_a_larger_window_never_shortens_a_wait(one, other, drawn):
    small, large = sorted((max(one, 1.0), max(other, 1.0)))
    waits = []
    for window in (small, large):
        backoff = Backoff(iter(drawn).__next__)
        backoff.window = window
        waits.append([backoff.failed() for _ in drawn])
    assert all(a <= b for a, b in zip(*waits, strict=True))


@given(st.floats(0, 3600), st.floats(0, 1e6), st.integers(0, 30), draws)
def test_opc_16_retry_after_is_obeyed_whatever_the_window_and_the_failures_before(
    window, asked, before, drawn
):
    backoff = Backoff(lambda: drawn)
    backoff.window = window
    for _ in range(before):
        backoff.failed()
    assert asked <= backoff.failed(asked) <= max(BASE, asked) * 1.1


@given(st.integers(1_000, 150_000), st.floats(20, 20_000))
def test_rel_10_an_absent_manager_is_dialled_less_than_ten_thousand_times_a_second_by_a_hundred_thousand(
    agents, rate
):
    backoff = Backoff(lambda: 0.5)
    backoff.window = max(1.0, agents / rate)
    for _ in range(8):
        mean = backoff.failed()
    assert agents / mean < 10_000 * max(1.0, agents / 100_000)


@pytest.mark.parametrize("draw", [0.0, 0.99])
def test_opc_16_retry_after_is_obeyed_with_jitter(draw):
    backoff = Backoff(lambda: draw)
    assert 30 <= backoff.failed(30) <= 33


def test_a_success_ends_the_row_of_failures():
    backoff = Backoff(lambda: 1.0)
    for _ in range(6):
        backoff.failed()
    backoff.succeeded()
    backoff.window = 7.0
    assert backoff.failed() == 7.0


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
