import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.cell import Dialer, Mode
from popham.model.communication import CommunicationSettings, settings_from_definition
from popham.model.schedule import Override, Period, read_override, read_periods

DAY = 24 * 60
MON, TUE, FRI, SAT, SUN = 0, 1, 4, 5, 6
PULL = Override(mode=Mode.PULL)

overrides = st.builds(
    Override,
    mode=st.none() | st.sampled_from(Mode),
    dialer=st.none() | st.sampled_from(Dialer),
    heartbeat=st.none() | st.integers(1, 7 * 86400).map(float),
).filter(lambda one: one != Override())
periods = st.builds(
    Period,
    days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    begin=st.integers(0, DAY - 1),
    end=st.integers(0, DAY),
    override=overrides,
)


def period(**written):
    return read_periods([{"mode": "pull", **written}])[0]


def settings(*times, **more):
    return settings_from_definition({"times": list(times), **more}, CommunicationSettings())


@pytest.mark.parametrize(
    ("weekday", "minute", "holds"),
    [
        (MON, 8 * 60 - 1, False),
        (MON, 8 * 60, True),
        (MON, 18 * 60 - 1, True),
        (MON, 18 * 60, False),
        (SUN, 9 * 60, False),
    ],
)
def test_f_c7_a_period_holds_from_its_first_minute_to_before_its_last(weekday, minute, holds):
    found = period(**{"from": "08:00", "to": "18:00", "days": "mon-fri"})
    assert found.holds(weekday, minute) is holds


@pytest.mark.parametrize(
    ("weekday", "minute", "holds"),
    [
        (FRI, 22 * 60, True),
        (SAT, 0, True),
        (SAT, 6 * 60 - 1, True),
        (SAT, 6 * 60, False),
        (SAT, 22 * 60, False),
        (FRI, 0, False),
    ],
)
def test_f_c7_a_period_over_midnight_belongs_to_the_day_on_which_it_begins(weekday, minute, holds):
    assert period(**{"from": "22:00", "to": "06:00", "days": "fri"}).holds(weekday, minute) is holds


def test_f_c7_the_night_of_sunday_ends_on_monday():
    night = period(**{"from": "22:00", "to": "06:00", "days": "sun"})
    assert night.holds(SUN, 23 * 60)
    assert night.holds(MON, 60)
    assert not night.holds(TUE, 60)


def test_f_c7_days_may_wrap_around_the_week():
    assert period(**{"from": "08:00", "to": "09:00", "days": "fri-mon"}).days == (0, 4, 5, 6)
    assert period(**{"from": "08:00", "to": "09:00", "days": ["sat", "Sunday"]}).days == (5, 6)
    assert period(**{"from": "08:00", "to": "09:00"}).days == tuple(range(7))


@given(periods)
def test_f_c7_a_period_lasts_as_long_as_it_says_on_each_of_its_days(found):
    length = (found.end - found.begin) % DAY or DAY
    held = sum(found.holds(weekday, minute) for weekday in range(7) for minute in range(DAY))
    assert held == length * len(found.days)


@given(periods)
def test_f_c7_a_period_comes_back_from_a_bundle(found):
    assert Period.from_dict(found.as_dict()) == found


@given(overrides)
def test_f_c7_what_an_override_does_not_name_stays(found):
    base = CommunicationSettings(mode=Mode.PULL, heartbeat=77.0, spread=5.0)
    held = base.under(found)
    assert held.mode == (found.mode or base.mode)
    assert held.heartbeat == (found.heartbeat or base.heartbeat)
    assert held.spread == base.spread


def test_f_c7_the_first_period_that_holds_counts_and_a_metered_link_over_it():
    found = settings(
        {"from": "08:00", "to": "18:00", "heartbeat": "10m"},
        {"from": "00:00", "to": "24:00", "mode": "pull", "heartbeat": "1h"},
        metered={"heartbeat": "6h"},
    )
    office, night = found.at(MON, 9 * 60), found.at(MON, 20 * 60)
    assert (office.mode, office.heartbeat) == (Mode.PUSH, 600.0)
    assert (night.mode, night.heartbeat) == (Mode.PULL, 3600.0)
    metered = found.at(MON, 20 * 60, metered=True)
    assert (metered.mode, metered.heartbeat) == (Mode.PULL, 21600.0)


def test_f_c7_without_a_period_that_holds_the_settings_hold():
    found = settings({"from": "08:00", "to": "18:00", "days": "mon", "mode": "pull"})
    assert found.at(TUE, 9 * 60) is found
    assert found.at(TUE, 9 * 60, metered=True) is found


@pytest.mark.parametrize(
    "written",
    [
        {"from": "8", "to": "18:00"}, {"from": "08:60", "to": "18:00"}, {"from": "24:01", "to": "18:00"}, {"from": "²²:00", "to": "18:00"},
        {"from": "9" * 5000 + ":00", "to": "18:00"}, {"from": 480, "to": "18:00"}, {"to": "18:00"}, {"from": "08:00", "to": "09:00", "days": "someday"},
        {"from": "08:00", "to": "09:00", "days": []}, {"from": "08:00", "to": "09:00", "days": "monkey"}, {"from": "08:00", "to": "09:00", "days": None},
    ],
)  # fmt: skip
def test_f_c7_what_is_no_time_of_day_is_refused(written):
    with pytest.raises(DefinitionError) as caught:
        read_periods([{"mode": "pull", **written}])
    assert caught.value.code == "definition.schedule"
    assert caught.value.hint


@pytest.mark.parametrize("value", ["08:00", {"from": "08:00"}, ["08:00"], [{}] * 17])
def test_f_c7_times_that_are_no_list_of_periods_are_refused(value):
    with pytest.raises(DefinitionError) as caught:
        read_periods(value)
    assert caught.value.code == "definition.schedule"


@pytest.mark.parametrize(("value", "reason"), [({}, "schedule"), ("pull", "form"), ({"spread": "off"}, "unknown_key"), ({"mode": "pll"}, "word"), ({"heartbeat": "5x"}, "duration")])  # fmt: skip
def test_f_c7_an_override_that_says_nothing_usable_is_refused(value, reason):
    with pytest.raises(DefinitionError) as caught:
        read_override(value, "metered")
    assert caught.value.code == f"definition.{reason}"


def test_f_c7_a_heartbeat_out_of_range_in_a_period_is_refused():
    with pytest.raises(DefinitionError, match="outside 1 s to 7 days"):
        settings({"from": "08:00", "to": "09:00", "heartbeat": "8d"})
    with pytest.raises(DefinitionError, match="outside 1 s to 7 days"):
        settings(metered={"heartbeat": "0s"})


def test_f_c7_a_period_is_shown_in_words():
    found = period(**{"from": "22:00", "to": "06:00", "days": "sat,sun", "heartbeat": "1h"})
    assert found.describe() == "sat,sun 22:00-06:00: pull, heartbeat 1h"
    assert period(**{"from": "00:00", "to": "24:00"}).describe() == "daily 00:00-24:00: pull"
