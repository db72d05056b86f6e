"""Drafts: prepared together, and published as one change."""

import random

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, otelcol, policy
from tests.manager.drafting import BOB, OWN, publish, save, texts

from popham import __version__
from popham.errors import ConflictError, DefinitionError, GrantError, NotFoundError
from popham.manager import drafts
from popham.manager.definitions import Terms
from popham.manager.drafts import DRAFTS_MAX
from popham.manager.service import ManagerService
from popham.model import documents
from popham.model.rollout import RolloutTerms
from popham.model.status import StateRecord
from popham.store.rows import AgentRow
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state

SECRET = policy().replace("motd, content", "motd, secret: true, content")


async def test_f_y1_several_edits_of_several_people_become_one_revision(bench):
    await bench.apply(policy(), group("paris", OWN))
    before = await bench.serials()
    await save(bench, policy(content="one"), message="spring cleaning")
    await save(bench, policy(content="two"))
    await save(bench, otelcol(), grant=BOB)
    assert await bench.serials() == before
    assert (await bench.service.policy(VIEWER, "motd")).revision == 1
    result = await publish(bench)
    assert [(change.name, change.action) for change in result.changes] == [
        ("col", "created"),
        ("motd", "changed"),
    ]
    assert await bench.serials() == before | {"paris": before["paris"] + 1}
    assert bench.told[-1] == ["paris"]
    newest, first = await bench.service.history(VIEWER, "motd")
    assert (newest.revision, newest.author) == (2, "ada")
    assert newest.message == "spring cleaning (draft spring by ada, bob)"
    assert first.message == ""
    assert await bench.service.drafts(VIEWER) == ()


async def test_f_y1_who_publishes_may_say_why_and_a_draft_needs_no_reason(bench):
    await save(bench, policy())
    await publish(bench, message="OPS-7")
    await save(bench, policy(content="two"), grant=BOB)
    await publish(bench)
    messages = [revision.message for revision in await bench.service.history(VIEWER, "motd")]
    assert messages == ["draft spring by bob", "OPS-7"]


async def test_f_y1_a_draft_counts_in_no_plan_but_its_own_which_is_that_of_its_files(bench):
    await bench.apply(policy(), group("paris", OWN))
    await save(bench, policy(content="two"), group("lyon", "{parent: paris}"))
    planned = await bench.service.plan_draft(VIEWER, "spring")
    same = await bench.apply(policy(content="two"), group("lyon", "{parent: paris}"), dry_run=True)
    assert planned.plan == same
    assert planned.moved == ()
    other = await bench.apply(otelcol(), dry_run=True)
    assert [change.name for change in other.changes] == ["col"]
    assert "spring" in {view.name for view in await bench.service.drafts(VIEWER)}


async def test_f_y1_definitions_of_a_draft_may_refer_to_each_other_and_stay_if_publishing_fails(bench):
    await save(bench, group("paris", OWN))
    with pytest.raises(DefinitionError) as caught:
        await publish(bench)
    assert caught.value.code == "definition.unknown_policy"
    assert caught.value.source == "draft spring: group/paris"
    await save(bench, policy(), grant=BOB)
    result = await publish(bench)
    assert {change.name for change in result.changes} == {"motd", "paris"}


async def test_a_draft_without_its_last_document_is_gone(bench):
    await save(bench, policy())
    with pytest.raises(NotFoundError, match="draft 'spring' has no 'policy/mota'") as caught:
        await bench.service.remove_from_draft(ADMIN, "spring", ["policy/mota"])
    assert "policy/motd" in caught.value.hint
    view = await bench.service.remove_from_draft(ADMIN, "spring", ["policy/motd"])
    assert view.documents == ()
    with pytest.raises(NotFoundError, match="it was emptied by ada"):
        await bench.service.draft(ADMIN, "spring")
    with pytest.raises(NotFoundError, match="there is no draft 'autumn'"):
        await bench.service.draft(ADMIN, "autumn")


