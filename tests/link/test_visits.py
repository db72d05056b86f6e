"""Whether an end is visited, so that it need not dial."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.link.visits import AWAITED, KEPT, LAPSED, MISSED, OFF, Visits
from popham.model.communication import CommunicationSettings, Dialer, Mode

BEAT = 60.0
VISITED = CommunicationSettings(mode=Mode.PULL, dialer=Dialer.MANAGER, heartbeat=BEAT)
DIALS = CommunicationSettings(mode=Mode.PULL, dialer=Dialer.AGENT, heartbeat=BEAT)
NEVER = CommunicationSettings(mode=Mode.PULL, dialer=Dialer.MANAGER, heartbeat=BEAT, never_dial=True)


def dials(visits, settings, now, *, serving=True):
    return visits.left(settings, now, serving=serving) <= 0


def test_who_is_to_dial_dials_and_has_nothing_to_say_of_visits():
    visits = Visits()
    assert dials(visits, DIALS, 0.0)
    assert visits.why(DIALS, 0.0, serving=True) == ""


def test_f_c3_who_is_to_be_visited_dials_until_a_visit_came():
    visits = Visits()
    assert dials(visits, VISITED, 1000.0)
    assert visits.why(VISITED, 1000.0, serving=True) == AWAITED
    visits.note(1000.0)
    assert not dials(visits, VISITED, 1000.0)
    assert visits.why(VISITED, 1000.0, serving=True) == ""


def test_f_c3_after_three_missed_visits_it_dials_and_the_next_visit_ends_that():
    visits = Visits()
    visits.note(0.0)
    assert not dials(visits, VISITED, MISSED * BEAT - 0.1)
    assert dials(visits, VISITED, MISSED * BEAT)
    assert visits.why(VISITED, MISSED * BEAT, serving=True) == LAPSED
    visits.note(500.0)
    assert not dials(visits, VISITED, 500.0)


def test_f_l3_a_service_that_is_off_is_said_and_cannot_be_visited():
    visits = Visits()
    visits.note(0.0)
    assert dials(visits, VISITED, 1.0, serving=False)
    assert visits.why(VISITED, 1.0, serving=False) == OFF


def test_f_l2_who_starts_where_visits_hold_waits_for_three():
    visits = Visits()
    visits.begin(VISITED, 100.0)
    assert not dials(visits, VISITED, 100.0 + MISSED * BEAT - 0.1)
    assert dials(visits, VISITED, 100.0 + MISSED * BEAT)
    assert visits.why(VISITED, 1000.0, serving=True) == AWAITED
    other = Visits()
    other.begin(DIALS, 100.0)
    assert dials(other, VISITED, 100.0)


def test_f_l2_a_service_that_is_about_to_listen_is_waited_for():
    visits = Visits()
    visits.begin(VISITED, 100.0)
    assert not dials(visits, VISITED, 104.0, serving=False)
    assert visits.why(VISITED, 104.0, serving=False) == ""
    assert dials(visits, VISITED, 105.0, serving=False)
    assert visits.why(VISITED, 105.0, serving=False) == OFF
    assert not dials(visits, VISITED, 105.0)


def test_f_c3_visits_of_before_do_not_count_once_it_was_to_dial():
    visits = Visits()
    visits.note(0.0)
    assert dials(visits, DIALS, 1.0)
    assert dials(visits, VISITED, 2.0), "the last visit is two seconds old, and says nothing"
    assert visits.why(VISITED, 2.0, serving=True) == AWAITED


def test_f_c3_who_is_to_dial_says_that_it_is_visited_until_its_own_way_worked():
    visits = Visits()
    visits.note(0.0)
    visits.left(VISITED, 0.0, serving=True)
    assert visits.why(DIALS, 1.0, serving=True) == KEPT
    assert not visits.works
    assert visits.dialled() is True
    assert visits.dialled() is False
    assert visits.works
    visits.note(2.0)
    assert visits.why(DIALS, 2.0, serving=True) == "", "one that was on its way changes nothing"
    visits.left(VISITED, 3.0, serving=True)
    visits.note(3.0)
    assert visits.why(DIALS, 4.0, serving=True) == KEPT, "it is another time"


@pytest.mark.parametrize("serving", [True, False])
def test_f_l2_who_may_never_dial_never_does(serving):
    visits = Visits()
    visits.begin(NEVER, 0.0)
    assert visits.left(NEVER, 1e12, serving=serving) == math.inf
    assert visits.why(NEVER, 1e12, serving=serving) == ""


def test_f_c3_who_dialled_and_may_never_do_so_again_waits_from_its_first_visit_on():
    visits = Visits()
    visits.begin(DIALS, 0.0)
    assert dials(visits, NEVER, 10.0)
    assert visits.why(NEVER, 10.0, serving=True) == AWAITED
    visits.note(20.0)
    assert visits.left(NEVER, 1e12, serving=False) == math.inf
    assert dials(visits, DIALS, 1e12)
    assert dials(visits, NEVER, 1e12), "it is another time"


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["visit", "dialled", "visited", "dials", "never"]),
        st.floats(0, 500),
        st.booleans(),
    ),
    max_size=40,
)


@given(EVENTS)
def test_nobody_is_silent_for_more_than_three_intervals_and_says_why_it_dials(events):
    visits, now, last, settings = Visits(), 0.0, -math.inf, DIALS
    for what, seconds, serving in events:
        now += seconds
        if what == "visit":
            visits.note(now)
            last = now
        elif what == "dialled":
            visits.dialled()
        else:
            settings = {"visited": VISITED, "dials": DIALS, "never": NEVER}[what]
        left = visits.left(settings, now, serving=serving)
        why = visits.why(settings, now, serving=serving)
        if settings is NEVER and last > -math.inf and left == math.inf:
            assert why == ""
        elif settings is DIALS:
            assert left <= 0
            assert why in {"", KEPT}
        else:
            assert (left > 0) == (why == "")
            assert left < math.inf
            if left > 0:
                assert now - last < MISSED * BEAT
            assert (why == OFF) == (not serving)
