"""Where a machine is, and what holds there: found out and followed by the machine itself, without a Manager."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.agent.records import Standing
from popham.errors import PolicyError
from popham.model.status import Outcome
from popham.testing.virtual import pass_time

from .orders import OFFICE, Orders, rules_of

AWAY = ("192.0.2.7",)
AT_WORK = ("10.1.2.3",)


def test_f_g3_the_location_is_found_before_anything_is_applied(orders):
    async def story():
        orders.host.put(addresses=AT_WORK)
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        assert (orders.where, orders.applied) == ("office", [("work",)])
        standing = orders.enforcer.standing
        assert standing.rules == ("address 10.0.0.0/8",)
        assert standing.since == orders.clock.now()

    orders.tell_story(story)


def test_f_g3_a_change_of_the_network_changes_the_policy_within_a_second_and_is_told_once(orders):
    async def story():
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        await pass_time(100)
        told, fetched, orders.away = orders.told, list(orders.fetched), True
        orders.host.change(addresses=AT_WORK)
        await pass_time(0.9)
        assert (orders.where, orders.applied[-1]) == ("office", ("work",))
        assert orders.told == told + 1
        orders.host.change(addresses=AWAY)
        await pass_time(0.9)
        assert (orders.where, orders.applied[-1]) == ("default", ("away",))
        assert orders.told == told + 2
        assert (orders.fetched, sorted(fetched)) == (fetched, ["away", "work"])

    orders.tell_story(story)


def test_f_c2_the_communication_settings_of_a_location_hold_with_it(orders):
    async def story():
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        assert orders.heartbeat == 300
        orders.applier.broken = "no space"
        orders.host.change(addresses=AT_WORK)
        await pass_time(1)
        assert orders.heartbeat == 60, "also where its policies cannot be applied"
        assert orders.enforcer.progress.outcome is Outcome.FAILED

    orders.tell_story(story)


def test_f_g3_without_a_word_from_the_network_it_looks_at_each_check(orders):
    async def story():
        orders.host.tells = False
        await orders.order(
            rules_of(check=10.0, office={"file": "/run/docked"}), default="away", office="work"
        )
        await pass_time(100)
        assert 10 <= orders.host.looks <= 12
        orders.host.put(files={"/run/docked": True})
        await pass_time(10)
        assert orders.where == "office"

    orders.tell_story(story)


def test_f_g3_of_several_locations_that_hold_the_heaviest_counts_and_then_the_first_by_name(orders):
    async def story():
        rules = rules_of(
            office=(10, OFFICE), lab=(20, {"interface": "vpn"}), annex=(10, {"host_name": "web-*"})
        )
        await orders.order(rules, default="d", office="o", lab="l", annex="a")
        orders.host.change(addresses=AT_WORK, interfaces={"wg0": "vpn"}, host_name="web-7")
        await pass_time(1)
        assert orders.where == "lab"
        orders.host.change(interfaces={})
        await pass_time(1)
        assert orders.where == "annex"

    orders.tell_story(story)


def test_f_g3_what_could_not_be_found_out_holds_nowhere_and_the_default_is_left(orders):
    async def story():
        rules = rules_of(office={"dns_name": "intern.example"}, lab={"not": {"dns_name": "intern.example"}})
        orders.host.put(names={"intern.example": ("10.0.0.1",)})
        await orders.order(rules, default="d", office="o", lab="l")
        assert orders.where == "office"
        orders.host.change(names={"intern.example": None})
        await pass_time(1)
        assert orders.where == "default"
        orders.host.change(names={"intern.example": ()})
        await pass_time(1)
        assert orders.where == "lab"

    orders.tell_story(story)


@pytest.mark.parametrize(("remembers", "first"), [(True, "office"), (False, "default")])
def test_f_g3_a_restarted_agent_begins_where_it_ended_until_it_has_looked(orders, remembers, first):
    async def story():
        orders.host.put(addresses=AT_WORK)
        rules = rules_of(remembers=remembers, office=OFFICE)
        await orders.order(rules, default="away", office="work")
        since = orders.enforcer.standing.since
        await orders.end()
        await pass_time(500)
        orders.boot()
        assert orders.where == first
        if remembers:
            assert orders.enforcer.standing == Standing(
                location="office", rules=("address 10.0.0.0/8",), since=since
            )
        orders.host.put(addresses=AWAY)
        orders.start()
        await pass_time(0.1)
        assert orders.where == "default"

    orders.tell_story(story)


def test_a_location_that_the_newest_rules_do_not_have_is_not_remembered(orders):
    async def story():
        orders.host.put(addresses=AT_WORK)
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        await orders.order(rules_of(lab={"interface": "vpn"}), default="away", lab="lab")
        assert (orders.where, orders.applied[-1]) == ("default", ("away",))
        await orders.restart()
        assert orders.where == "default"

    orders.tell_story(story)


def test_without_locations_nobody_looks_and_nothing_is_listened_to(orders):
    async def story():
        await orders.order(default="motd")
        await pass_time(10_000)
        assert (orders.host.looks, orders.host.listeners) == (0, 0)
        await orders.order(rules_of(office=OFFICE), default="d", office="o")
        await pass_time(100)
        assert orders.host.looks > 3
        assert orders.host.listeners == 1
        await orders.order(default="motd")
        looks = orders.host.looks
        await pass_time(10_000)
        assert orders.host.looks <= looks + 1
        assert orders.host.listeners == 0
        assert orders.where == "default"

    orders.tell_story(story)


def test_f_g3_a_network_that_flaps_faster_than_it_is_looked_at_moves_nobody(orders):
    async def story():
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        await pass_time(31)
        told, looks = orders.told, orders.host.looks
        for _ in range(1000):
            orders.host.change(addresses=AT_WORK)
            await pass_time(0.01)
            orders.host.change(addresses=AWAY)
            await pass_time(0.05)
        assert orders.where == "default"
        assert orders.told <= told + 2
        assert orders.host.looks - looks <= 25, "it looks less and less often"
        await pass_time(31)
        orders.host.change(addresses=AT_WORK)
        await pass_time(0.9)
        assert orders.where == "office", "and at once again after a quiet while"

    orders.tell_story(story)


def test_f_g3_a_machine_that_oscillates_tells_each_change_once(orders):
    async def story():
        await orders.order(rules_of(check=1.0, office={"file": "/run/docked"}), default="a", office="w")
        await pass_time(5)
        told, sets = orders.told, len(orders.applied)
        for docked in (True, False) * 20:
            orders.host.put(files={"/run/docked": docked})
            await pass_time(1)
        assert orders.told - told == 40
        assert len(orders.applied) - sets == 40

    orders.tell_story(story)


def test_a_location_that_hangs_on_the_manager_is_looked_at_when_rounds_begin_to_fail(orders):
    async def story():
        rules = rules_of(check=3600.0, office={"manager": "reachable"}, lab={"manager": "unreachable"})
        await orders.order(rules, default="d", office="o", lab="l")
        assert orders.where == "default", "before the first round nobody knows"
        for reachable, where in ((True, "office"), (False, "lab"), (False, "lab"), (True, "office")):
            orders.locator.heard(reachable=reachable)
            await pass_time(0.1)
            assert orders.where == where

    orders.tell_story(story)


def test_f_g3_a_location_whose_policy_is_not_here_yet_is_told_and_applied_with_the_next_round(orders):
    async def story():
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        for name in orders.state.storage.names("blobs"):
            orders.state.storage.remove(f"blobs/{name}")
        told, orders.away = orders.told, True
        orders.host.change(addresses=AT_WORK)
        await pass_time(1)
        assert (orders.where, orders.applied[-1]) == ("office", ("away",))
        assert orders.enforcer.progress.outcome is Outcome.APPLYING
        assert orders.told == told + 1
        orders.away = False
        await orders.settle()
        assert orders.applied[-1] == ("work",)

    orders.tell_story(story)


def test_a_machine_that_moves_while_a_set_is_applied_ends_with_the_set_of_where_it_is(orders):
    async def story():
        await orders.order(rules_of(office=OFFICE), default="away", office="work")
        begun, go = asyncio.Event(), asyncio.Event()
        apply = orders.applier.apply

        async def slowly(policies):
            begun.set()
            await go.wait()
            await apply(policies)

        orders.applier.apply = slowly
        orders.host.change(addresses=AT_WORK)
        await begun.wait()
        receiving = asyncio.ensure_future(orders.order(rules_of(office=OFFICE), default="away", office="new"))
        await pass_time(1)
        go.set()
        await receiving
        await pass_time(1)
        assert orders.applied[1:] == [("work",), ("new",)]
        assert orders.enforcer.in_force.bundle.serial == 2
        assert orders.enforcer.progress.outcome is Outcome.APPLIED
        assert orders.state.last_good() == orders.state.bundle()

    orders.tell_story(story)


def test_f_g3_where_the_newest_cannot_be_applied_the_last_good_bundle_follows_the_machine(orders):
    async def story():
        good = await orders.order(rules_of(office=OFFICE), default="away", office="work")
        apply = orders.applier.apply

        async def refuse_new(policies):
            if any(policy.ref.name.startswith("bad") for policy in policies):
                raise PolicyError("validate", "the beams are too short")
            await apply(policies)

        orders.applier.apply = refuse_new
        await orders.order(rules_of(office=OFFICE), default="bad", office="bad-work")
        assert orders.applied == [("away",)]
        told = orders.told
        orders.host.change(addresses=AT_WORK)
        await pass_time(1)
        progress = orders.enforcer.progress
        assert orders.applied[-1] == ("work",)
        assert (progress.outcome, progress.error_code) == (Outcome.FAILED, "policy.validate")
        assert (progress.applied_serial, orders.told) == (1, told + 1)
        assert progress.applied_resolved == good.locations["office"].resolved_digest

    orders.tell_story(story)


MOVES = st.lists(
    st.tuples(st.floats(0, 70), st.sampled_from(["office", "lab", "default"]), st.booleans()), max_size=12
)


@settings(max_examples=25, deadline=None)
@given(moves=MOVES)
def test_f_g3_wherever_a_machine_goes_it_ends_with_what_holds_there_and_told_each_move_once(keys, moves):
    orders = Orders(keys)
    around = {
        "office": {"addresses": AT_WORK, "interfaces": {}},
        "lab": {"addresses": AT_WORK, "interfaces": {"wg0": "vpn"}},
        "default": {"addresses": AWAY, "interfaces": {}},
    }

    async def story():
        rules = rules_of(office=OFFICE, lab=(20, {"interface": "vpn"}))
        await orders.order(rules, default="default", office="office", lab="lab")
        await pass_time(1)
        told, sets = orders.told, len(orders.applied)
        for wait, place, heard in moves:
            (orders.host.change if heard else orders.host.put)(**around[place])
            await pass_time(wait)
        await pass_time(31)
        last = moves[-1][1] if moves else "default"
        assert orders.where == last
        assert orders.applied[-1] == (last,)
        assert orders.told - told == len(orders.applied) - sets <= len(moves)

    orders.tell_story(story)


def test_old_state_without_a_location_still_reads(orders):
    async def story():
        await orders.order(default="motd")
        assert orders.state.standing() is None
        await orders.restart()
        assert (orders.where, orders.enforcer.standing.since) == ("default", 0.0)

    orders.tell_story(story)
