"""Who gets what by a plan: by group and location, counted."""

from dataclasses import replace

from tests.manager.conftest import ADMIN, VIEWER, group, otelcol, policy
from tests.manager.test_costs import agent, fill

from popham.manager import effects
from popham.manager.apply_views import PolicyShift
from popham.model.difference import find_difference
from popham.model.documents import SourceFile

OWN = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"
PLACES = """{
  inheritance: {locations: false, communication: false, policies: {files: false}},
  policies: {files: motd},
  locations: [
    {name: home, weight: 9, when: {address: 10.0.0.0/8}, policies: {files: %s}},
    {name: default, default: true}]}"""
MOTD = PolicyShift(type="files", before="motd@1", after="motd@2")


async def plan(bench, *texts, **terms):
    return await bench.apply(*texts, dry_run=True, grant=VIEWER, **terms)


def told(result):
    """Return group → (location, agents, what changes) of each place."""
    return {
        effect.group: [
            (place.location, place.agents, [(one.before, one.after) for one in place.policies])
            for place in effect.places
        ]
        for effect in result.groups
    }


async def test_f_y18_a_plan_shows_which_policy_changes_for_how_many_agents(bench):
    await bench.apply(policy(), group("paris", OWN), group("louvre", "{parent: paris}"), group("rome"))
    await fill(bench, [agent("u1", "paris"), agent("u2", "louvre"), agent("u3", "rome")])
    planned = await plan(bench, policy(content="new"))
    assert told(planned) == {
        "paris": [("", 1, [("motd@1", "motd@2")])],
        "louvre": [("", 1, [("motd@1", "motd@2")])],
    }
    (place,) = planned.groups[0].places
    assert (place.policies, place.communication, place.moves_to) == ((MOTD,), False, "")
    applied = await bench.apply(policy(content="new"))
    assert [effect.places for effect in applied.groups] == [(), ()]


async def test_f_y18_a_plan_shows_policies_that_come_go_and_take_anothers_place(bench):
    await bench.apply(policy(), policy("other"), otelcol(), group("paris", OWN))
    none = "{inheritance: {policies: {files: false, otelcol: false}}, policies: {files: null, otelcol: col}}"
    assert told(await plan(bench, group("paris", none))) == {
        "paris": [("", 0, [("motd@1", ""), ("", "col@1")])]
    }
    other = OWN.replace("motd", "other")
    assert told(await plan(bench, group("paris", other))) == {"paris": [("", 0, [("motd@1", "other@1")])]}


async def test_f_y18_a_plan_counts_the_agents_of_each_location(bench):
    await bench.apply(policy(), policy("away"), group("paris", PLACES % "away"))
    rows = [agent(f"u{n}", "paris", "home") for n in range(3)]
    await fill(
        bench, [*rows, agent("u7", "paris", "default"), agent("u8", "paris", "gone"), agent("u9", "paris")]
    )
    assert told(await plan(bench, policy("away", "new"))) == {"paris": [("home", 3, [("away@1", "away@2")])]}
    assert told(await plan(bench, policy(content="new"))) == {
        "paris": [("default", 3, [("motd@1", "motd@2")])]
    }


async def test_f_y18_locations_that_change_alike_stand_as_one(bench):
    await bench.apply(policy(), policy("other"), group("paris", PLACES % "motd"))
    await fill(bench, [agent("u1", "paris", "home"), agent("u2", "paris")])
    assert told(await plan(bench, policy(content="new"))) == {"paris": [("", 2, [("motd@1", "motd@2")])]}


async def test_f_y18_a_location_that_comes_has_no_agents_yet_and_one_that_goes_has(bench):
    await bench.apply(policy(), policy("away"), group("paris", OWN))
    await fill(bench, [agent("u1", "paris", "default")])
    planned = await plan(bench, group("paris", PLACES % "away"))
    assert told(planned) == {"paris": [("home", 0, [("motd@1", "away@1")])]}
    assert planned.groups[0].locations == "default -> default, home; default default"
    await bench.apply(group("paris", PLACES % "away"))
    await fill(bench, [agent("u1", "paris", "home"), agent("u2", "paris", "default")])
    planned = await plan(bench, group("paris", OWN))
    assert told(planned) == {"paris": [("home", 1, [("away@1", "motd@1")])]}
    assert planned.groups[0].places[0].moves_to == "default"


