import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, otelcol, policy

from popham.manager.bundles import Bundles
from popham.manager.definitions import Terms, apply_definitions, found_fleet
from popham.model.communication import CommunicationSettings
from popham.model.definition import DefinitionSetError, SourceFile, check
from popham.store.memory import MemoryStore
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import open_bundle

OWN = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"


def actions(result):
    return {(change.kind, change.name): change.action for change in result.changes}


async def refusal(bench, *texts):
    before = await bench.store.read(lambda tx: (tx.groups(), tx.policies(), tx.bundles(), tx.audit()))
    with pytest.raises(DefinitionSetError) as caught:
        await bench.apply(*texts)
    assert await bench.store.read(lambda tx: (tx.groups(), tx.policies(), tx.bundles(), tx.audit())) == before
    assert bench.told == []
    return caught.value.errors


async def test_the_first_apply_creates_and_publishes(bench):
    result = await bench.apply(policy(), group("paris", OWN))
    assert actions(result) == {("Policy", "motd"): "created", ("Group", "paris"): "created"}
    assert [(effect.group, effect.before, effect.after, effect.agents) for effect in result.groups] == [
        ("paris", 0, 1, 0)
    ]
    assert bench.told == [["paris"]]
    held = (await bench.bundle("paris")).locations["default"].policies
    assert [(ref.type, ref.name, ref.revision) for ref in held] == [("files", "motd", 1)]


async def test_agents_believe_what_is_published(bench):
    await bench.apply(policy(), group("paris", OWN))
    row = await bench.store.read(lambda tx: tx.bundle("paris"))
    tuf = TrustedTuf.from_bytes(bench.keys.root, bench.keys.targets)
    bundle, floor = open_bundle(row.envelope, tuf=tuf, tenant="default", group="paris", floor=None)
    assert (bundle.serial, floor.version) == (row.serial, row.version)
    (ref,) = bundle.locations["default"].policies
    body = await bench.store.read(lambda tx: tx.encoded(ref.sha256))
    assert len(body) == ref.length


async def test_f_y2_applying_the_same_again_changes_nothing(bench):
    texts = (policy(), group("paris", OWN), group("lyon"))
    await bench.apply(*texts)
    before = await bench.store.read(lambda tx: (tx.bundles(), tx.audit(), tx.groups(), tx.policies()))
    bench.clock.at += 7 * 86400
    bench.told.clear()
    result = await bench.apply(*texts)
    assert set(actions(result).values()) == {"unchanged"}
    assert (result.groups, bench.told) == ((), [])
    assert await bench.store.read(lambda tx: (tx.bundles(), tx.audit(), tx.groups(), tx.policies())) == before


async def test_f_y2_only_groups_whose_content_changed_get_a_new_serial(bench):
    await bench.apply(
        policy(), policy("other"), group("branches", OWN), group("paris", "{parent: branches}"), group("lab")
    )
    result = await bench.apply(policy(content="changed"), policy("other", content="too"))
    assert [(effect.group, effect.after) for effect in result.groups] == [("branches", 2), ("paris", 2)]
    assert await bench.serials() == {"fleet": 1, "branches": 2, "paris": 2, "lab": 1}


async def test_f_y2_labels_are_no_content(bench):
    await bench.apply(policy(), group("paris", OWN))
    result = await bench.apply(group("paris", OWN, ", labels: {site: fr}"))
    assert actions(result) == {("Group", "paris"): "changed"}
    assert (result.groups, (await bench.serials())["paris"]) == ((), 1)


async def test_f_y4_an_unassigned_policy_has_no_effect(bench):
    result = await bench.apply(policy())
    assert actions(result) == {("Policy", "motd"): "created"}
    assert (result.groups, await bench.serials()) == ((), {"fleet": 1})


