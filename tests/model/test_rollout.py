"""Rollouts by themselves: when they widen, halt and end."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from popham.errors import DefinitionError
from popham.model.rollout import (
    PPM,
    Action,
    Rollout,
    RolloutRef,
    RolloutState,
    RolloutTerms,
    Tally,
    bucket,
)

NOW = 1_800_000_000.0
TERMS = RolloutTerms.of([0.1, 0.5], soak=600.0, halt_on=0.05)
FRESH = Rollout.begin("r1", TERMS, now=NOW)
WELL = Tally(agents=100, cohort=10, applied=10)


def test_f_y17_a_bucket_is_in_the_unit_interval_and_depends_on_the_salt():
    assert bucket("s", "u") == bucket("s", "u")
    assert bucket("s", "u") != bucket("t", "u")
    places = [bucket("salt", f"uid-{number}") for number in range(2000)]
    assert all(0 <= place < 1 for place in places)
    assert 0.4 < sum(place < 0.5 for place in places) / 2000 < 0.6


@pytest.mark.parametrize(
    ("shares", "waves"),
    [
        ([0.01], (10_000, 50_000, 250_000, PPM)),
        ([0.01, 0.1], (10_000, 100_000, PPM)),
        ([0.3], (300_000, PPM)),
        ([1.0], (PPM,)),
        ([0.2], (200_000, PPM)),
    ],
)
def test_f_y17_one_share_grows_to_all(shares, waves):
    assert RolloutTerms.of(shares).waves == waves


@pytest.mark.parametrize(
    "shares", [[], [0.5, 0.5], [0.5, 0.1], [0.0], [-0.1], [1.5], [0.00001], [n / 100 for n in range(1, 40)]]
)
def test_f_y17_waves_that_cannot_be_are_refused(shares):
    with pytest.raises(DefinitionError) as caught:
        RolloutTerms.of(shares)
    assert caught.value.code == "definition.rollout"


@pytest.mark.parametrize("said", [{"soak": -1.0}, {"soak": 1e9}, {"halt_on": 1.1}, {"halt_on": -0.1}])
def test_f_y17_terms_that_cannot_be_are_refused(said):
    with pytest.raises(DefinitionError):
        RolloutTerms.of([0.1], **said)


def test_f_y17_a_wave_ends_after_its_soak_once_all_in_contact_have_applied():
    waiting = Tally(agents=100, cohort=10, applied=9, pending=1)
    noted = FRESH.note(waiting, now=NOW + 5)
    assert noted.decide(waiting, now=NOW + 9999) == (Action.WAIT, "1 of 10 have not applied yet")
    assert set(noted.wave.marks) == {50}
    noted = noted.note(WELL, now=NOW + 20)
    assert noted.wave.marks == {50: NOW + 5, 95: NOW + 20, 99: NOW + 20}
    assert noted.wave.settled == NOW + 20
    assert noted.decide(WELL, now=NOW + 619)[0] is Action.WAIT
    assert noted.decide(WELL, now=NOW + 620)[0] is Action.WIDEN
    wider = noted.widened(now=NOW + 620)
    assert (wider.ppm, wider.wave.began, wider.waves[0].ended) == (500_000, NOW + 620, NOW + 620)


def test_f_y17_the_last_wave_ends_in_promotion():
    last = FRESH.widened(now=NOW).widened(now=NOW).note(WELL, now=NOW)
    assert last.decide(WELL, now=NOW + 600)[0] is Action.PROMOTE
    done = last.became(RolloutState.PROMOTED, now=NOW + 600)
    assert (done.ppm, done.state.is_over, done.wave.ended) == (PPM, True, NOW + 600)


@pytest.mark.parametrize(
    ("tally", "action"),
    [
        (Tally(cohort=2, applied=1, failed=1), Action.HALT),
        (Tally(cohort=1000, applied=951, failed=49), Action.WAIT),
        (Tally(cohort=1000, applied=950, failed=25, silent=25), Action.HALT),
        (Tally(cohort=1000, silent=1, pending=999), Action.WAIT),
        (Tally(cohort=1, silent=1), Action.HALT),
        (Tally(), Action.WAIT),
    ],
)
def test_sec_42_too_many_that_fail_or_fall_silent_halt_it(tally, action):
    assert FRESH.decide(tally, now=NOW)[0] is action
    assert FRESH.became(RolloutState.PAUSED, now=NOW).decide(tally, now=NOW)[0] is action


def test_f_y17_a_cohort_of_which_nobody_is_in_contact_waits():
    away = Tally(agents=9, cohort=2, away=2)
    noted = FRESH.note(away, now=NOW)
    assert noted is FRESH
    assert noted.decide(away, now=NOW + 1e6) == (Action.WAIT, "nobody of the cohort is in contact")


def test_f_y17_what_is_paused_or_halted_does_not_widen():
    ready = FRESH.note(WELL, now=NOW)
    for state in (RolloutState.PAUSED, RolloutState.HALTED):
        held = ready.became(state, "why", now=NOW)
        assert held.decide(WELL, now=NOW + 1e6) == (Action.WAIT, "why")
    assert ready.became(RolloutState.HALTED, now=NOW).ppm == 0


def test_f_y17_what_is_taken_up_again_after_a_halt_begins_its_wave_anew():
    halted = FRESH.note(WELL, now=NOW).became(RolloutState.HALTED, "why", now=NOW + 5)
    again = halted.became(RolloutState.RUNNING, now=NOW + 50)
    assert (again.wave.began, again.wave.settled, again.wave.marks, again.reason) == (NOW + 50, 0.0, {}, "")


STATES = st.sampled_from(RolloutState)
TALLIES = st.builds(
    lambda applied, failed, silent, pending, away: Tally(
        agents=1000,
        cohort=applied + failed + silent + pending + away,
        applied=applied,
        failed=failed,
        silent=silent,
        pending=pending,
        away=away,
    ),
    *[st.integers(0, 3)] * 5,
)


@given(STATES, st.lists(TALLIES, max_size=4), st.text(max_size=9), st.booleans())
def test_f_y17_a_rollout_is_read_back_as_it_was(state, tallies, reason, wider):
    rollout = FRESH.widened(now=NOW) if wider else FRESH
    for number, tally in enumerate(tallies):
        rollout = rollout.note(tally, now=NOW + number)
    rollout = rollout.became(state, reason, now=NOW)
    assert Rollout.from_dict(rollout.as_dict()) == rollout


def test_f_y17_a_reference_is_read_back_and_checked():
    ref = RolloutRef(id="r1", salt="ab", ppm=10_000, wave=1, stable_serial=4)
    assert RolloutRef.from_dict(ref.as_dict()) == ref
    for wrong in ({"ppm": -1}, {"ppm": PPM + 1}, {"wave": 0}, {"stable_serial": -1}):
        with pytest.raises(ValueError, match="out of range"):
            RolloutRef.from_dict(ref.as_dict() | wrong)


class Life(RuleBasedStateMachine):
    """A rollout in whose cohort anything may happen, and that anybody may stop."""

    @initialize()
    def begin(self):
        self.now = NOW
        self.rollout = FRESH
        self.ppm = self.rollout.ppm
        self.soaked: set[int] = set()
        self.forced = False

    @rule(tally=TALLIES, later=st.sampled_from([1.0, 60.0, 601.0]))
    def look(self, tally, later):
        self.now += later
        was = self.rollout
        noted = was.note(tally, now=self.now)
        action, _ = noted.decide(tally, now=self.now)
        if action is not Action.WAIT:
            assert was.state in {RolloutState.RUNNING, RolloutState.PAUSED}
        if action in {Action.WIDEN, Action.PROMOTE}:
            assert was.state is RolloutState.RUNNING
            assert noted.wave.settled
            assert self.now >= noted.wave.settled + TERMS.soak
            assert not (tally.failed + tally.silent) or tally.cohort > 20
            self.soaked.add(noted.current)
        if action is Action.WIDEN:
            noted = noted.widened(now=self.now)
            assert noted.ppm > self.ppm
        elif action is Action.HALT:
            noted = noted.became(RolloutState.HALTED, "bad", now=self.now)
        elif action is Action.PROMOTE:
            noted = noted.became(RolloutState.PROMOTED, now=self.now)
            assert self.soaked == set(range(len(TERMS.waves)))
        self.rollout = noted

    @precondition(lambda self: self.rollout.state is RolloutState.RUNNING)
    @rule()
    def pause(self):
        self.rollout = self.rollout.became(RolloutState.PAUSED, "so", now=self.now)

    @precondition(lambda self: self.rollout.state in {RolloutState.RUNNING, RolloutState.PAUSED})
    @rule()
    def halt(self):
        self.rollout = self.rollout.became(RolloutState.HALTED, "so", now=self.now)

    @precondition(lambda self: self.rollout.state in {RolloutState.PAUSED, RolloutState.HALTED})
    @rule()
    def resume(self):
        self.rollout = self.rollout.became(RolloutState.RUNNING, now=self.now)

    @invariant()
    def a_cohort_never_shrinks_but_by_a_halt(self):
        if self.rollout.state is RolloutState.HALTED:
            assert self.rollout.ppm == 0
        else:
            assert self.rollout.ppm >= self.ppm
            self.ppm = self.rollout.ppm

    @invariant()
    def the_share_is_its_waves(self):
        if not self.rollout.state.is_over:
            assert self.rollout.ppm in {0, TERMS.waves[self.rollout.current]}
        assert replace(self.rollout).waves[0].began

    @invariant()
    def it_is_stored_as_it_is(self):
        assert Rollout.from_dict(self.rollout.as_dict()) == self.rollout


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
