"""From events to alerts to what routes are told: exactly once, and as levels."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.manager.alerts.alerting import ALL, ERRORS, World, event
from tests.manager.conftest import ADMIN, NOW, VIEWER
from tests.manager.rolling import uid_of

from popham.errors import ConflictError, DefinitionError, GrantError, NotFoundError
from popham.manager.alerts.alert import LEVELS, Alert, read_event
from popham.manager.alerts.settings import LogRoute
from popham.manager.alerts.taking import BATCH, POSITION
from popham.manager.grant import Grant, Role, Scope
from popham.model.fleet import Admission
from popham.model.status import Downtime
from popham.store.data_rows import EventRow

FULL = ("1", "disk", "/var")


async def silence(world, name="night", lifetime=3600.0, message="planned", grant=ADMIN, **said):
    return await world.bench.service.create_silence(
        grant, name=name, lifetime=lifetime, message=message, **said
    )


async def test_f_d10_a_threshold_of_an_agent_becomes_an_alert_and_is_told_once(bench):
    world = await World(bench, ALL, ERRORS).begin()
    await world.say(event(1, "warning"), event(0, "error", resource=""))
    assert await world.open() == {FULL: "warning", ("0", "disk", ""): "error"}
    assert await world.told() == [[("a1", "disk", "warning"), ("a0", "disk", "error")]]
    assert await world.told("errors") == [[("a0", "disk", "error")]]
    # The same once more, as after a crash of the agent, is nothing new.
    await world.say(event(1, "warning"))
    assert await world.told() == []
    await world.say(event(1, "error"))
    await world.say(event(1, "recovered"))
    assert [*await world.told(), *await world.told("errors")] == [
        [("a1", "disk", "error")],
        [("a1", "disk", "recovered")],
        [("a1", "disk", "error")],
        [("a1", "disk", "recovered")],
    ]
    assert await world.open() == {("0", "disk", ""): "error"}


async def test_what_an_agent_makes_of_itself_is_no_alert_of_the_managers_and_nonsense_none_at_all(bench):
    world = await World(bench, ALL).begin()
    forged = event(1, "error", item="presence", name="popham.agent")
    await world.say(
        forged,
        event(1, "error", item="presence"),
        event(1, "dreadful"),
        event(1, "error", item=""),
        event(1, "error", name="popham.probe"),
    )
    assert await world.open() == {}
    position = await world.store.read(lambda tx: tx.meta(POSITION))
    assert int(position) == await world.store.read(lambda tx: tx.last_event())


async def test_of_two_thresholds_on_one_resource_the_worst_counts(bench):
    world = await World(bench, ALL).begin()
    await world.say(event(1, "warning", threshold="day"), event(1, "error", threshold="night"))
    await world.say(event(1, "recovered", threshold="day"))
    assert await world.open() == {FULL: "error"}
    await world.say(event(1, "recovered", threshold="night"))
    assert await world.open() == {}
    assert await world.told() == [[("a1", "disk", "error")], [("a1", "disk", "recovered")]]


async def test_events_are_taken_once_whenever_the_process_ends(bench):
    world = await World(bench, ALL).begin()
    await world.say(event(1, "error"))
    for _ in range(3):
        world.restart()
        await world.alerts.step()
    assert await world.told() == [[("a1", "disk", "error")]]


async def test_a_route_is_told_of_its_group_and_labels_and_a_new_route_of_what_is_open(bench):
    world = await World(
        bench, LogRoute(name="all", group="lyon"), LogRoute(name="prod", selector="env=prod")
    ).begin(4)
    await bench.service.label(ADMIN, "a2", {"env": "prod"})
    await world.say(*(event(number, "error") for number in range(4)))
    assert await world.told() == [[("a0", "disk", "error"), ("a2", "disk", "error")]]
    assert await world.told("prod") == [[("a2", "disk", "error")]]
    world.settings = type(world.settings)(
        routes=(*world.settings.routes, LogRoute(name="new", group="paris"))
    )
    world.restart()
    await world.alerts.step()
    assert await world.told() == []
    assert await world.told("new") == [[("a1", "disk", "error"), ("a3", "disk", "error")]]


# What the Manager finds.


async def test_f_d10_the_manager_finds_who_is_silent_lags_or_has_a_wrong_clock(bench):
    world = await World(bench, ALL, waiting=100).begin(4)
    assert await world.alerts.look() == 0
    uids = [uid_of(number) for number in range(4)]
    world.skews[uids[0]], world.waits[uids[1]] = -61.0, 101
    world.late.add(uids[2])
    bench.clock.at += 100.0
    for uid in uids[:3]:
        world.held[uid].last_contact = bench.clock.at
    assert await world.alerts.look() == 3
    bench.clock.at += 10.0
    world.late.clear()
    assert await world.alerts.look() == 0
    world.late.add(uids[2])
    assert await world.alerts.look() == 0
    bench.clock.at += 60.0
    # It is late for a minute now.
    for uid in uids[:3]:
        world.held[uid].last_contact = bench.clock.at
    assert await world.alerts.look() == 1
    await world.alerts.step()
    assert await world.open() == {
        ("0", "clock-skew", ""): "warning",
        ("1", "lagging", ""): "warning",
        ("2", "lagging", ""): "warning",
        ("3", "presence", ""): "warning",
    }
    bench.clock.at += 1000.0
    for uid in uids[:3]:
        world.held[uid].last_contact = bench.clock.at
    world.skews[uids[0]] = 59.0
    await world.alerts.look()
    world.held[uids[1]].admission = Admission.REVOKED
    await world.alerts.look()
    await world.alerts.step()
    assert await world.open() == {("2", "lagging", ""): "warning", ("3", "presence", ""): "error"}
    del world.held[uids[3]]
    await world.alerts.look()
    await world.alerts.step()
    assert await world.open() == {("2", "lagging", ""): "warning"}


async def test_time_in_which_this_manager_was_away_makes_nobody_silent(bench):
    world = await World(bench, ALL).begin()
    bench.clock.at += 10_000.0
    world.downtimes = (Downtime(begin=NOW, end=bench.clock.at),)
    assert await world.alerts.look() == 0


async def test_rel_28_a_storm_is_told_in_few_deliveries_and_flips_within_a_look_in_none(bench):
    world = await World(bench, ALL).begin(2)
    record = next(iter(world.held.values()))
    count = 5 * BATCH + 7
    copies = {}
    for number in range(count):
        copy = type(record)(uid=uid_of(number), key=b"", name=f"a{number}", group="paris")
        copy.kind, copy.admission, copy.last_contact, copy.promise = record.kind, record.admission, NOW, 60.0
        copies[copy.uid] = copy
    world.held = copies
    bench.clock.at += 3600.0
    for copy in copies.values():
        copy.last_contact = bench.clock.at
    assert await world.alerts.look() == 0
    bench.clock.at += 3600.0
    assert await world.alerts.look() == count
    assert await world.alerts.look() == 0
    await world.alerts.step()
    told = await world.told()
    assert sum(map(len, told)) == count
    assert len(told) <= 6
    # Each agent has one row of fixed size, however often it flips.
    for _ in range(3):
        for copy in copies.values():
            copy.last_contact = bench.clock.at
        await world.alerts.look()
        bench.clock.at += 3600.0
        await world.alerts.look()
    await world.alerts.step()
    assert len(await world.store.read(lambda tx: tx.alerts(open_only=False))) == count


# Silences.


async def test_f_d10_what_is_silenced_is_kept_and_told_at_the_end_if_it_is_still_open(bench):
    world = await World(bench, ALL).begin(4)
    await silence(world, group="paris", item="disk*", resource="/v*")
    await world.say(event(1, "error"), event(3, "error"), event(2, "error"), event(1, "error", item="cpu"))
    assert await world.told() == [[("a2", "disk", "error"), ("a1", "cpu", "error")]]
    await world.say(event(3, "recovered"))
    assert await world.told() == []
    (alert,) = (await bench.service.alerts(VIEWER, ref="a1", selector="", group="paris")).items[1:]
    assert (alert.item, alert.state, alert.silence) == ("disk", "error", "night")
    bench.clock.at += 3600.0
    await world.alerts.step()
    assert await world.told() == [[("a1", "disk", "error")]]
    assert [one.state for one in await bench.service.silences(VIEWER)] == ["over"]


async def test_f_d10_a_silence_can_be_ended_and_what_recovered_meanwhile_is_told_to_whom_knew_of_it(bench):
    world = await World(bench, ALL).begin()
    await world.say(event(1, "error"))
    await world.told()
    await silence(world, group="fleet")
    await world.say(event(1, "recovered"))
    assert await world.told() == []
    await bench.service.end_silence(ADMIN, "night")
    await world.alerts.step()
    assert await world.told() == [[("a1", "disk", "recovered")]]
    assert [(row.method, row.object) for row in await bench.audit()][-2:] == [
        ("silence.create", "silence/night"),
        ("silence.end", "silence/night"),
    ]


async def test_a_silence_that_cannot_be_is_refused_and_operators_silence_within_their_scope(bench):
    world = await World(bench, ALL).begin()
    operator = Grant(actor="olga", role=Role.OPERATOR, source="x", scope=Scope(groups=("paris",)))
    with pytest.raises(GrantError):
        await silence(world, grant=VIEWER)
    with pytest.raises(GrantError):
        await silence(world, grant=operator)
    with pytest.raises(GrantError):
        await silence(world, grant=operator, group="lyon")
    await silence(world, grant=operator, group="paris")
    with pytest.raises(ConflictError) as caught:
        await silence(world)
    assert caught.value.code == "conflict.silence"
    with pytest.raises(NotFoundError):
        await silence(world, "other", group="nowhere")
    for wrong in ({"lifetime": 0.0}, {"message": " "}, {"selector": "=="}):
        with pytest.raises(DefinitionError):
            await silence(world, "other", **wrong)
    with pytest.raises(NotFoundError) as missing:
        await bench.service.end_silence(ADMIN, "nigth")
    assert "night" in missing.value.hint


async def test_pages_of_alerts_have_each_once_and_recovered_ones_if_asked_for(bench):
    world = await World(bench).begin(6)
    await world.say(
        *(event(number, "error", resource=f"/{part}") for number in range(6) for part in range(3))
    )
    await world.say(event(5, "recovered", resource="/0"))
    found, cursor = [], ""
    while True:
        page = await bench.service.alerts(VIEWER, group="paris", after=cursor, limit=2)
        found += page.items
        cursor = page.cursor
        if not cursor:
            break
    assert len(found) == len({one.id for one in found}) == 8
    assert len((await bench.service.alerts(VIEWER, everything=True)).items) == 18
    rows = await bench.service.summaries(VIEWER)
    assert {row.name: row.states for row in rows.items}["a5"] == {"disk": "error"}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(LEVELS)), max_size=30))
def test_an_alert_is_always_the_worst_of_its_thresholds_and_a_route_knows_what_it_was_told_last(said):
    alert, states = Alert(uid="u", item="disk", resource=""), {}
    for threshold, state in said:
        one: EventRow = event(1, state, threshold=threshold, resource="")
        before = alert
        alert = alert.follow(read_event(one), one)
        states[threshold] = state
        assert alert.state == max(states.values(), key=LEVELS.index)
        assert Alert.of(alert.row()) == alert
        if not alert.knows("r", alert.level_for("error")):
            assert alert.state != before.state
            alert = alert.telling("r", alert.level_for("error"))
        assert alert.told == ({"r": "error"} if alert.state == "error" else {})
        assert json.loads(alert.row().body)["told"] == alert.told
