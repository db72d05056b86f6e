"""What a loss of contact says of a set, where other things happen to the machine, and what an undo goes back to."""

import pytest

from popham.model.bundle import BUNDLE_TYPE
from popham.model.location import Whereabouts
from popham.model.status import Outcome
from popham.testing.virtual import pass_time
from popham.trust.dsse import seal

from .orders import OFFICE, rules_of
from .watched import WINDOW, Watched

APPLIED = (Outcome.APPLIED, "")
CONTACT = (Outcome.FAILED, "policy.undone_contact")
RULES = rules_of(office=OFFICE)


@pytest.fixture
def watched(keys):
    return Watched(keys)


async def move(watched, location):
    assert watched.enforcer.move(Whereabouts(location, (f"it is in {location}",)), watched.enforcer.rules)
    await watched.settle()


async def in_office(watched, **policies):
    """Have a set of the office prove itself."""
    await watched.take(watched.bundle(RULES, **policies))
    await move(watched, "office")
    await watched.round()
    await pass_time(WINDOW + 1)
    await watched.round()


async def lose(watched, seconds=40):
    watched.dead = True
    await watched.round()
    await pass_time(seconds)


async def find(watched):
    watched.dead = False
    await watched.round()


# A set that moves its machine.


def test_rel_11_a_set_that_cuts_the_network_and_so_moves_its_machine_is_undone_with_that_of_the_other_place(
    watched,
):
    async def story():
        await in_office(watched, default="one", office="eins")
        await watched.take(watched.bundle(RULES, default="cut-a", office="cut-b"))
        await pass_time(3)
        await move(watched, "default")
        assert watched.applier.names == ("cut-a",)
        await pass_time(31)
        assert (watched.applier.names, watched.said) == (("eins",), CONTACT)
        await move(watched, "office")
        assert (watched.applier.names, watched.said) == (("eins",), CONTACT), "neither is tried by itself"
        for _ in range(20):
            await watched.round()
            await pass_time(60)
        assert watched.reachable
        assert watched.tries[("cut-b",)] == 2

    watched.tell_story(story)


def test_rel_11_a_set_whose_machine_finds_contact_in_the_other_place_is_undone_in_its_own(watched):
    async def story():
        await in_office(watched, default="one", office="eins")
        for default in ("zwei", "eins"):
            await watched.take(watched.bundle(RULES, default=default, office="cut"))
            for tries in (1, 2):
                await pass_time(3)
                await move(watched, "default")
                await watched.round()
                assert watched.applier.names == (default,), "the network is back"
                assert watched.enforcer.trials.all_undone[-1].times == tries
                await move(watched, "office")
                assert watched.said == CONTACT
                await watched.round()
            assert watched.reachable, "the second time is final"
            await watched.take(watched.bundle(RULES, default="one", office="eins"))
            await pass_time(WINDOW + 1)
            watched.enforcer.trials._keep(undone=())

    watched.tell_story(story)


def test_rel_11_a_set_that_moves_its_machine_to_what_has_proven_itself_is_undone_by_that(watched):
    async def story():
        rules = rules_of(shop=OFFICE)
        await watched.take(watched.bundle(rules, default="one", shop="one"))
        await move(watched, "shop")
        await pass_time(WINDOW + 1)
        await watched.take(watched.bundle(rules, default="one", shop="cut"))
        await pass_time(3)
        await move(watched, "default")
        assert (watched.applier.names, watched.enforcer.trials.trial) == (("one",), None)
        await move(watched, "shop")
        assert (watched.applier.names, watched.said) == (("one",), CONTACT)

    watched.tell_story(story)


def test_an_answer_on_its_way_while_the_set_of_the_other_place_is_applied_is_none_to_that(watched):
    async def story():
        await in_office(watched, default="one", office="eins")
        await watched.take(watched.bundle(RULES, default="cut-a", office="cut-b"))
        await pass_time(3)
        apply = watched.applier.apply

        async def late(policies):
            watched.enforcer.heard()
            await apply(policies)

        watched.applier.apply = late
        await move(watched, "default")
        watched.applier.apply = apply
        assert len(watched.enforcer.trials.trial.before) == 1
        await pass_time(31)
        assert (watched.applier.names, watched.said) == (("eins",), CONTACT)
        assert [one.times for one in watched.enforcer.trials.all_undone] == [1, 1]
        await move(watched, "office")
        assert (watched.applier.names, watched.said) == (("eins",), CONTACT)

    watched.tell_story(story)


def test_a_laptop_that_leaves_the_office_after_an_answer_is_not_watched_for_contact(watched):
    async def story():
        await in_office(watched, default="one", office="eins")
        await watched.take(watched.bundle(RULES, default="two", office="zwei"))
        await pass_time(60)
        await move(watched, "default")
        assert not watched.enforcer.trials.trial.contact
        await lose(watched)
        assert (watched.applier.names, watched.probes) == (("two",), [])

    watched.tell_story(story)


