"""A candidate that a machine holds: fetched and checked, used once the assignment names it, and given back."""

import itertools

import pytest

from popham.errors import LinkError, PolicyError
from popham.model.bundle import BUNDLE_TYPE
from popham.model.rollout import RolloutRef
from popham.model.status import Outcome
from popham.resolve.build import stage, widen
from popham.trust.dsse import seal

from .orders import OFFICE, Orders, rules_of
from .watched import Killed, Watched

REF = RolloutRef(id="r1", salt="salt", ppm=0, wave=1, stable_serial=0, named=True)


@pytest.fixture
def orders(keys):
    return Orders(keys)


@pytest.fixture
def watched(keys):
    return Watched(keys, window=60.0)


class Held:
    """What a Manager publishes: a bundle for all, and then another whose candidate is held."""

    def __init__(self, machine, rules=None, **policies):
        self.machine = machine
        self.first = machine.bundle(rules, **policies)

    def then(self, rules=None, **policies):
        self.bundle = stage(self.first, self.machine.bundle(rules, **policies), REF)
        return self.bundle

    def widened(self, **said):
        self.machine.serial += 1
        said = {"ppm": 0, "wave": 1, "named": True} | said
        self.bundle = widen(self.bundle, now=self.machine.serial / 1000, **said)
        return self.bundle


def publish(machine, bundle):
    machine.enforcer.take(seal(BUNDLE_TYPE, bundle.payload(), machine.keys.director), {})


def candidate_of(bundle, location="default"):
    return bundle.candidate.locations[location].resolved_digest


async def hold(orders, rules=None, **policies):
    """Have one policy in force, and another as a candidate."""
    held = Held(orders, default="one")
    publish(orders, held.first)
    await orders.settle()
    await orders.enforcer.prove(orders.enforcer.trials.number)
    publish(orders, held.then(rules, **(policies or {"default": "two"})))
    await orders.settle()
    return held


def test_f_y9_a_candidate_is_fetched_checked_and_held_and_changes_nothing(orders):
    async def story():
        held = await hold(orders)
        enforcer = orders.enforcer
        assert orders.applied[-1] == ("one",)
        assert orders.fetched == ["one", "two"]
        assert orders.applier.checked == [("two@1",)]
        assert (enforcer.candidate, enforcer.uses_candidate) == (candidate_of(held.bundle), False)
        assert (enforcer.progress.outcome, enforcer.progress.applied_serial) == (Outcome.APPLIED, 1)
        await orders.settle()
        assert len(orders.applier.checked) == 1

    orders.tell_story(story)


def test_f_y9_an_assignment_that_names_it_has_it_applied_and_another_gives_it_back(orders):
    async def story():
        held = await hold(orders)
        orders.assign("fleet", "r1")
        assert orders.enforcer.progress.outcome is Outcome.APPLYING
        await orders.settle()
        enforcer = orders.enforcer
        assert orders.applied[-1] == ("two",)
        assert (enforcer.uses_candidate, enforcer.candidate) == (True, "")
        assert enforcer.progress.applied_resolved == candidate_of(held.bundle)
        assert enforcer.progress.applied_serial == 2
        orders.assign("fleet")
        await orders.settle()
        assert orders.applied[-1] == ("one",)
        assert (enforcer.progress.applied_serial, enforcer.candidate) == (1, candidate_of(held.bundle))

    orders.tell_story(story)


def test_f_y9_a_rollout_that_is_halted_takes_it_back_from_those_who_had_it_by_name(orders):
    async def story():
        held = await hold(orders)
        orders.assign("fleet", "r1")
        await orders.settle()
        publish(orders, held.widened(named=False))
        await orders.settle()
        assert orders.applied[-1] == ("one",)
        assert not orders.enforcer.uses_candidate
        assert orders.enforcer.candidate == ""
        publish(orders, held.widened())
        await orders.settle()
        assert orders.applied[-1] == ("two",)

    orders.tell_story(story)


def test_f_y9_a_candidate_that_fails_its_check_is_reported_beside_what_is_in_force(watched):
    async def story():
        watched.applier.broken = {"two"}
        await hold(watched)
        enforcer = watched.enforcer
        assert watched.applier.names == ("one",)
        assert enforcer.candidate == ""
        assert "does not parse" in enforcer.candidate_error
        assert (enforcer.progress.outcome, enforcer.progress.error_code) == (Outcome.APPLIED, "")
        watched.applier.broken = frozenset()
        await watched.settle()
        assert enforcer.candidate_error
        enforcer.look_again()
        await watched.settle()
        assert enforcer.candidate
        assert enforcer.candidate_error == ""

    watched.tell_story(story)


