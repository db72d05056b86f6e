"""Locations of groups, by the service: what is kept, what holds, what is refused, what is warned about."""

import json

import pytest
from tests.manager.conftest import ADMIN, NOW, group, policy

from popham.errors import DefinitionError
from popham.manager.bundles import Bundles
from popham.manager.objects import row_of
from popham.model.cell import Mode
from popham.model.communication import CommunicationSettings
from popham.model.fleet import Group
from popham.store.rows import GroupRow

LIST = "locations: [{name: home, default: true}, {name: office, weight: 2, when: {address: 10.0.0.0/8}"
ROOT = f"{{policies: {{files: motd}}, {LIST}, policies: {{files: other}}, communication: {{mode: pull, heartbeat: 10s}}}}]}}"
TWO = (policy(), policy("other", content="other"))


def names(bundle):
    return {place: [ref.name for ref in held.policies] for place, held in bundle.locations.items()}


async def test_f_c2_a_location_has_its_own_policies_and_settings_or_its_groups(bench):
    await bench.apply(*TWO, group("fleet", ROOT), group("paris"))
    for name in ("fleet", "paris"):
        found = await bench.bundle(name)
        assert names(found) == {"home": ["motd"], "office": ["other"]}
        assert found.locations["office"].communication == CommunicationSettings(
            mode=Mode.PULL, heartbeat=10.0
        )
        assert found.locations["home"].communication == CommunicationSettings()
        assert (found.default_location, found.rules.names) == ("home", ("home", "office"))


async def test_f_g3_an_inherited_location_is_used_below_and_not_edited(bench):
    await bench.apply(*TWO, group("fleet", ROOT))
    own = "{inheritance: {policies: {files: false}}, locations: [{name: office, policies: {files: motd}}]}"
    await bench.apply(group("paris", own))
    assert names(await bench.bundle("paris")) == {"home": ["motd"], "office": ["motd"]}
    assert (await bench.serials())["fleet"] == 2
    with pytest.raises(DefinitionError) as caught:
        await bench.apply(group("paris", "{locations: [{name: office, weight: 3, when: {file: /x}}]}"))
    assert caught.value.code == "definition.inherited"
    with pytest.raises(DefinitionError) as caught:
        await bench.apply(group("paris", own.replace("office", "ofice")))
    assert (caught.value.code, caught.value.hint) == ("definition.unknown_location", "Did you mean 'office'?")
    assert caught.value.line > 0


async def test_f_g3_a_group_may_have_a_list_of_its_own(bench):
    await bench.apply(*TWO, group("fleet", ROOT))
    own = "{inheritance: {locations: false}, locations: [{name: lab, default: true}], location_check: 5s}"
    await bench.apply(group("paris", own))
    found = await bench.bundle("paris")
    assert (names(found), found.rules.check) == ({"lab": ["motd"]}, 5.0)


async def test_a_list_that_probes_may_not_keep_a_check_that_is_too_short(bench):
    await bench.apply(group("fleet", "{locations: [{name: home, default: true}], location_check: 5s}"))
    with pytest.raises(DefinitionError) as caught:
        await bench.apply(
            group("fleet", "{locations: [{name: home, default: true}, {name: b, when: {file: /b}}]}")
        )
    assert caught.value.code == "definition.location_check"


async def test_f_g2_unchecking_copies_the_locations_and_what_holds_in_them(bench):
    await bench.apply(*TWO, group("fleet", ROOT), group("paris"))
    before = await bench.bundle("paris")
    result = await bench.apply(group("paris", "{inherits: false}"))
    assert result.groups == ()
    await bench.apply(group("fleet", "{policies: {files: null}, locations: [{name: home, default: true}]}"))
    after = await bench.bundle("paris")
    assert (after.serial, after.locations, after.rules) == (before.serial, before.locations, before.rules)
    view = await bench.service.group(ADMIN, "paris")
    assert view.values["office"]["policies"] == {"files": "other"}


async def test_f_g2_checking_again_lists_what_is_lost_in_every_location(bench):
    await bench.apply(*TWO, group("fleet", "{policies: {files: motd}}"))
    own = f"{{inherits: false, {LIST}, policies: {{files: other}}, communication: {{heartbeat: 10s}}}}]}}"
    await bench.apply(group("paris", own))
    result = await bench.apply(group("paris"), dry_run=True)
    assert result.changes[0].discarded == (
        "locations.office.policies.files: other",
        "locations.office.communication: Push, heartbeat 10s, spread 5m",
        "locations: home, office; default home",
    )
    [change] = (await bench.apply(group("paris"))).changes
    assert change.discarded == result.changes[0].discarded
    assert names(await bench.bundle("paris")) == {"default": ["motd"]}


