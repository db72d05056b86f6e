"""An outage of the upstream inside a window: it costs one step, and speaks against no set."""

import pytest

from popham.agent.health import ANSWER, PROBES
from popham.model.status import Outcome
from popham.testing.virtual import pass_time

from .watched import WINDOW, Watched

APPLIED = (Outcome.APPLIED, "")
CONTACT = (Outcome.FAILED, "policy.undone_contact")
KNOWN = ANSWER + PROBES[-1] + 8
"""Seconds after which it is known whether anybody answers."""


@pytest.fixture
def watched(keys):
    return Watched(keys)


async def outage(watched, seconds):
    watched.dead = True
    await watched.round()
    for _ in range(int(seconds // 20)):
        await pass_time(20)
        await watched.round()
    watched.dead = False


async def two_on_trial(watched):
    """Have two sets follow each other in one window, both answered."""
    for name in ("seven", "nine"):
        await watched.give(name)
        await pass_time(60)
        await watched.round()


def test_rel_11_an_outage_costs_one_step_and_no_more(watched):
    async def story():
        await two_on_trial(watched)
        await outage(watched, 400)
        assert watched.applier.names == ("seven",), "that it is not heard either shows who is to blame"
        assert watched.said == CONTACT
        assert "may not be the cause" in watched.enforcer.progress.error
        assert "when there is contact again" in watched.enforcer.progress.error
        await watched.round()
        assert (watched.applier.names, watched.said) == (("nine",), APPLIED)
        await pass_time(WINDOW + 1)
        assert watched.enforcer.trials.all_undone == ()

    watched.tell_story(story)


def test_rel_11_outages_never_make_an_undo_final(watched):
    async def story():
        await two_on_trial(watched)
        for _ in range(5):
            await outage(watched, 120)
            assert (watched.applier.names, watched.said) == (("seven",), CONTACT)
            await watched.round()
            assert (watched.applier.names, watched.said) == (("nine",), APPLIED)
            await pass_time(60)
            await watched.round()
        assert watched.enforcer.trials.all_undone[0].times == 0

    watched.tell_story(story)


def test_rel_11_a_process_that_begins_in_an_outage_undoes_nothing_further_back(watched):
    async def story():
        await two_on_trial(watched)
        watched.dead = True
        await watched.round()
        await pass_time(KNOWN)
        assert watched.applier.names == ("seven",)
        for clean in (True, False):
            await watched.restart(clean=clean)
            await watched.round()
            await pass_time(2 * KNOWN)
            assert watched.applier.names == ("seven",)

    watched.tell_story(story)


def test_f_y15_what_is_gone_back_to_is_watched_again_once_there_is_contact(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("two")
        await watched.give("cut")
        for _ in range(2):
            await pass_time(KNOWN)
            assert watched.applier.names == ("two",)
            await watched.round()
        assert watched.said == CONTACT
        assert "tried twice" in watched.enforcer.progress.error
        await outage(watched, 2 * KNOWN)
        assert watched.applier.names == ("one",)

    watched.tell_story(story)


@pytest.mark.parametrize("slow", [0, 40, 400])
def test_f_y15_a_set_that_cuts_its_machine_off_is_final_however_slowly_the_network_comes_back(watched, slow):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("cut")
        for _ in range(6):
            watched.dead = bool(slow)
            await pass_time(KNOWN + slow)
            assert watched.applier.names == ("one",)
            watched.dead = False
            await watched.round()
        assert watched.said == CONTACT
        assert "is not tried again until other content comes" in watched.enforcer.progress.error
        assert watched.tries[("cut",)] == (3 if slow > KNOWN else 2)

    watched.tell_story(story)


def test_a_machine_that_moves_in_an_outage_after_an_undo_is_not_watched_for_contact(watched):
    async def story():
        await two_on_trial(watched)
        watched.dead = True
        await watched.round()
        await pass_time(KNOWN)
        trials = watched.enforcer.trials
        assert trials.trial.lost
        trials.begin("0" * 64, 9, watched.enforcer.in_force, contact=False)
        assert not trials.trial.contact

    watched.tell_story(story)
