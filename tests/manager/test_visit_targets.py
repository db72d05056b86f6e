"""Whom the Manager visits, and where: from definitions, and from what agents say."""

import pytest

from popham.errors import ConflictError
from popham.model.cell import Dialer, Mode
from popham.net.visiting import Place

from .conftest import ADMIN, NOW
from .visiting import Fleet, definition, number

OFFICE = ", locations: [{name: home, default: true}, {name: office, weight: 2, when: {file: /x}, communication: {preset: Pull by visit, heartbeat: 5m}}]"


@pytest.fixture
async def fleet(bench):
    found = Fleet(bench)
    await found.book.load()
    return found


async def test_f_l2_an_agent_is_visited_at_the_address_of_its_last_contact_where_its_service_is(fleet):
    await fleet.group()
    uid = await fleet.agent(service="https://*:9000")
    target = await fleet.one(uid)
    assert target.place == Place("https://192.0.2.9:9000", "agent")
    assert (target.uid, target.name, target.mode, target.interval) == (uid, "web1", Mode.PULL, 600.0)


async def test_f_o10_an_ipv6_address_is_dialled_in_brackets(fleet):
    await fleet.group()
    assert (await fleet.one(await fleet.agent(at="2001:db8::7"))).place.url == "https://[2001:db8::7]:23440"


async def test_f_y12_the_address_of_a_definition_wins_over_what_the_agent_says(fleet):
    await fleet.group()
    uid = await fleet.agent()
    await fleet.define("web1", "address: 198.51.100.1, prefix: /SQC, http_proxy: 'http://proxy:3128'")
    found = await fleet.read()
    assert next(iter(found.values())).place == Place(
        "https://198.51.100.1:23440/SQC", "agent", "http://proxy:3128"
    )
    assert list(found) == [fleet.targets.key_of(uid)] == [fleet.targets.key_of_definition("web1")]
    assert fleet.targets.definition_of(uid) == "web1"
    await fleet.bench.service.delete_agent_definition(ADMIN, "web1")
    fleet.targets.definitions_changed(["web1"])
    assert {key: one.place.url for key, one in (await fleet.read()).items()} == {
        uid: "https://192.0.2.9:23440"
    }


@pytest.mark.parametrize("admission", ["new", "refused", "revoked"])
async def test_only_accepted_agents_are_visited(fleet, admission):
    await fleet.group()
    await fleet.agent(admission=admission)
    assert await fleet.read() == {}
    await fleet.define("web1", "address: a")
    # The machine of one that is gone may have been set up anew, and wait there to be born.
    found = [one.uid for one in (await fleet.read()).values()]
    assert found == ([] if admission == "new" else [""])


async def test_a_stock_agent_and_an_agent_whose_group_lets_it_dial_are_not_visited(fleet):
    await fleet.group()
    await fleet.agent(1, kind="stock")
    await fleet.group("walled", "{preset: Push}")
    await fleet.agent(2)
    await fleet.define("web2", "address: a")
    assert await fleet.read() == {}


@pytest.mark.parametrize("service", ["", "unix", "http://127.0.0.1:8080"])
async def test_who_cannot_say_where_it_is_needs_a_definition(fleet, service):
    await fleet.group()
    uid = await fleet.agent(service=service)
    assert await fleet.one(uid) is None
    await fleet.define("web1", "address: web1.example, tls: web, prefix: /SQC")
    assert (await fleet.one(uid)).place.url == "https://web1.example:23440/SQC"


async def test_f_c3_the_dialer_of_an_assignment_wins_over_its_groups(fleet):
    await fleet.group("walled", "{preset: Push, heartbeat: 1h}")
    uid = await fleet.agent(1, dialer=Dialer.MANAGER)
    target = await fleet.one(uid)
    assert (target.mode, target.interval) == (Mode.PUSH, 3600.0)
    await fleet.group()
    await fleet.agent(1, dialer=Dialer.AGENT)
    assert await fleet.one(uid) is None


async def test_f_c3_whose_group_lets_it_dial_again_is_visited_until_it_was_told(fleet):
    await fleet.group()
    uid = await fleet.agent(dialer=None)
    fleet.say(uid, dialer="manager", promise=600.0)
    await fleet.group("walled", "{preset: Push}")
    assert (await fleet.one(uid)).interval == 600.0
    assert fleet.targets.one(uid) is not None
    fleet.say(uid, dialer="agent", mode="push")
    assert await fleet.one(uid) is None


