"""A rollout that begins as held: nobody is in it but by name, until its first wave begins."""

import pytest

from popham.model.rollout import Action, Rollout, RolloutRef, RolloutState, RolloutTerms, Tally

TERMS = RolloutTerms.of([0.1, 0.5])
HELD = Rollout.hold("r1", TERMS)
NOW = 1_800_000_000.0


def test_f_y9_what_is_held_reaches_nobody_but_by_name():
    assert (HELD.state, HELD.ppm, HELD.named) == (RolloutState.HELD, 0, True)
    assert not HELD.state.is_over
    assert Rollout.from_dict(HELD.as_dict()) == HELD


@pytest.mark.parametrize("tally", [Tally(agents=9, cohort=3, failed=3), Tally(agents=9, cohort=3, applied=3)])
def test_f_y9_it_neither_widens_nor_halts_nor_settles_by_itself(tally):
    noted = HELD.note(tally, now=NOW)
    assert noted is HELD
    assert noted.decide(tally, now=NOW + 1e9)[0] is Action.WAIT


def test_f_y9_its_first_wave_begins_on_the_terms_of_that_moment():
    begun = HELD.with_terms(RolloutTerms.of([0.2]), now=NOW)
    assert (begun.state, begun.ppm, begun.wave.began, begun.named) == (
        RolloutState.RUNNING,
        200_000,
        NOW,
        True,
    )
    assert begun.current == 0


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ("held", True),
        ("running", True),
        ("paused", True),
        ("halted", False),
        ("promoted", False),
        ("undone", False),
    ],
)
def test_f_y9_who_has_it_by_name_goes_back_where_it_is_halted_or_over(state, named):
    assert HELD.became(RolloutState(state), now=NOW).named is named
    assert not Rollout.begin("r2", TERMS, now=NOW).named


def test_f_y9_a_wave_that_never_began_does_not_end():
    halted = HELD.became(RolloutState.HALTED, "no", now=NOW, by="ada")
    assert (halted.wave.began, halted.wave.ended, halted.ppm) == (0.0, 0.0, 0)
    promoted = halted.became(RolloutState.PROMOTED, now=NOW)
    assert (promoted.ppm, promoted.wave.ended) == (1_000_000, 0.0)


def test_f_y9_a_rollout_stored_before_there_were_any_held_is_of_no_names():
    stored = Rollout.begin("r1", TERMS, now=NOW).as_dict()
    del stored["began_held"]
    assert not Rollout.from_dict(stored).named


def test_f_y9_the_reference_says_that_it_goes_by_name_only_where_it_does():
    ref = RolloutRef(id="r1", salt="ab", ppm=0, wave=1, stable_serial=4)
    assert "named" not in ref.as_dict()
    assert RolloutRef.from_dict(ref.as_dict() | {"named": True}).named
