"""Undoing, while other content, another location or another process comes in between (REL-11)."""

import asyncio
import contextlib

import pytest

from popham.agent.credentials import Credentials
from popham.agent.end import AgentEnd
from popham.errors import PolicyError
from popham.model.bundle import BUNDLE_TYPE
from popham.model.location import Whereabouts
from popham.model.status import Outcome
from popham.opamp.codec import custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1.popham_pb2 import Directive
from popham.testing.virtual import VirtualClock, pass_time, run_virtual
from popham.trust.dsse import seal

from .orders import OFFICE, rules_of
from .watched import WINDOW, Killed, Watched

BROKE = PolicyError("undone_check", "it broke the shop")
APPLIED = (Outcome.APPLIED, "")
UNDONE = (Outcome.FAILED, "policy.undone_check")


@pytest.fixture
def watched(keys):
    return Watched(keys)


async def on_trial(watched):
    """Have one set prove itself, and begin the trial of another."""
    await watched.give("one")
    await pass_time(WINDOW + 1)
    await watched.give("two")


def slow(watched, name, seconds=20.0):
    """Have it take a while to apply the set of this name."""
    apply = watched.applier.apply

    async def wait(policies):
        if [one.ref.name for one in policies] == [name]:
            await asyncio.sleep(seconds)
        await apply(policies)

    watched.applier.apply = wait


def dies(watched, name):
    """Have the process end when it begins to apply the set of this name."""
    apply = watched.applier.apply

    async def end(policies):
        if [one.ref.name for one in policies] == [name]:
            raise Killed
        await apply(policies)

    watched.applier.apply = end


def undo(watched):
    return asyncio.ensure_future(watched.enforcer.undo(watched.enforcer.trials.number, BROKE))


def test_a_window_that_ends_while_the_next_set_is_applied_does_not_end_the_watch_of_that(watched):
    async def story():
        await on_trial(watched)
        slow(watched, "cut")
        await pass_time(WINDOW - 10)
        await watched.round()
        giving = asyncio.ensure_future(watched.give("cut"))
        await pass_time(25)
        assert watched.applier.names == ("cut",)
        assert watched.enforcer.trials.trial is not None
        await giving
        await pass_time(60)
        assert watched.applier.names == ("two",)

    watched.tell_story(story)


def test_content_that_comes_while_a_set_is_undone_is_applied(watched):
    async def story():
        await on_trial(watched)
        slow(watched, "one")
        undoing = undo(watched)
        await pass_time(5)
        await watched.give("three")
        await undoing
        assert (watched.applier.names, watched.said) == (("three",), APPLIED)

    watched.tell_story(story)


def test_content_that_comes_while_a_set_cannot_be_undone_is_applied(watched):
    async def story():
        await on_trial(watched)
        slow(watched, "one")
        watched.applier.broken = frozenset({"one"})
        undoing = undo(watched)
        await pass_time(5)
        await watched.give("three")
        await undoing
        await pass_time(30)
        assert (watched.applier.names, watched.said) == (("three",), APPLIED)

    watched.tell_story(story)


def test_a_location_to_which_the_machine_moves_while_a_set_is_undone_gets_its_own(watched):
    async def story():
        rules = rules_of(office=OFFICE)
        await watched.take(watched.bundle(rules, default="one", office="eins"))
        await pass_time(WINDOW + 1)
        await watched.take(watched.bundle(rules, default="two", office="zwei"))
        slow(watched, "one")
        undoing = undo(watched)
        await pass_time(5)
        assert watched.enforcer.move(Whereabouts("office", ("an address",)), rules)
        await watched.settle()
        await undoing
        assert (watched.applier.names, watched.said) == (("zwei",), APPLIED)

    watched.tell_story(story)


def test_a_check_in_does_not_report_a_set_as_applied_that_is_still_to_be_undone(watched):
    async def story():
        watched.checks["two"] = "look"
        await on_trial(watched)
        await pass_time(60)
        await watched.round()
        watched.applier.broken, watched.failing["look"] = frozenset({"one"}), "broken"
        await pass_time(30)
        assert watched.enforcer.trials.trial.undoing
        watched.enforcer.look_again()
        await watched.settle()
        assert (watched.applier.names, watched.said) == (("two",), UNDONE)
        watched.applier.broken = frozenset()
        await pass_time(30)
        assert (watched.applier.names, watched.said) == (("one",), UNDONE), "it is tried again soon"

    watched.tell_story(story)