async def test_f_y1_a_policy_is_replaced_and_withdrawn(bench):
    await bench.apply(policy(), policy("other"), group("paris", OWN))
    await bench.apply(group("paris", OWN.replace("motd", "other")))
    assert [ref.name for ref in (await bench.bundle("paris")).locations["default"].policies] == ["other"]
    await bench.apply(group("paris", OWN.replace("motd", "null")))
    assert (await bench.bundle("paris")).locations["default"].policies == ()
    assert (await bench.serials())["paris"] == 3


async def test_f_y1_a_policy_body_has_a_revision_for_each_change(bench):
    for content in ("one", "two", "two", "one"):
        await bench.apply(policy(content=content))
    revisions = await bench.store.read(lambda tx: tx.revisions("motd"))
    assert [row.revision for row in revisions] == [3, 2, 1]
    assert revisions[0].sha256 == revisions[2].sha256
    assert revisions[0].author == "ada"


async def test_f_g2_unchecking_the_box_copies_and_changes_nothing(bench):
    await bench.apply(
        policy(),
        otelcol(),
        group("fleet", "{policies: {files: motd, otelcol: col}, communication: {heartbeat: 1m}}"),
        group("paris"),
    )
    held = (await bench.bundle("paris")).locations
    result = await bench.apply(group("paris", "{inherits: false}"))
    assert actions(result) == {("Group", "paris"): "changed"}
    assert result.groups == ()
    assert (await bench.bundle("paris")).locations == held
    view = await bench.service.group(ADMIN, "paris")
    assert view.policies == {"files": "motd", "otelcol": "col"}
    assert view.communication["heartbeat"] == 60.0
    # From now on the parent's changes pass it by.
    await bench.apply(group("fleet", "{policies: {files: null}, communication: {heartbeat: 2m}}"))
    assert (await bench.bundle("paris")).locations == held


async def test_f_g2_unchecking_and_changing_the_parent_at_once_keeps_what_held(bench):
    await bench.apply(policy(), policy("other"), group("fleet", "{policies: {files: motd}}"), group("paris"))
    await bench.apply(group("fleet", "{policies: {files: other}}"), group("paris", "{inherits: false}"))
    assert (await bench.service.group(ADMIN, "paris")).policies == {"files": "motd"}


async def test_f_g2_a_new_group_that_does_not_inherit_starts_from_its_parent(bench):
    await bench.apply(
        group("paris", "{parent: branches, inherits: false}"),
        group(
            "branches", "{inheritance: {communication: false}, communication: {mode: pull, heartbeat: 30s}}"
        ),
    )
    view = await bench.service.group(ADMIN, "paris")
    assert (view.communication["mode"], view.communication["heartbeat"]) == ("pull", 30.0)


async def test_f_g2_checking_the_box_again_lists_what_is_discarded(bench):
    await bench.apply(
        policy(), group("paris", "{inherits: false, policies: {files: motd}, communication: {heartbeat: 1m}}")
    )
    planned = await bench.apply(group("paris"), dry_run=True)
    result = await bench.apply(group("paris"))
    expected = ("policies.files: motd", "communication: Push, heartbeat 1m, spread 5m")
    assert result.changes[0].discarded == planned.changes[0].discarded == expected
    assert (await bench.service.group(ADMIN, "paris")).policies == {}


async def test_f_g1_one_item_may_be_the_groups_own(bench):
    await bench.apply(policy(), otelcol(), group("fleet", "{policies: {otelcol: col}}"), group("paris", OWN))
    view = await bench.service.group(ADMIN, "paris")
    assert view.exceptions == {"files": False}
    assert view.resolved["otelcol"] == {
        "value": "col",
        "group": "fleet",
        "inherited": True,
        "overrides": None,
    }
    assert view.resolved["files"] == {
        "value": "motd",
        "group": "paris",
        "inherited": False,
        "overrides": {"group": "fleet", "value": None},
    }


async def test_an_own_item_that_is_not_named_keeps_its_value(bench):
    await bench.apply(
        policy(), group("paris", "{inherits: false, policies: {files: motd}, communication: {heartbeat: 1m}}")
    )
    await bench.apply(group("paris", "{inherits: false, communication: {mode: pull}}"))
    view = await bench.service.group(ADMIN, "paris")
    assert view.policies == {"files": "motd"}
    assert (view.communication["mode"], view.communication["heartbeat"]) == ("pull", 60.0)


