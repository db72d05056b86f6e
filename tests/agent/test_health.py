"""What breaks a machine is undone by the machine itself, and what merely meets a dead Manager stays."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.agent.health import ANSWER, JITTER, PROBES, Contact
from popham.model.location import Whereabouts
from popham.model.status import Outcome
from popham.testing.virtual import VirtualClock, pass_time

from .orders import OFFICE, rules_of
from .watched import WINDOW, Watched

APPLIED = (Outcome.APPLIED, "")


@pytest.fixture
def watched(keys):
    return Watched(keys)


def test_f_y15_a_set_that_passes_its_window_is_proven_and_nobody_was_asked_anything(watched):
    async def story():
        await watched.give("one")
        begun = watched.clock.now()
        assert watched.enforcer.trials.watched_until == begun + WINDOW
        for _ in range(9):
            await pass_time(60)
            await watched.round()
        assert watched.enforcer.trials.trial is not None
        told = watched.told
        await pass_time(61)
        assert watched.enforcer.trials.trial is None
        assert watched.told == told, "no report is made of it"
        watched.dead = True
        await watched.round()
        await pass_time(1000)
        assert (watched.probes, watched.applier.names, watched.said) == ([], ("one",), APPLIED)

    watched.tell_story(story)


@pytest.mark.parametrize("first", [True, False])
def test_f_y15_a_set_that_cuts_the_machine_off_is_undone_in_30_seconds(watched, first):
    async def story():
        if not first:
            await watched.give("one")
            await pass_time(WINDOW + 1)
        cut_off = watched.clock.elapsed
        await watched.give("cut")
        await pass_time(29)
        assert watched.applier.names == (() if first else ("one",))
        assert watched.said == (Outcome.FAILED, "policy.undone_contact")
        progress = watched.enforcer.progress
        assert "no server could be reached for" in progress.error
        assert progress.applied_serial == (0 if first else 1)
        asked = [at - cut_off for at in watched.probes]
        assert asked[: len(PROBES)] == [after + JITTER / 2 for after in PROBES]
        assert [one.ref.name for one in watched.enforcer.find_held()] == list(watched.applier.names)

    watched.tell_story(story)


def test_f_y15_what_was_undone_for_want_of_contact_is_tried_once_more_and_then_no_more(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("cut")
        await pass_time(30)
        assert "tried once more" in watched.enforcer.progress.error
        await watched.round()
        assert watched.applier.names == ("cut",), "contact returned, so it is tried again"
        await pass_time(30)
        assert watched.applier.names == ("one",)
        assert "not tried again until other content" in watched.enforcer.progress.error
        times = len(watched.applier.log)
        for _ in range(5):
            await watched.round()
            watched.enforcer.look_again()
            await pass_time(60)
        assert "cut" not in {name for names in watched.applier.log[times:] for name in names}
        await watched.give("two")
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)

    watched.tell_story(story)


def test_f_y15_a_manager_that_is_merely_dead_costs_one_undo_and_the_set_stays(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("two")
        await pass_time(60)
        watched.dead = True
        await watched.round()
        await pass_time(30)
        assert watched.applier.names == ("one",)
        watched.dead = False
        await watched.round()
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)
        await pass_time(WINDOW + 1)
        assert watched.applier.names == ("two",)
        assert watched.enforcer.trials.all_undone == ()

    watched.tell_story(story)


def test_a_manager_that_restarts_while_it_is_asked_for_changes_nothing(watched):
    async def story():
        await watched.give("one")
        await pass_time(60)
        watched.dead = True
        await watched.round()
        await pass_time(12)
        watched.dead = False
        await pass_time(60)
        assert (watched.applier.names, watched.said) == (("one",), APPLIED)
        asked = len(watched.probes)
        await watched.round()
        await pass_time(200)
        assert len(watched.probes) == asked

    watched.tell_story(story)


def test_f_y15_a_bundle_signed_anew_with_the_same_set_neither_applies_nor_forgets(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        for _ in range(2):
            await watched.give("cut")
            await pass_time(40)
            await watched.round()
            await pass_time(40)
        log = list(watched.applier.log)
        await watched.give("cut")
        assert (watched.applier.log, watched.said) == (log, (Outcome.FAILED, "policy.undone_contact"))
        await watched.restart()
        await watched.give("cut")
        await pass_time(100)
        assert watched.applier.names == ("one",)
        assert watched.said == (Outcome.FAILED, "policy.undone_contact")
        await watched.give("one")
        assert (watched.applier.names, watched.said) == (("one",), APPLIED)
        log = list(watched.applier.log)
        await watched.give("one")
        assert watched.applier.log == log, "what is in force is not applied again"
        assert watched.enforcer.progress.applied_serial == watched.serial

    watched.tell_story(story)


def test_rel_11_a_check_that_fails_three_times_in_a_row_undoes_the_set(watched):
    async def story():
        watched.checks["two"] = "shop-answers"
        await watched.give("one")
        await pass_time(WINDOW + 1)
        assert watched.checked == []
        watched.failing["shop-answers"] = "connection refused"
        begun = watched.clock.elapsed
        await watched.give("two")
        await pass_time(15)
        watched.failing.clear()
        await pass_time(10)
        watched.failing["shop-answers"] = "connection refused"
        await pass_time(21)
        assert watched.applier.names == ("two",), "twice is not three times in a row"
        await pass_time(10)
        assert watched.applier.names == ("one",)
        assert watched.said == (Outcome.FAILED, "policy.undone_check")
        assert "connection refused" in watched.enforcer.progress.error
        assert [at - begun for at in watched.checked] == [0, 10, 20, 30, 40, 50]
        await watched.round()
        assert watched.applier.names == ("one",), "contact alone does not bring it back"
        watched.failing.clear()
        watched.enforcer.look_again()
        await watched.round()
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)

    watched.tell_story(story)


def test_rel_11_a_set_that_follows_another_too_soon_goes_back_to_that_one(watched):
    async def story():
        await watched.give("one")
        await watched.give("two")
        watched.checks["three"], watched.failing["is-well"] = "is-well", "it is not"
        await watched.give("three")
        await pass_time(25)
        assert watched.applier.names == ("two",), "not to nothing, though one and two are minutes old"
        assert watched.said == (Outcome.FAILED, "policy.undone_check")
        assert watched.enforcer.progress.applied_serial == 2
        assert watched.enforcer.trials.trial.resolved == watched.enforcer.progress.applied_resolved
        await watched.round()
        await pass_time(WINDOW + 1)
        assert (watched.applier.names, watched.enforcer.trials.trial) == (("two",), None)

    watched.tell_story(story)


def test_rel_11_a_former_set_that_failed_its_own_check_is_not_gone_back_to(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        watched.checks |= {"two": "is-well", "three": "is-well"}
        watched.failing["is-well"] = "it is not"
        await watched.give("two")
        await pass_time(1)
        await watched.give("three")
        await pass_time(25)
        assert watched.applier.names == ("one",)

    watched.tell_story(story)


def test_a_window_of_nothing_watches_nothing(keys):
    watched = Watched(keys, window=0.0)

    async def story():
        await watched.give("cut")
        await pass_time(1000)
        assert (watched.applier.names, watched.said, watched.probes) == (("cut",), APPLIED, [])
        assert "probation.json" not in watched.storage.files
        assert watched.enforcer.trials.watched_until == 0

    watched.tell_story(story)


def test_a_set_that_does_not_apply_leaves_the_trial_of_the_one_before(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("two")
        trial = watched.enforcer.trials.trial
        watched.applier.broken = frozenset({"wrong"})
        await watched.give("wrong")
        assert watched.said == (Outcome.FAILED, "policy.validate")
        assert watched.enforcer.trials.trial == trial
        watched.dead = True
        await watched.round()
        await pass_time(30)
        assert watched.applier.names == ("one",)

    watched.tell_story(story)


def test_an_undo_that_fails_is_said_and_tried_again(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("cut")
        watched.applier.broken = frozenset({"one"})
        await pass_time(30)
        assert watched.applier.names == ("cut",)
        assert "could not be undone yet" in watched.enforcer.progress.error
        watched.applier.broken = frozenset()
        await pass_time(11)
        assert watched.applier.names == ("one",)
        assert "could not be undone" not in watched.enforcer.progress.error

    watched.tell_story(story)


def test_what_was_heard_from_a_trial_that_is_over_undoes_nothing(watched):
    async def story():
        await watched.give("cut")
        await pass_time(20)
        await watched.give("two")
        await pass_time(100)
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)

    watched.tell_story(story)


@given(draw=st.floats(0, 0.999), events=st.lists(st.sampled_from(["lost", "heard"]), max_size=4))
def test_contact_is_given_up_within_30_seconds_of_the_first_failure_and_never_while_it_is_there(draw, events):
    clock, contact = VirtualClock(), Contact(lambda: draw)
    for event in events:
        getattr(contact, event)(*([0.0] if event == "lost" else []))
    assert (contact.due == math.inf) is (not events or events[-1] == "heard")
    contact.heard()
    contact.applied(0.0)
    assert contact.due == ANSWER
    clock.elapsed = ANSWER
    given_up = 0.0
    while not given_up:
        clock.elapsed = max(clock.elapsed, contact.due)
        contact.begin_probe(clock.elapsed)
        given_up = contact.probed(clock.elapsed + 4.0, reachable=False)
    assert PROBES[-1] <= given_up <= PROBES[-1] + JITTER + 4.0 <= 30
    assert contact.due == math.inf


def move(watched, location):
    """Have the machine be elsewhere, as a change of its network does."""
    enforcer = watched.enforcer
    assert enforcer.move(Whereabouts(location, (f"it is in {location}",)), enforcer.rules)


def test_a_machine_that_moved_by_itself_is_not_watched_for_contact_but_for_all_else(watched):
    async def story():
        watched.checks["cut"] = "shop-answers"
        bundle = watched.bundle(rules_of(office=OFFICE), default="one", office="cut")
        await watched.take(bundle)
        await pass_time(WINDOW + 1)
        move(watched, "office")
        await watched.settle()
        assert not watched.enforcer.trials.trial.contact
        await watched.round()
        await pass_time(100)
        assert (watched.applier.names, watched.probes) == (("cut",), [])
        watched.failing["shop-answers"] = "closed"
        await pass_time(31)
        assert (watched.applier.names, watched.said) == (("one",), (Outcome.FAILED, "policy.undone_check"))
        move(watched, "default")
        await watched.settle()
        assert (watched.applier.names, watched.said) == (("one",), APPLIED)
        move(watched, "office")
        await watched.settle()
        assert watched.applier.names == ("one",), "what was undone there is remembered"
        assert watched.said == (Outcome.FAILED, "policy.undone_check")
        watched.failing.clear()
        watched.enforcer.look_again()
        await watched.settle()
        assert (watched.applier.names, watched.said) == (("cut",), APPLIED)

    watched.tell_story(story)


def test_new_settings_alone_are_watched_too_since_they_may_lead_nowhere(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        bundle = watched.bundle(default="one")
        held = bundle.locations["default"]
        slow = replace(held, communication=replace(held.communication, heartbeat=7200.0))
        await watched.take(replace(bundle, locations={"default": slow}))
        assert watched.heartbeat == 7200
        watched.dead = True
        await watched.round()
        await pass_time(31)
        assert watched.heartbeat == 300
        assert watched.said == (Outcome.FAILED, "policy.undone_contact")

    watched.tell_story(story)