async def test_a_viewer_looks_and_plans_and_sees_no_secret(bench):
    await save(bench, SECRET, group("paris", OWN))
    shown = {one.document: one.text for one in (await bench.service.draft(VIEWER, "spring")).documents}
    assert "content: (secret)" in shown["policy/motd"].replace('"', "")
    assert "name: motd" in shown["policy/motd"]
    assert shown["group/paris"] == (await texts(bench))["group/paris"]
    assert "content: hi" in (await texts(bench))["policy/motd"]
    assert not any(one.text for view in await bench.service.drafts(ADMIN) for one in view.documents)
    await bench.service.plan_draft(VIEWER, "spring")
    for call in (
        save(bench, policy(), grant=VIEWER),
        publish(bench, grant=VIEWER),
        bench.service.rebase_draft(VIEWER, "spring"),
        bench.service.remove_from_draft(VIEWER, "spring", ["policy/motd"]),
        bench.service.discard_draft(VIEWER, "spring", theirs=True),
    ):
        with pytest.raises(GrantError):
            await call


async def test_every_change_of_a_draft_is_audited_without_its_texts(bench):
    await save(bench, SECRET.replace("hi", "hunter2"), message="why")
    await bench.apply(policy(), grant=BOB)
    await bench.service.rebase_draft(BOB, "spring")
    await publish(bench)
    await save(bench, otelcol())
    await bench.service.discard_draft(ADMIN, "spring")
    rows = [row for row in await bench.audit() if row.object == "draft/spring"]
    methods = ["draft.save", "draft.rebase", "draft.publish", "draft.save", "draft.discard"]
    assert [row.method for row in rows] == methods
    assert rows[0].after == '{"documents":{"policy/motd":"added"},"message":"why"}'
    assert rows[2].before == '{"documents":{"policy/motd":"ada"},"message":"why"}'
    assert not any("hunter2" in row.before + row.after for row in await bench.audit())


async def test_what_is_saved_is_checked_with_the_lines_of_its_files_and_with_the_rest_of_the_draft(bench):
    with pytest.raises(DefinitionError) as caught:
        await save(bench, policy().replace("content", "contant"))
    assert (caught.value.source, caught.value.line) == ("0.yaml", 4)
    await save(bench, group("paris", OWN))
    with pytest.raises(DefinitionError) as caught:
        await save(bench, otelcol(name="motd"))
    assert caught.value.source == "draft spring: group/paris"
    with pytest.raises(DefinitionError, match="there is no definition"):
        await save(bench, "---\n")
    with pytest.raises(DefinitionError, match="cannot be the name of a draft"):
        await save(bench, policy(), name="Spring!")


async def test_a_draft_is_as_large_as_one_apply_may_be(bench, monkeypatch):
    monkeypatch.setattr(documents, "MAX_TEXT", 5000)
    await save(bench, policy(content="x" * 2000), policy(name="p1", content="y" * 2000))
    with pytest.raises(DefinitionError) as caught:
        await save(bench, policy(name="p2", content="z" * 1500), grant=BOB)
    assert caught.value.code == "definition.size"
    assert len(await texts(bench)) == 2


async def test_aliases_count_as_often_as_they_stand(bench, monkeypatch):
    monkeypatch.setattr(drafts, "MAX_TEXT", 5000)
    many = ", ".join(f"{{path: /etc/{number}, content: *a}}" for number in range(9))
    spec = f"{{type: files, files: [{{path: /etc/x, content: &a {'x' * 600}}}, {many}]}}"
    document = f"apiVersion: popham/v1\nkind: Policy\nmetadata: {{name: motd}}\nspec: {spec}\n"
    with pytest.raises(DefinitionError) as caught:
        await save(bench, document)
    assert caught.value.code == "definition.size"


async def test_there_are_at_most_a_hundred_drafts(bench):
    for number in range(DRAFTS_MAX):
        await save(bench, policy(), name=f"d{number}")
    with pytest.raises(ConflictError) as caught:
        await save(bench, policy())
    assert caught.value.code == "conflict.drafts"
    await save(bench, otelcol(), name="d0")


