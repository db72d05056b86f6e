"""A policy that upstream does not give yet stays as it was, or out; the rest is applied."""

import pytest

from popham.errors import LinkError
from popham.model.names import digest
from popham.model.status import Outcome
from popham.testing.virtual import pass_time

from .orders import OFFICE, body_of, rules_of
from .watched import WINDOW, Watched


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
        assert [one.ref.name for one in watched.enforcer.applied()] == ["one"]
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