async def test_f_c1_settings_are_inherited_and_travel_in_the_bundle(bench):
    await bench.apply(
        group("fleet", "{communication: {preset: Pull by heartbeat, heartbeat: 30m}}"), group("paris")
    )
    held = (await bench.bundle("paris")).locations["default"].communication
    assert (held.preset, held.heartbeat) == ("Pull by heartbeat", 1800.0)
    assert (await bench.bundle("fleet")).locations["default"].communication == held


async def test_f_g1_moving_a_group_changes_what_it_inherits(bench):
    await bench.apply(policy(), group("north", OWN), group("south"), group("paris", "{parent: south}"))
    result = await bench.apply(group("paris", "{parent: north}"))
    assert [effect.group for effect in result.groups] == ["paris"]
    assert [ref.name for ref in (await bench.bundle("paris")).locations["default"].policies] == ["motd"]


async def test_groups_of_a_set_may_stand_in_any_order(bench):
    await bench.apply(group("c", "{parent: b}"), group("b", "{parent: a}"), group("a"))
    assert (await bench.service.group(ADMIN, "c")).path == "fleet/a/b/c"


@pytest.mark.parametrize(
    ("texts", "code", "hint"),
    [
        ([group("lyon", "{parent: pariss}")], "unknown_group", "Did you mean 'paris'?"),
        (
            [group("lyon", "{inherits: false, policies: {files: mott}}")],
            "unknown_policy",
            "Did you mean 'motd'?",
        ),
        (
            [group("lyon", "{inherits: false, policies: {otelcol: motd}}")],
            "policy_type",
            "policies.files: motd",
        ),
        ([group("paris", "{parent: below}")], "cycle", "another parent"),
        ([group("lyon", "{policies: {files: motd}}")], "inherited", "inheritance.policies.files: false"),
        ([policy("p", more=", private_to: pari")], "unknown_group", "Did you mean 'paris'?"),
        ([group("lyon", "{inherits: false, policies: {files: secret}}")], "private", "Copy it"),
        ([otelcol("motd")], "policy_type", "another name"),
        ([policy(more=", private_to: below")], "private", "private_to"),
        ([group("child", "{parent: owner, inherits: false}")], "private", "Copy it"),
        ([group("fleet", "{inherits: true}")], "root", "Leave it out"),
        ([group("lyon"), group("lyon")], "twice", "Keep one"),
        (
            [group("lyon", "{inherits: false, communication: {heartbeat: 30d}}")],
            "heartbeat",
            "longer heartbeat",
        ),
    ],
)
async def test_bad_input_changes_nothing_and_says_what_to_do(bench, texts, code, hint):
    await bench.apply(
        policy(),
        policy("secret", more=", private_to: owner"),
        group("paris", OWN),
        group("below", "{parent: paris}"),
        group("owner", "{inherits: false, policies: {files: secret}}"),
    )
    bench.told.clear()
    found = await refusal(bench, group("fine"), policy("fine"), *texts)
    assert [error.code for error in found] == [f"definition.{code}"]
    assert hint in found[0].hint
    assert found[0].source.endswith(".yaml")
    assert found[0].line > 0


async def test_every_error_against_what_is_stored_is_found(bench):
    found = await refusal(
        bench, group("a", "{parent: x}"), group("b", "{inherits: false, policies: {files: y}}")
    )
    assert [(error.code, error.source) for error in found] == [
        ("definition.unknown_group", "0.yaml"),
        ("definition.unknown_policy", "1.yaml"),
    ]