async def test_f_c1_with_download_off_settings_travel_and_policies_stay_away(bench):
    await bench.apply(*TWO, group("fleet", ROOT))
    await bench.apply(group("fleet", "{communication: {download: off, heartbeat: 1m}}"))
    found = await bench.bundle("fleet")
    assert (found.download, names(found)) == (False, {"home": [], "office": []})
    assert found.locations["home"].communication.heartbeat == 60.0
    assert not found.locations["office"].communication.download
    await bench.apply(group("fleet", "{communication: {download: on}}"))
    assert names(await bench.bundle("fleet")) == {"home": ["motd"], "office": ["other"]}


async def test_a_location_that_is_not_written_again_loses_its_values(bench):
    await bench.apply(*TWO, group("fleet", ROOT))
    await bench.apply(group("fleet", f"{{{LIST}}}]}}"))
    assert names(await bench.bundle("fleet")) == {"home": ["motd"], "office": ["motd"]}
    assert (await bench.service.group(ADMIN, "fleet")).values == {}


async def test_people_see_what_holds_in_each_location_and_where_it_comes_from(bench):
    await bench.apply(*TWO, group("fleet", ROOT), group("paris"))
    view = await bench.service.group(ADMIN, "paris")
    assert (view.locations, view.values) == (None, {})
    assert view.resolved["locations"]["value"]["default"] == "home"
    assert (view.resolved["locations"]["group"], view.resolved["locations"]["inherited"]) == ("fleet", True)
    assert list(view.within) == ["office"]
    assert view.within["office"]["files"] == {
        "value": "other",
        "group": "fleet",
        "inherited": True,
        "overrides": {"group": "fleet", "value": "motd"},
    }
    assert view.within["office"]["communication"]["value"]["heartbeat"] == 10.0


ALONE = "{locations: [{name: home, default: true}, {name: office, when: {manager: reachable}}]}"


async def test_f_g4_a_location_on_the_manager_alone_is_refused_and_taken_by_force_with_a_warning(bench):
    with pytest.raises(DefinitionError) as caught:
        await bench.apply(group("fleet", ALONE))
    assert caught.value.code == "definition.manager_alone"
    assert "--force" in caught.value.hint
    assert await bench.serials() == {"fleet": 1}
    planned = await bench.apply(group("fleet", ALONE), force=True, dry_run=True)
    result = await bench.apply(group("fleet", ALONE), force=True)
    assert result.warnings == planned.warnings
    assert len(result.warnings) == 1
    assert "location 'office': when it dies, the agents change location" in result.warnings[0]
    assert (await bench.serials())["fleet"] == 2


async def test_overlapping_weights_are_warned_about(bench):
    two = (
        "{locations: [{name: home, default: true}, {name: b, when: {file: /b}}, {name: a, when: {file: /a}}]}"
    )
    result = await bench.apply(group("fleet", two))
    assert len(result.warnings) == 1
    assert "locations 'a' and 'b' have the same weight" in result.warnings[0]
    assert (
        await bench.apply(group("fleet", two.replace("{file: /b}", "{file: /b}, weight: 1")))
    ).warnings == ()


async def test_values_for_locations_that_are_gone_above_are_warned_about(bench):
    await bench.apply(*TWO, group("fleet", ROOT))
    own = "{inheritance: {policies: {files: false}}, locations: [{name: office, policies: {files: motd}}]}"
    await bench.apply(group("paris", own))
    result = await bench.apply(group("fleet", "{locations: [{name: home, default: true}]}"))
    assert result.warnings == (
        "group 'paris' has no location 'office': its values for it have no effect there",
    )
    assert names(await bench.bundle("paris")) == {"home": ["motd"]}


async def test_a_private_policy_stays_private_in_locations(bench):
    await bench.apply(policy("secret", more=", private_to: paris"), group("paris"))
    with pytest.raises(DefinitionError) as caught:
        await bench.apply(
            group("fleet", f"{{{LIST}, policies: {{files: secret}}}}]}}"),
        )
    assert caught.value.code == "definition.private"


