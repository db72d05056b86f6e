"""A policy that upstream does not give yet stays as it was, or out; the rest is applied."""

import contextlib
from dataclasses import replace

import pytest

from popham.errors import LinkError
from popham.model.names import digest
from popham.model.status import Outcome
from popham.testing.virtual import VirtualClock, pass_time, run_virtual

from .orders import OFFICE, body_of, rules_of
from .watched import WINDOW, Killed, Watched


@pytest.fixture
def watched(keys):
    return Watched(keys)


def withhold(watched, *names):
    """Refuse the bodies of these policies; return what is asked for."""
    fetch, asked = watched.fetch, []

    async def refuse(sha256, limit):
        body = watched.bodies[sha256]
        asked.append(body)
        if any(f'"{name}"'.encode() in body for name in names):
            raise LinkError("denied", "this agent has not applied serial 3 yet", status=403)
        return await fetch(sha256, limit)

    watched.fetch = refuse
    return asked


def test_f_y14_what_is_withheld_stays_in_its_former_version_also_over_a_restart(watched):
    async def story():
        given = watched.fetch
        await watched.give("one")
        await pass_time(WINDOW + 1)
        asked = withhold(watched, "secret")
        await watched.give("secret")
        progress = watched.enforcer.progress
        assert watched.applier.names == ("one",)
        assert (progress.outcome, progress.withheld, progress.applied_serial) == (
            Outcome.APPLYING,
            ("secret",),
            2,
        )
        assert [one.ref.name for one in watched.enforcer.find_held()] == ["one"]
        count = len(asked)
        await watched.round()
        assert len(asked) == count + 1, "each contact asks once"
        await watched.restart(clean=True)
        await watched.round()
        assert watched.applier.names == ("one",)
        assert watched.enforcer.progress.withheld == ("secret",)
        watched.fetch = given
        await watched.round()
        progress = watched.enforcer.progress
        assert watched.applier.names == ("secret",)
        assert (progress.outcome, progress.withheld) == (Outcome.APPLIED, ())
        assert progress.applied_resolved == watched.enforcer.newest.held.resolved_digest

    watched.tell_story(story)


def test_f_y14_without_a_former_version_it_is_left_out_and_settings_hold(watched):
    async def story():
        withhold(watched, "secret")
        await watched.give("secret")
        assert (watched.applier.names, watched.enforcer.progress.withheld) == ((), ("secret",))
        assert watched.enforcer.progress.applied_serial == 1
        assert watched.enforcer.ordered is watched.enforcer.newest
        await watched.give("open")
        assert (watched.applier.names, watched.said) == (("open",), (Outcome.APPLIED, ""))
        assert watched.enforcer.progress.withheld == ()

    watched.tell_story(story)


def test_f_y14_what_is_withheld_elsewhere_holds_nothing_up_here(watched):
    async def story():
        asked = withhold(watched, "secret")
        bundle = watched.bundle(rules_of(office=OFFICE), default="open", office="secret")
        await watched.take(bundle)
        assert (watched.applier.names, watched.said) == (("open",), (Outcome.APPLIED, ""))
        count = len(asked)
        await watched.round()
        assert len(asked) == count + 1, "it is asked for again"
        assert watched.enforcer.missing

    watched.tell_story(story)


def test_any_other_refusal_holds_the_whole_set_up(orders):
    async def story():
        await orders.order(default="one")
        orders.bodies.pop(digest(body_of("two")), None)
        bundle = orders.bundle(default="two")

        async def busy(sha256, limit):
            del sha256, limit
            raise LinkError("busy", "upstream is busy", status=503)

        orders.fetch = busy
        with pytest.raises(LinkError):
            await orders.order(default="two")
        assert orders.applied[-1] == ("one",)
        assert bundle.serial == 2

    orders.tell_story(story)


def of_two(watched, *names):
    """Return the next bundle, with a policy of each of two types."""
    watched.applier.supported = frozenset({"files", "otelcol"})
    bundle = watched.bundle(default=names[0])
    refs = (watched.ref(names[0]), replace(watched.ref(names[1]), type="otelcol"))
    return replace(bundle, locations={"default": replace(bundle.locations["default"], policies=refs)})


async def partly(watched, withheld):
    """Have a set prove itself of which one policy is withheld; return how upstream gives it."""
    await watched.give("one")
    await pass_time(WINDOW + 1)
    given = watched.fetch
    withhold(watched, withheld)
    await watched.take(of_two(watched, "new", withheld))
    for _ in range(11):
        await pass_time(60)
        await watched.round()
    assert watched.enforcer.trials.trial is None
    assert watched.applier.names == ("new",)
    return given


@pytest.mark.parametrize("clean", [None, True, False])
def test_rel_11_f_y14_an_undo_goes_back_to_what_was_in_force_but_for_what_was_withheld(watched, clean):
    async def story():
        await partly(watched, "secret")
        if clean is not None:
            await watched.restart(clean=clean)
            assert [one.ref.name for one in watched.enforcer.find_held()] == ["new"]
            watched.enforcer.heard()
        resolved = watched.enforcer.progress.applied_resolved
        await watched.give("cut")
        await pass_time(40)
        progress = watched.enforcer.progress
        assert (watched.applier.names, watched.said) == (("new",), (Outcome.FAILED, "policy.undone_contact"))
        assert (progress.applied_serial, progress.applied_resolved) == (2, resolved)
        await watched.restart()
        await watched.settle()
        assert watched.applier.names == ("new",)
        assert await watched.enforcer.restore()

    watched.tell_story(story)


def test_rel_11_f_y14_a_policy_that_breaks_once_it_is_given_leaves_the_rest(watched):
    async def story():
        watched.fetch = await partly(watched, "cut")
        await watched.round()
        assert watched.applier.names == ("new", "cut")
        await pass_time(40)
        assert (watched.applier.names, watched.said) == (("new",), (Outcome.FAILED, "policy.undone_contact"))
        watched.enforcer.look_again()
        await watched.settle()
        await pass_time(40)
        await watched.restart()
        await watched.round()
        assert watched.applier.names == ("new",)
        await watched.give("three")
        assert (watched.applier.names, watched.said) == (("three",), (Outcome.APPLIED, ""))
        assert watched.enforcer.progress.parts is None

    watched.tell_story(story)


def test_rel_11_f_y14_a_kill_at_any_step_leaves_the_former_version_of_what_is_withheld(keys):
    async def taken(watched):
        with contextlib.suppress(Killed):
            await watched.take(of_two(watched, "new", "secret"))

    async def prepared():
        watched = Watched(keys)
        await watched.take(of_two(watched, "one", "old"))
        watched.enforcer.trials.passed()
        withhold(watched, "secret")
        watched.storage.left = 10_000
        return watched

    async def all_stories():
        watched = await prepared()
        await taken(watched)
        assert watched.applier.names == ("new", "old")
        steps = 10_000 - watched.storage.left
        assert steps > 6
        for step in range(steps):
            watched = await prepared()
            watched.storage.left = step
            await taken(watched)
            await watched.restart()
            try:
                await watched.round()
                came = watched.enforcer.newest.bundle.serial == 2
                assert watched.applier.names == (("new", "old") if came else ("one", "old")), step
            finally:
                await watched.end()

    run_virtual(all_stories(), VirtualClock())
