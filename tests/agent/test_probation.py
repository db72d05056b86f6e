"""What is kept of a trial, so that a kill at any step leaves a set that is whole, and the way back."""

import contextlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from popham.agent.in_force import InForce
from popham.agent.probation import CHECK, CONTACT, MAX_UNDONE, Trials
from popham.agent.state import MemoryAgentState
from popham.errors import PolicyError
from popham.model.bundle import BUNDLE_TYPE
from popham.model.names import digest
from popham.model.status import Outcome
from popham.testing.virtual import VirtualClock, pass_time
from popham.trust.dsse import seal

from .watched import WINDOW, Killed, Watched

ONE, CUT = ("one",), ("cut",)


async def survive(watched):
    """Begin again after a kill, and let contact come and go until nothing more happens."""
    await watched.restart()
    for _ in range(4):
        await watched.round()
        await pass_time(31)


async def meet(watched, name):
    """Take a bundle, in a process that may end on the way; return whether it did."""
    bundle = watched.bundle(default=name)
    with contextlib.suppress(Killed):
        await watched.take(bundle)
        return False
    return True


def steps_of(keys, ends_after):
    """Return how many changes of the disk and of the machine a whole story takes."""
    watched = Watched(keys)
    counted = 0

    async def story():
        nonlocal counted
        await watched.give("one")
        await pass_time(WINDOW + 1)
        watched.storage.left = 10_000
        await watched.give("cut")
        await pass_time(ends_after)
        counted = 10_000 - watched.storage.left

    watched.tell_story(story)
    return counted


@pytest.mark.parametrize("again", [False, True])
def test_rel_11_a_kill_at_any_step_ends_with_the_proven_set_and_two_tries_at_most(keys, again):
    for step in range(steps_of(keys, 40)):
        watched = Watched(keys)

        async def story(watched=watched, step=step):
            await watched.give("one")
            await pass_time(WINDOW + 1)
            watched.storage.left = step
            await meet(watched, "cut")
            assert watched.applier.names in {ONE, CUT}
            await pass_time(40)
            if again:
                await watched.restart()
                watched.storage.left = step
                with contextlib.suppress(Killed):
                    await watched.round()
                await pass_time(40)
            assert watched.applier.names in {ONE, CUT}
            await survive(watched)
            if watched.enforcer.newest.bundle.serial < watched.serial:
                # The process ended before the bundle was kept, so upstream sends it again.
                await watched.give("cut")
                await pass_time(31)
                await survive(watched)
            assert watched.applier.names == ONE, step
            assert watched.said == (Outcome.FAILED, CONTACT), step
            assert watched.tries[CUT] <= 2, step
            assert (
                watched.enforcer.progress.applied_resolved == watched.enforcer.in_force.held.resolved_digest
            )
            await watched.give("two")
            assert (watched.applier.names, watched.said[0]) == (("two",), Outcome.APPLIED)

        watched.tell_story(story)


def test_rel_11_a_kill_at_any_step_of_an_undo_leads_back_all_the_same(keys):
    whole, before = steps_of(keys, 40), steps_of(keys, 1)
    assert whole > before
    for step in range(whole - before):
        watched = Watched(keys)

        async def story(watched=watched, step=step):
            await watched.give("one")
            await pass_time(WINDOW + 1)
            await watched.give("cut")
            await pass_time(1)
            watched.storage.left = step
            await pass_time(40)
            assert watched.applier.names in {ONE, CUT}
            await watched.restart()
            await pass_time(1)
            assert watched.applier.names == (CUT if step == 0 else ONE), "nobody upstream was needed"
            await survive(watched)
            assert watched.applier.names == ONE
            assert watched.said == (Outcome.FAILED, CONTACT)
            assert watched.tries[CUT] == 2

        watched.tell_story(story)


def test_rel_11_bodies_of_the_proven_set_are_kept_while_another_is_on_trial(keys):
    watched = Watched(keys)

    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        for name in ("two", "three", "four"):
            await watched.give(name)
        assert len(watched.storage.names("blobs")) == 3, "the proven one, the former one, the newest"
        watched.dead = True
        await watched.restart()
        await watched.round()
        await pass_time(31)
        assert watched.applier.names == ("three",), "one step back, which did well until then"
        await pass_time(100)
        assert watched.applier.names == ("three",), "that did not help, so nothing further back would"
        number, broke = watched.enforcer.trials.number, PolicyError("undone_check", "it is not well")
        await watched.enforcer.undo(number, broke)
        assert watched.applier.names == ONE, "for another reason it goes all the way"
        assert watched.enforcer.in_force.bundle.serial == 1

    watched.tell_story(story)


def test_a_set_that_goes_back_to_the_proven_one_is_not_on_trial(keys):
    watched = Watched(keys)

    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        await watched.give("two")
        assert watched.enforcer.trials.trial is not None
        await watched.give("one")
        assert watched.enforcer.trials.trial is None
        watched.dead = True
        await watched.round()
        await pass_time(100)
        assert (watched.applier.names, watched.probes) == (ONE, [])

    watched.tell_story(story)