def test_a_set_that_was_on_trial_before_others_came_unwatched_is_not_undone(watched):
    async def story():
        await on_trial(watched)
        watched.window = 0
        await watched.restart(clean=True)
        await watched.give("three")
        watched.window = WINDOW
        await watched.restart(clean=True)
        watched.dead = True
        await watched.round()
        await pass_time(60)
        assert (watched.applier.names, watched.said) == (("three",), APPLIED)

    watched.tell_story(story)


def test_a_set_that_never_came_into_force_is_not_watched_once_the_former_one_is_wanted_again(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        dies(watched, "two")
        with contextlib.suppress(Killed):
            await watched.give("two")
        del watched.applier.apply
        await watched.restart()
        await watched.give("one")
        assert watched.enforcer.trials.trial is None
        watched.dead = True
        await watched.round()
        await pass_time(60)
        assert (watched.applier.names, watched.said) == (("one",), APPLIED)

    watched.tell_story(story)


def test_a_set_is_whole_before_who_waited_for_it_may_go(watched):
    async def story():
        await watched.give("one")
        await pass_time(WINDOW + 1)
        slow(watched, "two", 10.0)
        giving = asyncio.ensure_future(watched.give("two"))
        await pass_time(1)
        for _ in range(2):
            giving.cancel()
            await pass_time(1)
        assert watched.applier.names == ("one",)
        with pytest.raises(asyncio.CancelledError):
            await giving
        assert (watched.applier.names, watched.said) == (("two",), APPLIED)
        assert watched.enforcer.trials.trial is not None
        assert watched.enforcer.trials.trial.resolved == watched.enforcer.progress.applied_resolved

    watched.tell_story(story)


def test_an_upstream_that_asks_for_the_bundle_does_not_have_an_undone_set_tried_again(watched):
    async def story():
        watched.checks["bad"] = "look"
        await watched.give("one")
        await pass_time(WINDOW + 1)
        watched.failing["look"] = "broken"
        await watched.give("bad")
        await pass_time(60)
        credentials = Credentials(watched.state, watched.clock, lambda: 0.5, lambda: None)
        end = AgentEnd(
            watched.state,
            watched.enforcer,
            credentials,
            facts={},
            fetch=watched.fetch,
            version="0.4.0",
            news=asyncio.Event(),
        )
        asks = custom(Directive(generation=1, want_bundle=True))
        for _ in range(3):
            await end.receive(ServerToAgent(instance_uid=end.uid, custom_message=asks).SerializeToString())
            assert end.news.is_set()
            assert watched.state.bundle() in end.report(force=False)
        assert (watched.applier.names, watched.said) == (("one",), UNDONE)
        assert watched.tries[("bad",)] == 1

    watched.tell_story(story)


async def _undo_while_more_comes(watched):
    """Undo one set while another one comes; either may be cut short by the end of the process."""
    slow(watched, "one", 1.0)
    undoing = undo(watched)
    await pass_time(0.5)
    giving = asyncio.ensure_future(watched.take(watched.bundle(default="three")))
    try:
        for came in await asyncio.gather(undoing, giving, return_exceptions=True):
            if isinstance(came, BaseException):
                raise came
    finally:
        del watched.applier.apply


def test_rel_11_content_that_comes_while_a_set_is_undone_outlives_the_process_at_any_step(keys):
    async def prepared():
        watched = Watched(keys)
        await watched.give("one")
        watched.enforcer.trials.passed()
        await watched.give("two")
        return watched

    async def counted():
        watched = await prepared()
        watched.storage.left = 10_000
        await _undo_while_more_comes(watched)
        assert (watched.applier.names, watched.said) == (("three",), APPLIED)
        return 10_000 - watched.storage.left

    async def story(step):
        watched = await prepared()
        watched.storage.left = step
        with contextlib.suppress(Killed):
            await _undo_while_more_comes(watched)
        await watched.restart()
        try:
            await watched.round()
            came = watched.enforcer.newest.bundle.serial == watched.serial
            names = {("three",)} if came else {("one",), ("two",)}
            assert watched.applier.names in names, step
            assert watched.said == APPLIED if came else watched.said in {APPLIED, UNDONE}, step
            if not came:
                bundle = watched.bundle(default="four")
                watched.enforcer.take(seal(BUNDLE_TYPE, bundle.payload(), keys.director), {})
                await watched.settle()
                assert watched.applier.names == ("four",), step
        finally:
            await watched.end()

    async def all_stories():
        steps = await counted()
        assert steps > 10
        for step in range(steps):
            await story(step)

    run_virtual(all_stories(), VirtualClock())
