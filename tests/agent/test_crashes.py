"""What a set does to the agent's own process, and what is left of its window when another one begins."""

import pytest

from popham.model.status import Outcome
from popham.testing.virtual import pass_time

from .watched import WINDOW, Watched

APPLIED = (Outcome.APPLIED, "")


@pytest.fixture
def watched(keys):
    return Watched(keys)


def test_rel_11_a_set_that_ends_the_agent_again_and_again_is_undone_before_anything_else(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("two")
        for _ in range(2):
            await watched.restart()
            await watched.round()
            assert watched.applier.names == ("two",)
        await watched.restart()
        assert watched.applier.names == ("one",), "without a word from upstream"
        assert watched.said == (Outcome.FAILED, "policy.undone_crashes")
        await watched.round()
        assert watched.applier.names == ("one",)
        watched.enforcer.look_again()
        await watched.round()
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)

    watched.tell_story(story)


def test_an_agent_that_is_stopped_as_it_should_be_did_not_crash(watched):
    async def story():
        await watched.give("one")
        for _ in range(2):
            await watched.restart()
        await watched.restart(clean=True)
        for _ in range(2):
            await watched.restart()
            await watched.round()
        assert watched.applier.names == ("one",)

    watched.tell_story(story)


def test_crashes_after_the_window_are_no_fault_of_the_set(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        for _ in range(5):
            await watched.restart()
        assert (watched.applier.names, watched.said) == (("one",), APPLIED)

    watched.tell_story(story)


def test_the_window_goes_on_over_a_restart_and_a_clock_that_is_set_does_not_change_it(watched):
    async def story():
        await watched.give("one")
        await pass_time(100)
        await watched.restart(clean=True)
        assert watched.enforcer.trials.left() == WINDOW - 100
        await pass_time(1)
        watched.clock.offset = -86400
        await pass_time(WINDOW - 102)
        assert watched.enforcer.trials.trial is not None
        await pass_time(2)
        assert watched.enforcer.trials.trial is None
        await watched.give("two")
        watched.clock.offset -= 86400
        await watched.restart(clean=True)
        assert watched.enforcer.trials.left() == WINDOW

    watched.tell_story(story)


def test_a_window_that_ended_while_no_process_ran_is_watched_for_another_minute(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("cut")
        await watched.end()
        await pass_time(10_000)
        await watched.restart()
        await watched.round()
        await pass_time(30)
        assert watched.applier.names == ("one",)

    watched.tell_story(story)


def test_what_is_reported_of_a_window_that_was_made_longer_is_its_new_end(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("two")
        await watched.end()
        await pass_time(10_000)
        await watched.restart()
        trials = watched.enforcer.trials
        assert trials.watched_until == trials.trial.until > watched.clock.now()

    watched.tell_story(story)