async def test_after_a_start_it_is_known_who_waits_to_be_told_without_reading_what_everybody_said(fleet):
    await fleet.group("walled", "{preset: Push}")
    waits, dials = await fleet.agent(1), await fleet.agent(2)
    fleet.say(waits, dialer="manager")
    for uid in (waits, dials):
        fleet.book.record(uid)._state = None
    again = Fleet(fleet.bench)
    again.book = again.targets._book = fleet.book
    assert list(await again.read()) == [waits]
    assert fleet.book.record(dials)._state is None


async def test_where_it_dials_by_itself_it_is_visited_only_if_no_round_came_another_way(fleet):
    await fleet.group("walled", "{preset: Push, heartbeat: 5m}", OFFICE)
    uid = await fleet.agent(location="home")
    target = await fleet.one(uid)
    assert target.interval == 300.0
    assert fleet.targets.one(uid) is None
    fleet.bench.clock.at = NOW + 299
    assert fleet.targets.one(uid) is None
    fleet.bench.clock.at = NOW + 301
    assert fleet.targets.one(uid) is target
    fleet.book.record(uid).link = object()
    assert fleet.targets.one(uid) is None
    fleet.say(uid, location="office")
    await fleet.read()
    assert fleet.targets.one(uid) is not None


@pytest.mark.parametrize(
    ("said", "reads"),
    [
        ("preset: Push, heartbeat: 5m, data: {mode: pull, dialer: manager}", True),
        ("preset: Push, heartbeat: 5m, data: {mode: pull, dialer: manager}, upload: off", False),
        ("preset: Push, heartbeat: 5m, data: {mode: pull, dialer: agent}", False),
        ("preset: Pull by visit, heartbeat: 5m, data: {mode: pull, dialer: agent}", None),
    ],
)
async def test_f_c6_who_dials_for_orders_is_visited_for_its_data_where_the_settings_say_so(
    fleet, said, reads
):
    await fleet.group("walled", f"{{{said}}}")
    uid = await fleet.agent()
    target = await fleet.one(uid)
    if reads is False:
        assert target is None
        return
    assert (target.mode, target.interval, target.reads) == (Mode.PULL, 300.0, bool(reads))
    fleet.book.record(uid).link = object()
    assert fleet.targets.one(uid) is target, "also while it holds a link of its own"


async def test_of_several_times_of_day_the_one_holds_that_the_agent_reports(fleet):
    times = "times: [{from: '08:00', to: '18:00', mode: push, dialer: manager, heartbeat: 1m}]"
    await fleet.group("walled", f"{{preset: Pull by visit, heartbeat: 2m, {times}}}")
    uid = await fleet.agent(dialer=None)
    fleet.say(uid, mode="pull", dialer="manager")
    assert (await fleet.one(uid)).interval == 120.0
    fleet.say(uid, mode="push", dialer="manager")
    target = await fleet.one(uid)
    assert (target.mode, target.interval) == (Mode.PUSH, 60.0)


async def test_an_agent_that_came_from_another_address_is_visited_there_soon(fleet):
    await fleet.group()
    uid = await fleet.agent()
    await fleet.read()
    assert fleet.targets.one(uid).place.host == "192.0.2.9"
    fleet.changed.clear()
    fleet.book.record(uid).address = "192.0.2.10"
    assert fleet.targets.one(uid) is None
    assert fleet.changed == [[uid]]
    assert fleet.targets.one(uid).place.host == "192.0.2.10"


async def test_f_l12_a_definition_without_an_agent_is_a_target_and_keeps_its_key_once_it_has_one(fleet):
    await fleet.group()
    await fleet.define("cellar", "address: 198.51.100.1")
    ((key, unborn),) = (await fleet.read()).items()
    assert (unborn.uid, unborn.name, unborn.mode, unborn.interval) == ("", "cellar", Mode.PULL, 600.0)
    uid = await fleet.agent(born=False, admission="new")
    await fleet.targets.found(unborn, uid)
    assert await fleet.read() == {key: unborn}, "it still has to be accepted, and asks again as it did"
    assert fleet.book.record(uid).promise == 600.0
    await fleet.agent()
    born = (await fleet.read())[key]
    assert (born.uid, born.place) == (uid, unborn.place)
    assert [one.actor for one in await fleet.bench.audit() if one.method == "agent.bind"] == ["visit"]