async def test_a_dry_run_tells_what_an_apply_does_and_does_nothing(bench):
    texts = (policy(), group("paris", OWN))
    before = await bench.store.read(lambda tx: (tx.groups(), tx.bundles(), tx.audit()))
    planned = await bench.apply(*texts, grant=VIEWER, dry_run=True)
    assert await bench.store.read(lambda tx: (tx.groups(), tx.bundles(), tx.audit())) == before
    assert bench.told == []
    result = await bench.apply(*texts)
    changes = tuple(replace(change, difference="") for change in planned.changes)
    groups = tuple(replace(effect, places=()) for effect in planned.groups)
    assert replace(planned, dry_run=False, changes=changes, groups=groups, base=None) == result


async def test_every_change_is_audited_with_who_when_where_before_and_after(bench):
    await bench.apply(policy(), group("paris", OWN))
    bench.clock.at += 5
    await bench.apply(policy(content="secret words"))
    rows = await bench.audit()
    assert [(row.method, row.object, row.actor, row.source) for row in rows] == [
        ("apply", "policy/motd", "ada", "192.0.2.7"),
        ("apply", "group/paris", "ada", "192.0.2.7"),
        ("apply", "policy/motd", "ada", "192.0.2.7"),
    ]
    assert rows[-1].at == NOW + 5
    assert (json.loads(rows[-1].before)["revision"], json.loads(rows[-1].after)["revision"]) == (1, 2)
    assert "secret words" not in rows[-1].after
    assert rows[0].before == ""


async def test_a_dry_run_signs_nothing(bench):
    definitions = check([SourceFile("x", group("paris"))])
    envelopes = []

    class Undone(Exception):  # noqa: N818  # it is no error
        pass

    terms = Terms(dry_run=True)

    def work(tx):
        apply_definitions(tx, definitions, Bundles(bench.keys.director), grant=ADMIN, now=NOW, terms=terms)
        envelopes.append(tx.bundle("paris").envelope)
        raise Undone

    with pytest.raises(Undone):
        await bench.store.write(work)
    assert envelopes == [b""]


async def test_the_root_is_founded_once(bench):
    await bench.store.write(lambda tx: found_fleet(tx, Bundles(bench.keys.director), now=NOW + 9))
    bundle = await bench.bundle("fleet")
    assert (bundle.serial, bundle.issued) == (1, int(NOW))
    assert bundle.locations["default"].communication == CommunicationSettings()


NAMES = ["a", "b", "c"]


@st.composite
def group_texts(draw):
    name = draw(st.sampled_from(NAMES))
    spec = {"parent": draw(st.sampled_from(["fleet", *NAMES])), "inherits": draw(st.booleans())}
    if draw(st.booleans()):
        spec["inheritance"] = {"policies": {"files": draw(st.booleans())}}
    if draw(st.booleans()):
        spec["policies"] = {"files": draw(st.sampled_from(["motd", "other", None]))}
    if draw(st.booleans()):
        spec["communication"] = {"heartbeat": draw(st.sampled_from(["30s", "5m"]))}
    return group(name, json.dumps(spec))


@given(st.lists(st.lists(group_texts(), min_size=1, max_size=3), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_f_y2_any_accepted_set_is_idempotent_and_serials_count_content(keys, sets):
    store, bundles = MemoryStore(), Bundles(keys.director)
    await store.write(lambda tx: found_fleet(tx, bundles, now=NOW))

    async def apply(*texts):
        definitions = check([SourceFile("x", text) for text in texts])
        return await store.write(lambda tx: apply_definitions(tx, definitions, bundles, grant=ADMIN, now=NOW))

    await apply(policy(), policy("other"))
    for texts in sets:
        before = {row.group: row for row in await store.read(lambda tx: tx.bundles())}
        try:
            applied = await apply(*texts)
        except DefinitionSetError:
            assert {row.group: row for row in await store.read(lambda tx: tx.bundles())} == before
            continue
        after = {row.group: row for row in await store.read(lambda tx: tx.bundles())}
        for name, row in after.items():
            old = before.get(name)
            assert row.serial == (old.serial if old else 0) + (name in applied.groups)
            assert old is None or (row.content_digest != old.content_digest) == (name in applied.groups)
        again = await apply(*texts)
        assert {change.action for change in again.result.changes} == {"unchanged"}
        assert again.groups == ()
