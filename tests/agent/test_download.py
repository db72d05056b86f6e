"""With download off a machine keeps the policies it has, and follows settings, rules and its own moves."""

from popham.model.status import Outcome
from popham.testing.virtual import pass_time

from .orders import OFFICE, rules_of

AWAY = ("192.0.2.7",)
AT_WORK = ("10.1.2.3",)


def test_f_c1_with_download_off_the_policies_stay_and_settings_and_rules_are_the_newest(orders):
    async def story():
        rules = rules_of(office=OFFICE)
        whole = await orders.order(rules, default="away", office="work")
        off = await orders.order(rules_of(office={"interface": "ethernet"}), download=False)
        enforcer = orders.enforcer
        assert orders.applied[-1] == ("away",)
        assert enforcer.newest.bundle.content_digest == off.content_digest
        assert enforcer.in_force.bundle.content_digest == whole.content_digest
        assert (enforcer.progress.outcome, enforcer.progress.applied_serial) == (Outcome.APPLIED, 1)
        orders.host.change(addresses=AT_WORK)
        await pass_time(1)
        assert orders.where == "default", "the rules are the newest"
        orders.host.change(interfaces={"eth0": "ethernet"})
        await pass_time(1)
        assert (orders.where, orders.applied[-1]) == ("office", ("work",))
        assert enforcer.ordered.held.communication == off.locations["office"].communication
        assert enforcer.progress.applied_resolved == whole.locations["office"].resolved_digest

    orders.tell_story(story)


def test_f_c1_download_on_again_needs_nobody_on_the_machine_also_after_a_restart(orders):
    async def story():
        orders.host.put(addresses=AT_WORK)
        rules = rules_of(office=OFFICE)
        await orders.order(rules, default="away", office="work")
        await orders.order(rules, download=False)
        await orders.restart()
        orders.away = True
        await pass_time(100)
        assert orders.enforcer.in_force.bundle.serial == 1
        orders.host.change(addresses=AWAY)
        await pass_time(1)
        assert orders.applied[-1] == ("away",), "bodies of every location are still here"
        orders.away = False
        fresh = await orders.order(rules, default="away-2", office="work-2")
        assert orders.applied[-1] == ("away-2",)
        assert orders.enforcer.in_force.bundle.content_digest == fresh.content_digest
        assert orders.enforcer.progress.outcome is Outcome.APPLIED

    orders.tell_story(story)


def test_f_c1_an_agent_that_never_had_a_policy_applies_nothing_while_download_is_off(orders):
    async def story():
        await orders.order(rules_of(office=OFFICE), download=False)
        orders.host.change(addresses=AT_WORK)
        await pass_time(1)
        assert (orders.where, orders.applied) == ("office", [])
        assert orders.enforcer.in_force is None
        assert orders.enforcer.progress.outcome is Outcome.APPLIED
        assert orders.heartbeat == 60

    orders.tell_story(story)


def test_f_c1_download_off_keeps_the_locations_of_the_older_bundle_whatever_the_new_are_called(orders):
    async def story():
        orders.host.put(addresses=AT_WORK)
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        assert orders.applied[-1] == ("work",)
        await orders.order(rules_of(lab=OFFICE, default="home"), download=False)
        assert (orders.where, orders.applied[-1]) == ("lab", ("away",))

    orders.tell_story(story)


def test_a_body_that_is_missing_is_not_fetched_while_download_is_off(orders):
    async def story():
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        await orders.order(rules_of(office=OFFICE), download=False)
        for name in orders.state.storage.names("blobs"):
            orders.state.storage.remove(f"blobs/{name}")
        fetched = list(orders.fetched)
        orders.host.change(addresses=AT_WORK)
        await pass_time(1)
        progress = orders.enforcer.progress
        assert (progress.outcome, progress.error_code) == (Outcome.FAILED, "policy.not_here")
        assert orders.fetched == fetched

    orders.tell_story(story)
