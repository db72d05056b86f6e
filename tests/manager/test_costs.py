"""What an apply costs before and after, from the groups and where their agents are."""

import json
import resource
from dataclasses import replace

import pytest
from tests.manager.conftest import VIEWER, group

from popham.manager.costs import Basis, read_basis, read_measured, reckon, write_measured
from popham.manager.sampled import SAMPLE
from popham.model.fleet import Group, Tree
from popham.model.measured import BUILT_IN, FILE
from popham.model.status import STATE_TYPE, StateRecord
from popham.store.rows import AgentRow
from popham.trust.dsse import seal
from popham.trust.keys import SigningKey

PULL = "{communication: {preset: Pull by heartbeat, heartbeat: 30m}, inheritance: {communication: false}}"
OFFICE = """
  inheritance: {locations: false, communication: false}
  communication: {preset: Push}
  locations:
    - {name: office, weight: 9, when: {address: 10.0.0.0/8}, communication: {preset: Pull by heartbeat, heartbeat: 1h}}
    - {name: default, default: true}
"""


def agent(uid, group, location=""):
    """Return the row of an agent that said where it is."""
    state = b""
    if location:
        record = StateRecord(
            uid=uid, revision=1, group=group, promise=300.0, mode="push", dialer="agent", location=location
        )
        state = seal(STATE_TYPE, record.payload(), SigningKey.create())
    return AgentRow(
        uid=uid, name=uid, group=group, kind="own", admission="accepted", first_seen=1.0, state=state
    )


async def fill(bench, rows):
    def work(tx):
        for row in rows:
            tx.put_agent(row)

    await bench.store.write(work)


async def test_f_c11_a_plan_says_rounds_links_bandwidth_and_age_before_and_after(bench):
    await bench.apply(group("paris"))
    await fill(bench, [agent(f"u{n}", "paris") for n in range(180)])
    costs = (await bench.apply(group("paris", PULL), dry_run=True, grant=VIEWER)).costs
    assert costs.before.links == 180
    assert costs.before.rounds_per_second == pytest.approx(0.6)
    assert (costs.before.age_bound_s, costs.before.wait_bound_s) == (300.0, 0.0)
    assert costs.after.links == 0
    assert costs.after.rounds_per_second == pytest.approx(0.1)
    assert (costs.after.age_bound_s, costs.after.wait_bound_s) == (1800.0, 1800.0)
    assert costs.after.bandwidth < costs.before.bandwidth
    (shift,) = costs.shifts
    assert (shift.group, shift.location, shift.agents) == ("paris", "", 180)
    assert (shift.before, shift.after) == (
        "Push, heartbeat 5m, spread 5m",
        "Pull by heartbeat, heartbeat 30m, spread 5m",
    )
    assert [one.code for one in costs.advice] == ["short_heartbeat"]
    assert await bench.serials() == {"fleet": 1, "paris": 1}


async def test_f_c11_an_apply_that_changes_no_settings_has_no_costs_and_a_plan_always_has(bench):
    await bench.apply(group("paris"))
    await fill(bench, [agent("u1", "paris")])
    assert (await bench.apply(group("paris", metadata=", labels: {a: b}"))).costs is None
    costs = (await bench.apply(group("paris"), dry_run=True)).costs
    assert costs.before == costs.after
    assert (costs.after.agents, costs.shifts) == (1, ())


async def test_f_c11_groups_below_that_inherit_count_and_others_do_not_shift(bench):
    apart = group("rome", "{inheritance: {communication: false}}")
    await bench.apply(group("paris"), group("louvre", "{parent: paris}"), apart)
    await fill(bench, [agent("u1", "paris"), agent("u2", "louvre"), agent("u3", "rome")])
    costs = (await bench.apply(group("paris", PULL))).costs
    assert [(shift.group, shift.agents) for shift in costs.shifts] == [("louvre", 1), ("paris", 1)]
    assert (costs.before.links, costs.after.links) == (3, 1)


async def test_f_c11_agents_count_in_the_location_that_they_reported(bench):
    await bench.apply(group("paris"))
    rows = [agent(f"u{n}", "paris", "office") for n in range(6)]
    await fill(
        bench, [*rows, agent("u7", "paris", "default"), agent("u8", "paris", "gone"), agent("u9", "paris")]
    )
    text = f"apiVersion: popham/v1\nkind: Group\nmetadata: {{name: paris}}\nspec:{OFFICE}"
    costs = (await bench.apply(text)).costs
    assert costs.after.links == 3
    assert costs.after.rounds_per_second == pytest.approx(6 / 3600 + 3 / 300)
    assert [(shift.location, shift.agents) for shift in costs.shifts] == [("office", 6)]


async def test_f_c11_the_reports_of_some_stand_for_all(bench):
    await bench.apply(group("paris"))
    text = f"apiVersion: popham/v1\nkind: Group\nmetadata: {{name: paris}}\nspec:{OFFICE}"
    office, base = agent("a", "paris", "office"), agent("b", "paris")
    rows = [replace(office if n % 2 else base, uid=f"u{n:05}") for n in range(SAMPLE + 500)]
    await fill(bench, rows)
    costs = (await bench.apply(text, dry_run=True)).costs
    assert costs.after.agents == SAMPLE + 500
    assert costs.after.links == (SAMPLE + 500) // 2


async def test_a_group_that_goes_to_another_parent_shifts(bench):
    await bench.apply(group("paris", PULL), group("rome"), group("louvre", "{parent: rome}"))
    costs = (await bench.apply(group("louvre", "{parent: paris}"), dry_run=True)).costs
    assert [shift.group for shift in costs.shifts] == ["louvre"]


async def test_a_table_that_cannot_be_read_stops_no_apply(bench, tmp_path):
    (tmp_path / FILE).write_text("{}")
    basis = read_basis(tmp_path, 100)
    assert basis.measured.source.startswith("built in, measured on")
    assert "is no table of what was measured" in basis.measured.source


def test_f_c11_open_files_of_the_managers_process_bound_its_connections(tmp_path):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert read_basis(tmp_path, 10_000_000).bounds.connections < soft
    assert read_basis(tmp_path, 50).bounds.connections == 50


def test_f_o11_a_manager_reckons_with_its_own_table(tmp_path):
    assert read_measured(tmp_path) is BUILT_IN
    own = replace(BUILT_IN, base_mb=12.0, source="here")
    write_measured(tmp_path, own)
    assert read_basis(tmp_path, 100).measured == own
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / FILE).read_text())["source"] == "here"


async def test_where_nothing_changes_nothing_is_reckoned(bench):
    tree = Tree([Group(name="fleet", inherits=False)])
    assert await bench.store.read(lambda tx: reckon(tx, tree, tree, Basis())) is None