# A machine that is offline for reasons of its own.


async def answered(watched, seconds=120):
    await watched.give("one")
    await pass_time(WINDOW + 1)
    await watched.round()
    await watched.give("two")
    await pass_time(seconds)
    await watched.round()


def sleeps(watched):
    watched.slept += 3600


def roams(watched):
    watched.health.network_changed(connected=True)


def is_unplugged(watched):
    watched.health.network_changed(connected=False)


@pytest.mark.parametrize("happens", [sleeps, roams, is_unplugged])
@pytest.mark.parametrize("late", [0, 10])
def test_a_loss_that_something_else_explains_does_not_speak_against_a_set_that_was_answered(
    watched, happens, late
):
    async def story():
        await answered(watched)
        if late:
            await lose(watched, late)
        happens(watched)
        await lose(watched)
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)
        await find(watched)
        await lose(watched)
        assert watched.applier.names == ("one",), "the next loss is another one"

    watched.tell_story(story)


@pytest.mark.parametrize("happens", [sleeps, roams, is_unplugged])
def test_rel_11_nothing_explains_a_loss_under_a_set_that_was_never_answered(watched, happens):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("cut")
        happens(watched)
        await pass_time(70)
        happens(watched)
        assert (watched.applier.names, watched.said) == (("one",), CONTACT)

    watched.tell_story(story)


def test_rel_11_a_network_that_is_gone_soon_after_a_set_came_is_no_excuse(watched):
    async def story():
        await answered(watched, 30)
        is_unplugged(watched)
        await lose(watched)
        assert (watched.applier.names, watched.said) == (("one",), CONTACT)

    watched.tell_story(story)


def test_a_laptop_that_is_shut_down_in_a_window_and_begins_without_a_network_keeps_its_set(watched):
    async def story():
        await answered(watched)
        await watched.restart(clean=True)
        await lose(watched)
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)
        await find(watched)
        await watched.restart()
        await lose(watched)
        assert watched.applier.names == ("one",), "this process did not end as it should"

    watched.tell_story(story)


def test_f_y15_a_set_that_had_contact_when_it_was_tried_again_has_one_more_try(watched):
    async def story():
        await answered(watched)
        for _ in range(2):
            await lose(watched)
            assert (watched.applier.names, watched.said) == (("one",), CONTACT)
            await find(watched)
            assert (watched.applier.names, watched.said) == (("two",), APPLIED)
            await pass_time(60)
        await lose(watched)
        await find(watched)
        watched.enforcer.look_again()
        await watched.round()
        assert (watched.applier.names, watched.said) == (("one",), CONTACT)
        assert "tried three times" in watched.enforcer.progress.error

    watched.tell_story(story)


def test_a_set_that_does_not_apply_does_not_make_that_of_before_one_that_was_never_answered(watched):
    async def story():
        await answered(watched)
        watched.applier.broken = frozenset({"wrong"})
        assert watched.enforcer.trials.answered
        bundle = watched.bundle(default="wrong")
        watched.enforcer.take(seal(BUNDLE_TYPE, bundle.payload(), watched.keys.director), {})
        await watched.settle()
        assert watched.said == (Outcome.FAILED, "policy.validate")
        assert watched.enforcer.trials.answered

    watched.tell_story(story)


# What cannot be gone back to.


def test_rel_11_a_damaged_former_set_is_left_out(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("two")
        await watched.give("cut")
        watched.storage.files["former.json"] = b"{"
        await pass_time(31)
        assert (watched.applier.names, watched.said) == (("one",), CONTACT)
        await watched.give("three")
        assert watched.said == APPLIED

    watched.tell_story(story)


@pytest.mark.parametrize("damage", [b"{", b"{}", None])
def test_rel_11_where_nothing_can_be_gone_back_to_the_set_stays_and_that_is_said(watched, damage):
    async def story():
        watched.checks["two"] = "look"
        await watched.give("one")
        await pass_time(WINDOW + 1)
        watched.failing["look"] = "broken"
        await watched.give("two")
        watched.storage.files["proven.json"] = damage
        if damage is None:
            del watched.storage.files["proven.json"]
        await pass_time(100)
        assert (watched.applier.names, watched.said) == (("two",), (Outcome.FAILED, "policy.undone_check"))
        assert "There is nothing to go back to" in watched.enforcer.progress.error
        assert watched.enforcer.trials.trial is None
        await watched.restart()
        await watched.give("three")
        await watched.give("cut")
        await pass_time(31)
        assert watched.applier.names == ("three",)

    watched.tell_story(story)
