"""A hundred thousand agents come back."""

import pytest

from popham.testing.storm import Door, Storm

AGENTS = 100_000


@pytest.mark.parametrize("away", [5.0, 20.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_rel_10_goal_2_a_hundred_thousand_agents_return_within_a_tenth_of_the_ideal_time(away):
    outcome = Storm(away=away).run()
    assert outcome.returned == AGENTS
    assert outcome.drained <= 1.1 * outcome.ideal
    assert outcome.knocks <= 6
    assert outcome.most <= 30  # nobody starves: neither by dials nor, as above, by time
    assert outcome.peak <= 8_500  # dials in the worst second, in vain or not; the goal is 10,000


def test_rel_10_a_second_storm_is_no_worse_although_most_were_told_smaller_windows():
    outcome = Storm(agents=40_000, window=100.0, away=20.0, again=True).run()
    assert outcome.returned == 40_000
    assert outcome.drained <= 1.1 * outcome.ideal
    assert outcome.peak <= 4_000


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize("silent", [False, True], ids=["refused", "unanswered"])
def test_rel_10_after_a_long_outage_everybody_returns(door, silent):
    outcome = Storm(agents=10_000, window=25.0, away=120.0, door=door, silent=silent).run()
    assert outcome.returned == 10_000
    assert outcome.most <= 20
    assert outcome.peak <= 2_000


@pytest.mark.parametrize("away", [5.0, 60.0, 600.0])
def test_rel_10_a_small_fleet_is_back_within_the_least_ceiling(away):
    outcome = Storm(agents=1_000, window=2.5, away=away).run()
    assert outcome.returned == 1_000
    assert outcome.drained <= 12.0 + outcome.ideal


def test_rel_10_who_waits_in_the_kernel_dials_less_often_than_who_is_reset():
    held, closed = (
        Storm(agents=20_000, window=50.0, away=20.0, door=door).run() for door in (Door.HOLD, Door.CLOSE)
    )
    assert held.knocks < closed.knocks
