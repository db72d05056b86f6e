"""F.O1: the summary window, per agent and per group."""

import asyncio

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group
from tests.manager.rolling import add, agent, uid_of
from tests.manager.summary.feeding import CPU, MOUNTED

from popham.manager.intake.views import Known
from popham.manager.kept import record_of
from popham.manager.summary import window as window_module
from popham.manager.summary.items import LOAD, MEMORY, NETWORK, Point
from popham.manager.summary.newest import Newest, brief_of, merge
from popham.manager.summary.window import Window
from popham.manager.wanted import read_wanted
from popham.store.data_rows import AlertRow
from popham.store.rows import AgentRow
from popham.streams.frame import Stream

COLLECT = """
apiVersion: popham/v1
kind: Policy
metadata: {name: watch}
spec: {type: collect%s}
"""


class Fleet:
    """What is in memory of the agents of a bench, and its window."""

    downtimes = ()

    def __init__(self, bench):
        self.bench, self.newest, self.known, self.held, self.groups = bench, Newest(), {}, {}, {}
        self.window = Window(self, bench.clock, self.newest, lambda uid: self.known.get(uid, {}))
        bench.service._window = self.window

    def record(self, uid):
        return self.held.get(uid)

    def records(self):
        return self.held.values()

    def wanted(self, name):
        return self.groups.get(name)

    async def begin(self, *agents, spec="", settings="{}"):
        inheritance = "{policies: {collect: false}, communication: false}"
        assigned = f"{{inheritance: {inheritance}, policies: {{collect: watch}}, communication: {settings}}}"
        await self.bench.apply(COLLECT % spec, group("paris", assigned))
        await add(self.bench, *agents)
        for row in await self.bench.store.read(lambda tx: tx.agents()):
            self.held[row.uid] = record_of(row)
        self.groups = await self.bench.store.read(lambda tx: read_wanted(tx, None))

    async def sample(self, number, at, **values):
        """Have the newest of an agent sampled then."""
        names = {"cpu": CPU, "memory": MEMORY, "load": LOAD, "network": NETWORK, "filesystem": MOUNTED}
        points = [
            Point(names[key], "/var" if key == "filesystem" else "", round(at * 1e9), value, "1")
            for key, value in values.items()
        ]
        row = merge(None, uid_of(number), points, at + 1)
        await self.bench.store.write(lambda tx: tx.put_summaries([row]))
        self.newest.note([brief_of(row)])

    async def rows(self):
        return (await self.bench.service.summaries(VIEWER)).items


@pytest.fixture
def fleet(bench):
    return Fleet(bench)


def known(**said):
    return Known(
        **{"epoch": 1, "stored": 0, "lost": {}, "waiting": None, "skew": None, "received": NOW} | said
    )


def one(number, **said):
    return agent(number, generation=4, **said)


async def test_f_o1_a_row_has_all_that_is_known_of_an_agent(fleet):
    await fleet.begin(one(1, applied_serial=1, server="https://m.test:4320"))
    await fleet.sample(1, NOW - 20, cpu=0.5, memory=0.25, filesystem=0.9, load=1.5, network=1000.0)
    fleet.known[uid_of(1)] = {
        Stream.SUMMARY: known(stored=10, waiting=2, skew=3.5, received=NOW - 1),
        Stream.LOGS: known(stored=99, waiting=7, skew=-1.0, lost={"age": 4, "count": 1}, received=NOW - 9),
        Stream.EVENTS: known(lost={"age": 1}, received=NOW - 9),
    }
    (row,) = await fleet.rows()
    assert (row.name, row.group, row.presence, row.mode, row.dialer) == (
        "a1", "paris", "on time", "push", "agent",
    )  # fmt: skip
    assert (row.server, row.wanted, row.applied, row.sync) == ("https://m.test:4320", 1, 1, "pending")
    assert (row.cpu, row.memory, row.filesystem, row.mount, row.load, row.network) == (
        0.5, 0.25, 0.9, "/var", 1.5, 1000.0,
    )  # fmt: skip
    assert (row.flow, row.interval, row.at, row.age) == ("in time", 60.0, NOW - 20, 20.0)
    assert row.bound == 60.0 + 1.5 * 60.0 + 5.0
    assert row.stored == {"summary": 10, "logs": 99, "events": 0}
    assert row.waiting == {"summary": 2, "logs": 7}
    assert row.lost == {"age": 5, "count": 1}
    assert row.values == ()


async def test_f_d12_the_skew_that_is_shown_is_what_came_last(fleet, bench):
    await fleet.begin(one(1))
    fleet.known[uid_of(1)] = {
        Stream.LOGS: known(skew=-1.0, received=NOW - 9),
        Stream.SUMMARY: known(skew=3.5, received=NOW - 1),
    }
    (row,) = await fleet.rows()
    assert row.skew == 3.5
    assert (await bench.service.agent(ADMIN, "a1")).detail["clock_skew"] == 3.5


@pytest.mark.parametrize(
    ("spec", "settings", "flow", "interval"),
    [
        ("", "{}", "in time", 60.0),
        (", summary: {interval: 10s}", "{}", "in time", 10.0),
        (", summary: false", "{}", "none", None),
        (', upload: {summary: "off"}', "{}", "kept", 60.0),
        ("", "{upload: false}", "kept", 60.0),
    ],
)
async def test_f_o1_how_the_summary_comes_in_follows_from_policy_and_settings(
    fleet, spec, settings, flow, interval
):
    await fleet.begin(one(1), spec=spec, settings=settings)
    await fleet.sample(1, NOW - 5, cpu=0.5)
    (row,) = await fleet.rows()
    assert (row.flow, row.interval, row.bound is None) == (flow, interval, flow != "in time")


