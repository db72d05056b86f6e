"""How late the loop is."""

import asyncio
import math
import time

import pytest

from popham.testing.virtual import VirtualClock, pass_time, run_virtual
from popham.upstream.lag import EVERY, LATELY, WINDOW, Lag


def test_rel_24_a_quantile_is_of_the_last_half_minute():
    lag = Lag(lambda: 0.0)
    assert lag.quantile(0.99) == 0.0
    for number in range(1, 2 * WINDOW + 1):
        lag.note(number / 1000)
    assert lag.quantile(1.0) == pytest.approx(1.2)
    assert lag.quantile(0.99) == pytest.approx(1.194)
    assert lag.quantile(0.0) == pytest.approx(0.601)


def test_rel_24_the_worst_is_of_the_last_second():
    lag = Lag(lambda: 0.0)
    lag.note(0.5)
    assert lag.worst() == 0.5
    for _ in range(LATELY):
        lag.note(0.001)
    assert lag.worst() == 0.001


def test_rel_24_looks_are_counted_since_the_start_so_that_two_readings_can_be_subtracted():
    lag = Lag(lambda: 0.0)
    for seconds in (0.0, 0.0005, 0.05, 0.0501, 30.0):
        lag.note(seconds)
    found = dict(lag.buckets())
    assert (found[0.001], found[0.04], found[0.05], found[0.075], found[math.inf]) == (2, 2, 3, 4, 5)
    assert lag.total == pytest.approx(30.1006)
    for _ in range(2 * WINDOW):
        lag.note(0.0)
    assert dict(lag.buckets())[math.inf] == lag.count == 2 * WINDOW + 5


def test_a_look_that_comes_early_is_no_lag():
    lag = Lag(lambda: 0.0)
    lag.note(-0.01)
    assert lag.worst() == 0.0


def test_rel_24_one_task_looks_twenty_times_a_second_and_finds_a_quiet_loop_on_time():
    clock = VirtualClock()
    lag = Lag(clock.monotonic)

    async def ten_seconds():
        task = asyncio.ensure_future(lag.run())
        await pass_time(10.0 + EVERY / 2)
        task.cancel()

    run_virtual(ten_seconds(), clock)
    assert lag.count == 200
    assert lag.quantile(1.0) == pytest.approx(0.0)


async def test_rel_24_a_loop_that_is_held_up_is_seen_before_the_next_look():
    lag = Lag(time.monotonic)
    task = asyncio.ensure_future(lag.run())
    await asyncio.sleep(0)
    until = time.monotonic() + 2 * EVERY
    while time.monotonic() < until:
        pass
    assert lag.worst() >= EVERY / 2
    task.cancel()


def test_a_single_burst_is_no_standing_lag_and_a_lag_that_stays_is():
    lag = Lag(lambda: 0.0)
    for _ in range(LATELY):
        lag.note(0.0)
    lag.note(3.0)
    assert (lag.worst(), lag.standing()) == (3.0, 0.0)
    for _ in range(LATELY // 2):
        lag.note(0.2)
    assert lag.standing() == 0.2