async def test_a_draft_remembers_what_was_forced_and_may_take_over(bench):
    when = "{name: home, when: {manager: reachable}}"
    unwise = group(
        "paris", f"{{inheritance: {{locations: false}}, locations: [{when}, {{name: away, default: true}}]}}"
    )
    with pytest.raises(DefinitionError):
        await save(bench, unwise)
    await save(bench, unwise, force=True)
    await save(bench, policy())
    assert any("paris" in warning for warning in (await publish(bench)).warnings)
    await bench.apply(policy(content="git"), source="git")
    await save(bench, policy(content="ada's"))
    with pytest.raises(ConflictError, match="is managed in git"):
        await publish(bench)
    planned = await bench.service.plan_draft(ADMIN, "spring", terms=Terms(take_over=True))
    await publish(bench, seen=planned.edition, take_over=True)


def agent_of(number):
    """Return an accepted agent of Paris that is in contact."""
    key, uid = IdentityKey.create(), f"00000000-0000-4000-8000-{number:012d}"
    record = StateRecord(
        uid=uid,
        revision=1,
        group="paris",
        promise=60.0,
        mode="push",
        dialer="agent",
        agent_version=__version__,
    )
    return AgentRow(
        uid=uid,
        name=f"a{number}",
        group="paris",
        kind="own",
        admission="accepted",
        spki=f"{number:064x}",
        public_key=key.public.der,
        state=seal_state(record, key),
        first_seen=NOW,
        last_contact=NOW,
        promise=60.0,
    )


async def test_a_viewer_sees_no_secret_that_a_draft_calls_one_no_more(bench):
    schema = "schema: {type: object, properties: {pin: {type: string, writeOnly: true}}}"
    doc = policy().replace("type: files, files: [{path: /etc/popham.d/motd, content: 'hi'}]", "BODY")
    doc = doc.replace("BODY", f"type: custom, command: x, {schema}, data: {{pin: 'open sesame'}}")
    await bench.apply(doc)
    await save(bench, doc.replace(", writeOnly: true", ""))
    (shown,) = (await bench.service.draft(VIEWER, "spring")).documents
    assert "sesame" not in shown.text
    assert "pin: (secret)" in shown.text.replace('"', "")
    assert "sesame" not in str(await bench.service.plan_draft(VIEWER, "spring"))


async def test_f_y17_a_draft_for_many_agents_needs_a_decision_and_may_begin_a_rollout(bench):
    await bench.apply(policy(), group("paris", OWN))
    await bench.store.write(lambda tx: [tx.put_agent(agent_of(number)) for number in range(6)])
    bench.service = ManagerService(
        bench.store,
        keys=bench.keys,
        clock=bench.clock,
        rng=random.Random(7),
        on_groups_changed=bench.told.append,
        links=bench.links,
        ask_above=5,
    )
    await save(bench, policy(content="for many"))
    assert any(
        "6 agents" in warning for warning in (await bench.service.plan_draft(VIEWER, "spring")).plan.warnings
    )
    with pytest.raises(ConflictError) as caught:
        await publish(bench)
    assert caught.value.code == "conflict.reach"
    assert (await texts(bench)).keys() == {"policy/motd"}
    result = await publish(bench, rollout=RolloutTerms.of([0.5]))
    assert (result.rollout, result.reach) == ("r1", 6)
    assert await bench.service.drafts(VIEWER) == ()
    await save(bench, policy(content="more"), grant=BOB)
    with pytest.raises(ConflictError) as caught:
        await publish(bench, everyone=True)
    assert caught.value.code == "conflict.rollout"
    assert (await texts(bench)).keys() == {"policy/motd"}
    await bench.service.promote_rollout(ADMIN, "r1")
    assert (await publish(bench, everyone=True)).rollout == ""