async def test_f_y18_another_name_of_the_default_location_moves_its_agents(bench):
    await bench.apply(policy(), policy("away"), group("paris", OWN))
    await fill(bench, [agent("u1", "paris", "default"), agent("u2", "paris")])
    spec = (PLACES % "away").replace("name: default", "name: town, policies: {files: null}")
    planned = await plan(bench, group("paris", spec))
    assert told(planned) == {"paris": [("home", 0, [("motd@1", "away@1")]), ("default", 2, [("motd@1", "")])]}
    assert [place.moves_to for place in planned.groups[0].places] == ["", "town"]


async def test_other_criteria_of_a_location_are_said(bench):
    await bench.apply(policy(), group("paris", PLACES % "motd"))
    planned = await plan(bench, group("paris", (PLACES % "motd").replace("10.0", "11.0")))
    assert planned.groups[0].locations == "default, home; default default: found in another way"
    assert planned.groups[0].places == ()


async def test_settings_that_change_are_told_as_such(bench):
    await bench.apply(group("paris"))
    spec = "{inheritance: {communication: false}, communication: {heartbeat: 10m}}"
    (place,) = (await plan(bench, group("paris", spec))).groups[0].places
    assert (place.policies, place.communication) == ((), True)


async def test_with_download_off_no_policy_changes_and_turned_on_all_come(bench):
    off = "inheritance: {communication: false, policies: {files: false}}, communication: {download: %s}"
    await bench.apply(policy(), group("paris", OWN))
    planned = await plan(bench, group("paris", f"{{{off % 'off'}, policies: {{files: null}}}}"))
    assert planned.groups[0].places[0].policies == ()
    assert planned.risks == ()
    await bench.apply(group("paris", f"{{{off % 'off'}}}"))
    planned = await plan(bench, group("paris", f"{{{off % 'on'}}}"))
    assert planned.groups[0].places[0].policies == (PolicyShift(type="files", before="kept", after="motd@1"),)


async def test_f_y18_a_plan_lists_so_many_places_and_counts_the_rest(bench, monkeypatch):
    monkeypatch.setattr(effects, "PLACES", 2)
    names = ["lyon", "nice", "paris"]
    await bench.apply(policy(), *(group(name, OWN) for name in names))
    planned = await plan(bench, policy(content="new"))
    assert [(effect.group, len(effect.places), effect.more) for effect in planned.groups] == [
        ("lyon", 1, 0),
        ("nice", 1, 0),
        ("paris", 0, 1),
    ]


async def test_a_draft_is_planned_the_same_way(bench):
    await bench.apply(policy(), group("paris", OWN))
    await fill(bench, [replace(agent("u1", "paris"), name="web-1")])
    await bench.service.save_draft(ADMIN, "spring", [SourceFile("a.yaml", policy(content="new"))])
    planned = await bench.service.plan_draft(VIEWER, "spring")
    assert told(planned.plan) == {"paris": [("", 1, [("motd@1", "motd@2")])]}


async def test_f_y18_a_plan_compares_texts_while_no_writer_waits_for_it(bench, monkeypatch):
    await bench.apply(policy(), group("paris", OWN))
    writing, write = [], bench.store.write

    async def watched(work):
        writing.append(work)
        try:
            return await write(work)
        finally:
            writing.pop()

    def compare(*args, **how):
        assert not writing
        return find_difference(*args, **how)

    monkeypatch.setattr(bench.store, "write", watched)
    monkeypatch.setattr("popham.manager.told.find_difference", compare)
    planned = await plan(bench, policy(content="new"), group("paris", OWN, ", labels: {env: x}"))
    assert all(change.difference for change in planned.changes)
