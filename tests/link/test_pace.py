"""When the next round comes: at the heartbeat, or sooner because something happened."""

from hypothesis import given
from hypothesis import strategies as st

from popham.link.backoff import Backoff
from popham.link.pace import IN_A_ROW, Pace
from popham.model.communication import CommunicationSettings, Mode

HOUR = 3600.0
SETTINGS = CommunicationSettings(mode=Mode.PULL, heartbeat=HOUR, spread=300.0, accelerated=30.0)


def rounds(pace, stirred, settings=SETTINGS, stretch=0.0):
    """Return the wait after each round, by whether something happened in it."""
    found = []
    for one in stirred:
        found.append(pace.after_round(settings, stretch, stirred=one))
        pace.passed()
    return found


@given(st.floats(0, 1, exclude_max=True), st.floats(1, 60), st.floats(61, 86_400))
def test_f_l11_a_round_that_comes_sooner_comes_in_the_upper_half_of_the_accelerated_seconds(
    drawn, accelerated, heartbeat
):
    settings = CommunicationSettings(mode=Mode.PULL, heartbeat=heartbeat, spread=0.0, accelerated=accelerated)
    (wait,) = rounds(Pace(bytes(16), lambda: drawn), [True], settings)
    assert accelerated / 2 <= wait <= accelerated


def test_f_l11_after_three_in_a_row_a_heartbeat_passes():
    waits = rounds(Pace(bytes(16), lambda: 0.0), [True] * 9)
    assert [wait < 60 for wait in waits] == [*[True] * IN_A_ROW, False] * 2 + [True]


def test_f_l11_what_happens_during_a_wait_shortens_it_once():
    pace = Pace(bytes(16), lambda: 0.0)
    (wait,) = rounds(pace, [False])
    assert pace.hasten(wait, SETTINGS, 0.0) == 15.0
    assert pace.hasten(wait, SETTINGS, 0.0) == wait
    assert pace.hasten(20.0, SETTINGS, 0.0) == 20.0


def test_f_l11_f_c4_the_step_to_the_agents_own_phase_is_still_taken():
    calm = rounds(Pace(b"16 bytes of uid.", lambda: 0.0), [False, False])
    stirred = rounds(Pace(b"16 bytes of uid.", lambda: 0.0), [True, False, False])
    assert calm[0] < HOUR
    assert stirred[1:] == calm


def test_f_l11_f_c10_nobody_comes_sooner_while_upstream_puts_rounds_off():
    assert rounds(Pace(bytes(16), lambda: 0.0), [True], stretch=600.0)[0] > HOUR


@given(st.floats(0, 3600), st.floats(0.1, 3600), st.floats(0, 1, exclude_max=True))
def test_f_c8_the_wait_before_another_server_is_within_its_bound_and_counts_as_no_failure(
    window, most, drawn
):
    backoff = Backoff(lambda: drawn)
    backoff.window = window
    assert 0 <= backoff.elsewhere(most) <= most
    assert backoff.failures == 0