def test_f_y9_a_candidate_whose_body_is_not_there_yet_is_held_at_a_later_contact(orders):
    async def story():
        held = Held(orders, default="one")
        publish(orders, held.first)
        await orders.settle()
        publish(orders, held.then(default="two"))
        orders.away = True
        with pytest.raises(LinkError):
            await orders.settle()
        assert orders.enforcer.candidate == ""
        assert [ref.name for ref in orders.enforcer.lacking] == ["two"]
        orders.away = False
        await orders.settle()
        assert orders.enforcer.candidate == candidate_of(held.bundle)
        assert not orders.enforcer.missing

    orders.tell_story(story)


def test_the_candidate_of_an_ordinary_rollout_is_not_fetched_by_those_outside_its_cohort(orders):
    async def story():
        held = Held(orders, default="one")
        publish(orders, held.first)
        await orders.settle()
        held.then(default="two")
        publish(orders, held.widened(named=False))
        await orders.settle()
        assert orders.fetched == ["one"]

    orders.tell_story(story)


def test_f_y9_where_a_candidate_has_other_locations_that_of_the_machine_is_held(orders):
    async def story():
        rules = rules_of(office=OFFICE)
        held = await hold(orders, rules, default="two", office="three")
        assert sorted(orders.fetched) == ["one", "three", "two"]
        assert orders.enforcer.candidate == candidate_of(held.bundle)
        orders.assign("fleet", "r1")
        await orders.settle()
        assert orders.applied[-1] == ("two",)

    orders.tell_story(story)


def test_an_assignment_to_another_group_leaves_the_sides_of_the_bundle_it_still_has(orders):
    async def story():
        await hold(orders)
        orders.assign("fleet", "r1")
        await orders.settle()
        orders.assign("other")
        await orders.settle()
        assert orders.applied[-1] == ("two",)

    orders.tell_story(story)


@pytest.mark.parametrize("back", [False, True], ids=["taken", "given back"])
def test_f_y9_a_process_that_ends_anywhere_on_the_way_has_the_next_go_on_from_there(keys, back):
    """Kill it after each change of its disk: the next process ends where the assignment wants it."""
    for left in itertools.count():
        watched = Watched(keys)
        done = []

        async def story(watched=watched, left=left, done=done):
            await hold(watched)
            if back:
                watched.assign("fleet", "r1")
                await watched.settle()
            watched.storage.left = left
            try:
                watched.assign("fleet", "" if back else "r1")
                await watched.settle()
                done.append(True)
            except Killed:
                await watched.restart()
                if watched.state.assignment_floor() < (3 if back else 2) or not _wanted(watched, back):
                    watched.assign("fleet", "" if back else "r1")
            await watched.settle()
            assert watched.applier.names == (("one",) if back else ("two",))
            assert watched.enforcer.in_force.uses_candidate is not back
            assert watched.enforcer.progress.applied_serial == (1 if back else 2)
            assert watched.said == (Outcome.APPLIED, "")

        watched.tell_story(story)
        if done:
            return


def _wanted(watched, back):
    assignment = watched.enforcer.assignment
    return assignment is not None and assignment.candidate == ("" if back else "r1")


@pytest.mark.parametrize("kills", range(3))
def test_f_y9_what_is_undone_after_a_restart_goes_back_to_the_side_that_held(keys, kills):
    """The bundle on trial and the one to go back to are one envelope, of which the assignment says one side only."""
    watched = Watched(keys)

    async def story():
        await hold(watched)
        watched.assign("fleet", "r1")
        await watched.settle()
        assert watched.applier.names == ("two",)
        for _ in range(kills):
            await watched.restart()
            await watched.settle()
        undone = PolicyError("undone_check", "it was undone")
        await watched.enforcer.undo(watched.enforcer.trials.number, undone)
        assert watched.applier.names == ("one",)
        assert watched.enforcer.progress.applied_serial == 1
        assert not watched.enforcer.in_force.uses_candidate
        assert watched.said == (Outcome.FAILED, "policy.undone_check")

    watched.tell_story(story)