V0_1_0 = {
    "parent": "", "inherits": False, "exceptions": {}, "policies": {"files": "motd"}, "labels": {},
    "communication": {"mode": "push", "dialer": "agent", "heartbeat": 300.0, "spread": 300.0},
}  # fmt: skip


async def test_f_y2_what_v0_1_0_kept_is_read_and_raises_no_serial(bench):
    await bench.apply(policy(), group("fleet", "{policies: {files: motd}}"), group("paris"))
    before = await bench.serials()

    def downgrade(tx):
        tx.put_group(GroupRow(name="fleet", body=json.dumps(V0_1_0), edition=2))
        inherits = V0_1_0 | {"parent": "fleet", "inherits": True, "policies": {}, "communication": None}
        tx.put_group(GroupRow(name="paris", body=json.dumps(inherits), edition=1))

    await bench.store.write(downgrade)
    again = Bundles(bench.keys.director)
    assert await bench.store.write(lambda tx: again.publish(tx, None, now=NOW + 5)) == []
    assert await bench.serials() == before
    content = (await bench.bundle("fleet")).as_dict()
    assert {"location_rules", "download"}.isdisjoint(content)
    assert content["sets"]["stable"]["default"]["communication"] == V0_1_0["communication"]
    result = await bench.apply(group("fleet", "{policies: {files: motd}}"), group("paris"))
    assert result.groups == ()


async def test_only_what_changed_is_signed_and_a_change_given_up_leaves_no_trace(bench):
    await bench.apply(*TWO, group("fleet", ROOT), group("paris"), group("lyon"))
    before = await bench.serials()
    own = "{inheritance: {policies: {files: false}}, policies: {files: other}}"
    await bench.apply(group("paris", own), dry_run=True)
    assert await bench.serials() == before
    result = await bench.apply(group("lyon", own))
    assert [(effect.group, effect.after) for effect in result.groups] == [("lyon", before["lyon"] + 1)]
    assert names(await bench.bundle("paris"))["home"] == ["motd"]


async def test_groups_that_somebody_else_changed_are_read_anew(bench):
    await bench.apply(*TWO, group("fleet", "{policies: {files: motd}}"), group("paris"))
    root = Group(
        name="fleet", inherits=False, policies={"files": "other"}, communication=CommunicationSettings()
    )
    await bench.store.write(lambda tx: tx.put_group(row_of(root, edition=2)))
    await bench.apply(group("paris", "{}", ", labels: {a: b}"))
    assert names(await bench.bundle("paris")) == {"default": ["other"]}


async def test_f_c2_what_a_locations_settings_do_not_name_is_as_in_the_group_whatever_was_before(bench):
    written = f"{{{LIST}, communication: {{mode: pull}}}}], communication: {{heartbeat: 5m}}}}"
    await bench.apply(group("fleet", written))
    await bench.apply(group("fleet", written.replace("5m", "10m")))
    found = (await bench.bundle("fleet")).locations["office"].communication
    assert found == CommunicationSettings(mode=Mode.PULL, heartbeat=600.0)


async def test_f_g2_what_is_unchecked_and_named_in_one_step_warns_where_it_does_not_hold(bench):
    await bench.apply(*TWO, policy("third", content="third"), group("fleet", ROOT))
    own = "{{inheritance: {{policies: {{files: false}}, communication: false}}, {rest}}}"
    rest = "policies: {files: third}, communication: {heartbeat: 1h}"
    result = await bench.apply(group("paris", own.format(rest=rest)))
    assert names(await bench.bundle("paris")) == {"home": ["third"], "office": ["other"]}
    assert len(result.warnings) == 2
    assert "in location 'office' still Pull by heartbeat, heartbeat 10s" in result.warnings[0]
    assert "in location 'office' still 'other' holds for 'files', a copy" in result.warnings[1]
    again = await bench.apply(group("paris", own.format(rest=rest)))
    assert again.warnings == ()
    rest += ", locations: [{name: office, policies: {files: motd}, communication: {heartbeat: 2h}}]"
    assert (await bench.apply(group("lyon", own.format(rest=rest)))).warnings == ()
    same = await bench.apply(group("nice", own.format(rest="policies: {files: other}")))
    assert same.warnings == ()