async def test_f_l12_who_was_just_born_is_visited_although_it_has_not_reported_yet(fleet):
    await fleet.group("walled", "{preset: Push}")
    await fleet.define("web1", "address: a")
    uid = await fleet.agent(born=False)
    fleet.book.record(uid).certificate_until = NOW + 100
    await fleet.targets.found((await fleet.read()).popitem()[1], uid)
    assert (await fleet.one(uid)).uid == uid


async def test_an_agent_that_joins_finds_the_definition_of_its_name(fleet):
    await fleet.group()
    await fleet.define("web1", "address: 198.51.100.1")
    assert [one.uid for one in (await fleet.read()).values()] == [""]
    uid = await fleet.agent()

    def bind(tx):
        row = tx.agent_definition("web1")
        tx.put_agent_definition(type(row)(name=row.name, body=row.body, place=row.place, uid=uid))

    await fleet.bench.store.write(bind)
    fleet.targets.joined(uid)
    assert [one.uid for one in (await fleet.read()).values()] == [uid]


async def test_two_agents_do_not_take_one_definition(fleet):
    await fleet.group()
    await fleet.define("cellar", "address: 198.51.100.1")
    ((_, unborn),) = (await fleet.read()).items()
    first, second = await fleet.agent(1), await fleet.agent(2)
    await fleet.targets.found(unborn, first)
    with pytest.raises(ConflictError) as caught:
        await fleet.targets.found(unborn, second)
    assert caught.value.code == "conflict.bound"


async def test_a_definition_that_another_one_took_the_agent_from_leaves_the_other_alone(fleet):
    await fleet.group()
    uid = await fleet.agent()
    await fleet.define("b", "address: b")
    unborn = (await fleet.read())[fleet.targets.key_of_definition("b")]
    await fleet.targets.found(unborn, uid)
    await fleet.bench.apply(definition("a", f"address: a, uid: {uid}"), definition("b", "address: b"))
    for names in (["a", "b"], ["b", "a"]):
        fleet.targets.definitions_changed(names)
        found = await fleet.read()
        assert fleet.targets.definition_of(uid) == "a"
        assert {one.name: one.uid for one in found.values()} == {"a": uid, "b": ""}


async def test_reports_of_a_fleet_that_nobody_dials_cost_no_look(fleet):
    await fleet.group("walled", "{preset: Push}")
    uid = await fleet.agent()
    await fleet.read()
    fleet.targets.reported(fleet.book.record(uid))
    assert fleet.targets._dirty_uids == set()


async def test_only_what_changed_is_told(fleet):
    await fleet.group()
    first, second = await fleet.agent(1), await fleet.agent(2, at="192.0.2.10")
    await fleet.read()
    assert sorted(fleet.changed.pop()) == sorted([first, second])
    fleet.say(first, service="https://*:9000")
    fleet.say(second)
    await fleet.read()
    assert fleet.changed == [[first]]


async def test_a_uid_that_is_known_to_nobody_is_kept_as_it_is_written(fleet):
    await fleet.define("gone", f"address: a, uid: {number(9)}")
    ((_, target),) = (await fleet.read()).items()
    assert target.uid == number(9)


async def test_f_t2_whom_a_proxy_manager_visits_or_has_below_it_is_not_visited_from_here(fleet):
    await fleet.group()
    await fleet.bench.apply(
        "apiVersion: popham/v1\nkind: Proxy\nmetadata: {name: dock}\nspec: {groups: [walled]}\n"
    )
    near, far = await fleet.agent(1), await fleet.agent(2)
    assert set(await fleet.read()) == {near, far}
    await fleet.define("web1", "address: 192.0.2.7, proxy: dock")
    assert set(await fleet.read()) == {far}, "nor where it came from"
    await fleet.define("web1", "address: 192.0.2.7")
    assert set(await fleet.read()) == {"agent/web1", far}
    fleet.book.record(far).via = (number(9),)
    fleet.targets.agent_changed(far)
    assert set(await fleet.read()) == {"agent/web1"}
