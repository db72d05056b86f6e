"""Which settings hold now, and when that changes; times are of a machine in Paris."""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from popham.agent.schedule import Schedule
from popham.model.communication import CommunicationSettings, Mode
from popham.model.schedule import Override, Period
from popham.testing.virtual import EPOCH, VirtualClock, pass_time, run_virtual

PARIS = ZoneInfo("Europe/Paris")
WEEKDAYS, DAILY = (0, 1, 2, 3, 4), tuple(range(7))
PULL = Override(mode=Mode.PULL)


def period(begin, end, days=DAILY, override=PULL):
    def minutes(text):
        hour, minute = text.split(":")
        return int(hour) * 60 + int(minute)

    return Period(days=days, begin=minutes(begin), end=minutes(end), override=override)


def live(settings, start, days, *, phase=0.0, zone=PARIS, during=None):
    """Return when which mode began to hold, in local time, in so many days from ``start``."""
    clock, seen = VirtualClock(), []
    clock.offset = datetime.fromisoformat(start).replace(tzinfo=zone).timestamp() - EPOCH

    async def tell():
        def look():
            mode = schedule.at(settings).mode
            local = datetime.fromtimestamp(clock.now(), zone)
            if not seen or seen[-1][1] != mode:
                seen.append((f"{local:%a %H:%M:%S}", mode))

        schedule = Schedule(clock, phase=phase, changed=look, zone=zone)
        look()
        if during is not None:
            await during(schedule, clock)
        await pass_time(days * 86_400)
        schedule.close()

    run_virtual(tell(), clock)
    return [f"{when} {mode}" for when, mode in seen]


def test_f_c7_periods_begin_and_end_to_the_second_where_there_is_no_spread():
    settings = CommunicationSettings(times=(period("08:00", "18:00", WEEKDAYS),), spread=0.0)
    assert live(settings, "2027-01-15T07:00", 4) == [
        "Fri 07:00:00 push",
        "Fri 08:00:00 pull",
        "Fri 18:00:00 push",
        "Mon 08:00:00 pull",
        "Mon 18:00:00 push",
    ]


def test_f_c7_a_period_over_midnight_belongs_to_the_day_on_which_it_begins():
    settings = CommunicationSettings(times=(period("22:00", "06:00", (4,)),), spread=0.0)
    assert live(settings, "2027-01-15T12:00", 3) == [
        "Fri 12:00:00 push",
        "Fri 22:00:00 pull",
        "Sat 06:00:00 push",
    ]


@pytest.mark.parametrize(
    ("start", "day", "begins"), [("2027-03-27T12:00", "Sun", "03:00"), ("2027-10-30T12:00", "Sun", "03:00")]
)
def test_f_c7_the_clock_at_the_wall_counts_when_it_is_changed_for_the_summer(start, day, begins):
    settings = CommunicationSettings(times=(period("03:00", "05:00"),), spread=0.0)
    assert live(settings, start, 1)[1:3] == [f"{day} {begins}:00 pull", f"{day} 05:00:00 push"]


def test_f_c7_machines_change_over_one_after_another_within_the_spread():
    settings = CommunicationSettings(times=(period("08:00", "18:00"),), spread=300.0)
    assert live(settings, "2027-01-15T07:00", 0.5, phase=0.5) == [
        "Fri 07:00:00 push",
        "Fri 08:02:30 pull",
        "Fri 18:02:30 push",
    ]


def test_f_c7_a_boundary_at_which_nothing_changes_is_none():
    quiet = Override(mode=Mode.PUSH)
    times = (period("10:00", "12:00", override=quiet), period("08:00", "18:00"), period("18:00", "24:00"))
    settings = CommunicationSettings(times=times, spread=0.0)
    assert live(settings, "2027-01-15T07:00", 0.9) == [
        "Fri 07:00:00 push",
        "Fri 08:00:00 pull",
        "Fri 10:00:00 push",
        "Fri 12:00:00 pull",
        "Sat 00:00:00 push",
    ]


def test_f_c7_a_wall_clock_that_is_set_is_followed_once_somebody_says_so():
    settings = CommunicationSettings(times=(period("08:00", "18:00"),), spread=0.0)

    async def set_clock(schedule, clock):
        clock.offset += 2 * 3600
        schedule.look_again()
        schedule.look_again()

    assert live(settings, "2027-01-15T07:00", 0.5, during=set_clock) == [
        "Fri 07:00:00 push",
        "Fri 09:00:00 pull",
        "Fri 18:00:00 push",
    ]


def test_f_c7_a_timer_that_comes_too_soon_by_the_wall_clock_is_set_again():
    settings = CommunicationSettings(times=(period("08:00", "18:00"),), spread=0.0)

    async def slow(_schedule, clock):
        clock.offset -= 5.0

    seen = live(settings, "2027-01-15T07:00", 0.25, during=slow)
    assert seen == ["Fri 07:00:00 push", "Fri 08:00:00 pull"]


def test_f_c7_a_metered_link_counts_over_the_time_of_day():
    settings = CommunicationSettings(
        times=(period("08:00", "18:00", override=Override(mode=Mode.PUSH)),), metered=PULL, spread=0.0
    )

    async def travel(schedule, _clock):
        schedule.metered = True

    assert live(settings, "2027-01-15T07:00", 0.5, during=travel) == [
        "Fri 07:00:00 push",
        "Fri 07:00:00 pull",
    ]


async def test_f_c7_without_a_zone_the_machines_own_holds_also_when_that_changes(monkeypatch):
    class Wall:
        def now(self):
            return datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp()

        def monotonic(self):
            return 0.0

    settings = CommunicationSettings(times=(period("20:00", "22:00"),), spread=0.0)
    told = []
    monkeypatch.setenv("TZ", "UTC")
    schedule = Schedule(Wall(), phase=0.0, changed=lambda: told.append(1))
    try:
        assert schedule.at(settings).mode is Mode.PUSH
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        schedule.look_again()
        assert (schedule.at(settings).mode, told) == (Mode.PULL, [1])
    finally:
        schedule.close()
        monkeypatch.undo()
        time.tzset()


def test_nothing_wakes_where_nothing_differs():
    settings = CommunicationSettings()
    schedule = Schedule(VirtualClock(), phase=0.5, changed=lambda: None)
    assert schedule.at(settings) is settings, "and no loop is needed"


def test_f_c7_a_period_that_comes_again_when_clocks_go_back_ends_at_its_minute():
    settings = CommunicationSettings(times=(period("00:00", "02:30"),), spread=0.0)
    # The second 02:10 of that night; fold says which one is meant.
    clock, ended = VirtualClock(), []
    second = datetime(2025, 10, 26, 2, 10, tzinfo=PARIS, fold=1).timestamp()
    clock.offset = second - EPOCH

    async def tell():
        schedule = Schedule(clock, phase=0.0, changed=lambda: ended.append(clock.now() - second), zone=PARIS)
        assert schedule.at(settings).mode is Mode.PULL
        await pass_time(3600)
        schedule.close()

    run_virtual(tell(), clock)
    assert ended == [pytest.approx(20 * 60, abs=1)]


def test_f_c7_a_period_whose_end_is_skipped_when_clocks_go_forward_ends_then():
    settings = CommunicationSettings(times=(period("01:00", "02:30"),), spread=0.0)
    assert live(settings, "2026-03-29T00:30", 0.2) == [
        "Sun 00:30:00 push",
        "Sun 01:00:00 pull",
        "Sun 03:00:00 push",
    ]