@pytest.mark.parametrize(
    ("said", "flow"),
    [
        ({"paused_at": NOW - 60}, "paused"),
        ({"version": "0.6.0"}, "none"),
        ({"last": NOW - 91}, "late"),
        ({}, "in time"),
    ],
)
async def test_f_o1_how_the_summary_comes_in_follows_from_the_agent(fleet, said, flow):
    await fleet.begin(agent(1, **{"generation": 3 if "version" in said else 4} | said))
    await fleet.sample(1, NOW - 5, cpu=0.5)
    (row,) = await fleet.rows()
    assert row.flow == flow


async def test_f_l8_what_is_older_than_its_bound_is_late_and_has_none(fleet):
    await fleet.begin(one(1), one(2))
    await fleet.sample(1, NOW - 156, cpu=0.5)
    first, second = await fleet.rows()
    assert (first.flow, first.age, first.bound, first.cpu) == ("late", 156.0, None, 0.5)
    assert (second.flow, second.age, second.bound, second.cpu) == ("late", None, None, None)


async def test_f_l8_the_bound_is_tighter_over_a_held_link_and_that_of_data_where_it_has_its_own_mode(fleet):
    await fleet.begin(one(1))
    fleet.held[uid_of(1)].link = object()
    await fleet.sample(1, NOW - 5, cpu=0.5)
    assert (await fleet.rows())[0].bound == pytest.approx(60.0 + 0.2 + 135.0 + 5.0)
    await fleet.begin(settings="{data: {mode: pull, dialer: agent}}")
    fleet.held[uid_of(1)].link = object()
    assert (await fleet.rows())[0].bound == 60.0 + 1.5 * 60.0 + 5.0


async def test_f_o1_metrics_are_shown_with_the_worst_state_of_their_thresholds(fleet, bench):
    await fleet.begin(one(1))
    states = (("/var", "error"), ("/", "warning"), ("/tmp", "recovered"))  # a name
    for resource, state in states:
        alert = AlertRow(
            uid=uid_of(1), item=MOUNTED, resource=resource, state=state, since=NOW, number=1, body="{}"
        )
        await bench.store.write(lambda tx, alert=alert: tx.put_alert(alert))
    (row,) = await fleet.rows()
    assert row.states == {MOUNTED: "error"}


async def test_f_o1_one_agent_is_shown_with_all_its_values(fleet, bench):
    await fleet.begin(one(1))
    await fleet.sample(1, NOW - 5, cpu=0.5, filesystem=0.9)
    row = await bench.service.summary(VIEWER, "a1")
    assert [(value.item, value.resource, value.value, value.at) for value in row.values] == [
        (CPU, "", 0.5, NOW - 5),
        (MOUNTED, "/var", 0.9, NOW - 5),
    ]


async def test_f_o1_groups_are_counted_by_presence_and_sync_with_the_oldest_and_the_most(fleet, bench):
    await fleet.begin(one(1), one(2), one(3, last=NOW - 10_000), agent(4, group="fleet", last=None))
    await fleet.sample(1, NOW - 30, cpu=0.2, load=1.0)
    await fleet.sample(2, NOW - 10, cpu=0.6)
    await fleet.sample(3, NOW - 9_000, cpu=1.0)
    fleet.known[uid_of(1)] = {Stream.LOGS: known(waiting=5, lost={"age": 2})}
    fleet.known[uid_of(2)] = {Stream.LOGS: known(waiting=1, lost={"age": 1, "disk": 1})}
    alert = AlertRow(uid=uid_of(2), item=CPU, resource="", state="warning", since=NOW, number=1, body="{}")
    await bench.store.write(lambda tx: tx.put_alert(alert))
    rows = await bench.service.group_summaries(VIEWER)
    assert [(row.name, row.agents) for row in rows] == [("fleet", 1), ("paris", 3)]
    paris = rows[1]
    assert (paris.presence, paris.sync) == ({"missing": 1, "on time": 2}, {"pending": 3})
    assert (paris.oldest, paris.waiting, paris.lost) == (30.0, 6, {"age": 3, "disk": 1})
    assert paris.metrics["cpu"] == {"max": 1.0, "mean": pytest.approx(0.6)}
    assert paris.metrics["load"] == {"max": 1.0, "mean": 1.0}
    assert paris.alerts == {"warning": 1}


async def test_f_o1_a_large_window_leaves_the_loop_to_others(fleet, bench, monkeypatch):
    await fleet.begin(*map(one, range(200)))
    monkeypatch.setattr(window_module, "SLICE", -1.0)
    monkeypatch.setattr(window_module, "REST", 0.0)
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    try:
        assert len(await fleet.rows()) == 200
        seen, turns = turns, 0
        assert (await bench.service.group_summaries(VIEWER))[0].agents == 200
        assert min(seen, turns) >= 3
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_f_o1_a_stock_agent_is_shown_without_a_summary(fleet):
    stock = AgentRow(
        uid=uid_of(1), name="stock", group="paris", kind="stock", admission="accepted", first_seen=NOW
    )
    await fleet.begin(stock)
    (row,) = await fleet.rows()
    assert (row.name, row.flow, row.age, row.bound) == ("stock", "none", None, None)


async def test_f_d7_only_intervals_that_are_not_the_default_are_told_to_roll_ups(fleet):
    await fleet.begin(one(1), spec=", summary: {interval: 10s}")
    assert await fleet.window.intervals() == {uid_of(1): 10.0}
    await fleet.begin(spec="")
    assert await fleet.window.intervals() == {}