def test_an_agent_of_before_0_4_0_goes_on_with_what_it_has_as_proven(keys):
    watched = Watched(keys)

    async def story():
        await watched.give("one")
        for name in ("probation.json", "proven.json"):
            watched.storage.files.pop(name, None)
        await watched.restart()
        await watched.give("cut")
        await pass_time(31)
        assert watched.applier.names == ONE

    watched.tell_story(story)


EVENTS = st.lists(
    st.one_of(
        st.sampled_from(["round", "dead", "alive", "restart", "check-in"]),
        st.tuples(st.just("give"), st.sampled_from(["one", "two", "cut", "wrong"])),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 12.0, 31.0, 400.0, 700.0])),
        st.tuples(st.just("kill"), st.integers(0, 12)),
    ),
    max_size=14,
)


async def happen(watched, event):
    """Let one thing happen; a process that was killed is begun again, and gets in touch first thing."""
    kind, value = event if isinstance(event, tuple) else (event, None)
    try:
        if kind == "give" and watched.reachable:
            await watched.give(value)
        elif kind == "round":
            await watched.round()
        elif kind == "check-in":
            watched.enforcer.look_again()
            await watched.round()
        elif kind == "wait":
            await pass_time(value)
        elif kind == "kill":
            watched.storage.left = value
        elif kind in {"dead", "alive"}:
            watched.dead = kind == "dead"
    except Killed:
        kind = "restart"
    if kind == "restart" or any(task.done() for task in watched.tasks):
        await watched.restart()
        await watched.round()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
@example(
    events=[
        ("give", "one"),
        ("wait", 700.0),
        ("give", "cut"),
        "restart",
        "restart",
        "restart",
        ("wait", 31.0),
    ]
)
def test_rel_11_whatever_happens_the_machine_ends_with_the_proven_or_the_new_set(keys, events):
    watched = Watched(keys)

    async def story():
        watched.applier.broken = frozenset({"wrong"})
        for event in events:
            await happen(watched, event)
            assert watched.applier.names in {(), ONE, ("two",), CUT}
        watched.dead, watched.storage.left = False, None
        await survive(watched)
        progress, enforcer = watched.enforcer.progress, watched.enforcer
        assert watched.tries[CUT] <= 2 + ("dead" in events) + events.count("check-in")
        assert not watched.cut
        if enforcer.newest is None:
            return
        assert progress.outcome in {Outcome.APPLIED, Outcome.FAILED}
        held = enforcer.in_force
        names = tuple(ref.name for ref in held.held.policies) if held else ()
        assert watched.applier.names == names
        assert progress.applied_resolved == (held.held.resolved_digest if held else "")
        if progress.outcome is Outcome.APPLIED:
            assert held.held.resolved_digest == enforcer.newest.held.resolved_digest

    watched.tell_story(story)


def trials_with(orders, window=WINDOW):
    """Return trials, and a set in force, out of thin air."""
    bundle = orders.bundle(default="one")
    envelope = seal(BUNDLE_TYPE, bundle.payload(), orders.keys.director)
    state = MemoryAgentState()
    return Trials(state, VirtualClock(), window), InForce.of(bundle, orders.state.uid, envelope), state


def test_what_was_undone_is_remembered_for_so_many_sets(orders):
    trials, held, state = trials_with(orders)
    for number in range(MAX_UNDONE + 4):
        trials.begin(digest(b"%d" % number), number, held, contact=True)
        trials.applied()
        trials.undo(CHECK, "it failed")
        trials.gone_back(0, former=False)
    assert [one.serial for one in trials.all_undone] == list(range(4, MAX_UNDONE + 4))
    again = Trials(state, VirtualClock(), WINDOW)
    assert again.all_undone == trials.all_undone


def test_only_what_was_asked_for_releases_a_failed_check_and_contact_releases_once(orders):
    trials, held, _ = trials_with(orders)
    for code in (CHECK, CONTACT):
        one = digest(code.encode())
        trials.begin(one, 1, held, contact=True)
        trials.applied()
        trials.undo(code, "it failed")
        assert not trials.release(one, asked=True), "it is still being undone"
        trials.gone_back(0, former=False)
        assert trials.release(one, asked=False) is (code == CONTACT)
        assert trials.release(one, asked=True) is (code == CHECK)
        assert trials.undone(one) is None
    one = digest(CONTACT.encode())
    trials.begin(one, 1, held, contact=True)
    trials.applied()
    assert trials.is_last
    trials.undo(CONTACT, "it failed")
    trials.gone_back(0, former=False)
    assert not trials.release(one, asked=True)


def test_rel_11_a_disk_that_is_full_for_a_while_puts_an_undo_off_and_nothing_more(keys):
    watched = Watched(keys)

    def full():
        raise OSError(28, "No space left on device")

    async def story():
        watched.checks["two"] = "shop-answers"
        await watched.give("one")
        await pass_time(WINDOW + 1)
        for name, code in (("cut", CONTACT), ("two", CHECK)):
            watched.failing["shop-answers"] = "closed"
            await watched.give(name)
            spend, watched.storage.spend = watched.storage.spend, full
            await pass_time(60)
            assert watched.applier.names == (name,)
            watched.storage.spend = spend
            await pass_time(60)
            assert watched.applier.names == ONE
            assert watched.said == (Outcome.FAILED, code)

    watched.tell_story(story)
