"""An enforcer that was killed between two writes goes on from what is kept."""

import json

from popham.agent.kept import read_kept
from popham.agent.records import Standing
from popham.model.bundle import BUNDLE_TYPE
from popham.model.names import canonical, digest
from popham.model.status import Outcome
from popham.trust.assignment import ASSIGNMENT_TYPE
from popham.trust.dsse import seal
from popham.trust.tuf import TrustedTuf

from .orders import OFFICE, body_of, rules_of


def test_a_bundle_that_was_kept_before_a_kill_is_in_force_and_noted_after_the_start(orders):
    async def story():
        rules = rules_of(office=OFFICE)
        await orders.order(rules, default="away", office="work")
        newest = orders.bundle(rules, default="gone", office="work")
        orders.state.save_bundle(seal(BUNDLE_TYPE, newest.payload(), orders.keys.director))
        await orders.restart()
        await orders.settle()
        progress, held = orders.enforcer.progress, orders.enforcer.newest.held
        assert orders.applied == [("gone",)]
        assert (progress.outcome, progress.applied_serial) == (Outcome.APPLIED, newest.serial)
        assert progress.applied_resolved == held.resolved_digest
        assert orders.enforcer.in_force.bundle.content_digest == newest.content_digest

    orders.tell_story(story)


def test_a_location_that_was_kept_before_a_kill_is_in_force_and_noted_after_the_start(orders):
    async def story():
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        orders.state.save_standing(Standing(location="office", rules=("address 10.0.0.0/8",)))
        orders.host.put(addresses=("10.1.2.3",))
        await orders.restart()
        await orders.settle()
        revision = orders.enforcer.progress.revision
        assert orders.applied == [("work",)]
        assert orders.enforcer.progress.applied_resolved == orders.enforcer.newest.held.resolved_digest
        await orders.restart()
        await orders.settle()
        assert orders.enforcer.progress.revision == revision, "what is noted is not noted again"

    orders.tell_story(story)


def newer(orders, bundle):
    """Return the envelope of a bundle that a newer Manager made of ``bundle``."""
    data = json.loads(bundle.payload()) | {"crit": ["sorcery"]}
    content = {key: data[key] for key in data if key not in {"version", "issued", "content_digest"}}
    data["content_digest"] = digest(canonical(content))
    return seal(BUNDLE_TYPE, canonical(data), orders.keys.director)


def test_a_kept_bundle_that_cannot_be_read_counts_as_none_until_another_comes(orders, caplog):
    async def story():
        await orders.order(default="motd")
        envelope = newer(orders, orders.bundle(default="spell"))
        for name in ("bundle.json", "last-good.json"):
            orders.state.storage.write(name, envelope)
        await orders.restart()
        await orders.settle()
        enforcer = orders.enforcer
        assert (enforcer.newest, enforcer.in_force, orders.applied) == (None, None, [])
        assert enforcer.progress.error_code == "trust.crit"
        assert "sorcery" in enforcer.progress.error
        assert "counts as none" in caplog.text
        assert orders.state.blob(digest(body_of("motd"))) is not None
        await orders.order(default="motd")
        assert orders.applied == [("motd",)]
        assert (enforcer.progress.outcome, enforcer.progress.error_code) == (Outcome.APPLIED, "")
        await orders.restart()
        assert orders.enforcer.newest.bundle.serial == orders.serial

    orders.tell_story(story)


def test_a_kept_assignment_that_cannot_be_read_counts_as_none(orders):
    async def story():
        await orders.order(default="motd")
        data = {"tenant": "default", "crit": ["sorcery"]}
        orders.state.storage.write(
            "assignment.json", seal(ASSIGNMENT_TYPE, canonical(data), orders.keys.director)
        )
        kept = read_kept(orders.state, TrustedTuf.from_bytes(orders.keys.root, orders.keys.targets))
        assert (kept.assignment, kept.newest, kept.error.code) == (None, None, "trust.crit")

    orders.tell_story(story)


def test_a_location_that_is_gone_is_not_kept_either(orders):
    async def story():
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        orders.state.save_standing(Standing(location="office", rules=("address 10.0.0.0/8",)))
        await orders.restart()
        await orders.order(rules_of(lab={"file": "/lab"}), default="away")
        assert orders.state.standing().location == "default"
        orders.state.save_standing(Standing(location="office"))
        await orders.restart()
        assert (orders.where, orders.state.standing().location) == ("default", "default")

    orders.tell_story(story)
