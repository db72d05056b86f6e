"""Where agents are visited: applied, bound to agents, shown without passwords, deleted."""

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, machine, policy

from popham.errors import ConflictError, GrantError, NotFoundError
from popham.manager.agent_definitions import bind, bind_named, definition_of
from popham.manager.agents import join_agent
from popham.manager.drafts import SaveTerms
from popham.model.agent_definition import VisitPlace
from popham.model.definition import DefinitionSetError
from popham.model.documents import SourceFile
from popham.store.rows import AgentRow, TokenRow

GIT = "https://git.example/fleet"
UID = "0191d5a8-0000-7000-8000-00000000000a"


def agent(name="web1", spec="address: web1.example", metadata=""):
    return f"apiVersion: popham/v1\nkind: Agent\nmetadata: {{name: {name}{metadata}}}\nspec: {{{spec}}}\n"


SECRETS = "address: web1.example, tls: off, http_proxy: 'http://p:1', http_proxy_password: 'u:geheim1', password: 'u:geheim2'"


async def join(bench, name, uid=UID, kind="own", admission="accepted"):
    row = AgentRow(uid=uid, name=name, group="fleet", kind=kind, admission=admission, first_seen=NOW)
    await bench.store.write(lambda tx: tx.put_agent(row))


async def row(bench, name="web1"):
    return await bench.store.read(lambda tx: tx.agent_definition(name))


async def listed(bench, grant=VIEWER):
    return list((await bench.service.agent_definitions(grant)).items)


async def test_a_definition_is_created_changed_and_left_alone(bench):
    result = await bench.apply(agent(), agent("web2", "address: 192.0.2.7"))
    assert [(one.kind, one.name, one.action) for one in result.changes] == [
        ("Agent", "web1", "created"),
        ("Agent", "web2", "created"),
    ]
    result = await bench.apply(
        agent(spec="address: web1.example, port: 80"), agent("web2", "address: 192.0.2.7")
    )
    assert [one.action for one in result.changes] == ["changed", "unchanged"]
    assert [one.url for one in await listed(bench)] == ["https://web1.example:80", "https://192.0.2.7:23440"]
    assert (await row(bench)).edition == 2
    assert bench.links.changed == ["definition web1", "definition web2", "definition web1"]
    assert [(one.method, one.object) for one in await bench.audit()][-3:] == [
        ("apply", "agent/web1"),
        ("apply", "agent/web2"),
        ("apply", "agent/web1"),
    ]


async def test_f_y12_the_place_is_what_the_definition_says(bench):
    await bench.apply(agent(spec="address: '[2001:db8::7]', prefix: SQC, tls: web, port: 443"))
    assert definition_of(await row(bench)).place() == VisitPlace("https://[2001:db8::7]:443/SQC", "web")


async def test_the_place_of_another_definition_is_refused_and_two_may_change_places(bench):
    await bench.apply(agent("a", "address: one"), agent("b", "address: two"))
    with pytest.raises(DefinitionSetError) as caught:
        await bench.apply(agent("c", "address: ONE."))
    assert caught.value.code == "definition.agent_place"
    assert caught.value.problem == "address: one:23440 is the place of agent definition 'a'"
    assert (caught.value.source, caught.value.line) == ("0.yaml", 4)
    await bench.apply(agent("a", "address: two"), agent("b", "address: one"))
    assert [(one.name, one.address) for one in await listed(bench)] == [("a", "two"), ("b", "one")]


async def test_there_are_at_most_so_many(bench, monkeypatch):
    monkeypatch.setattr("popham.manager.agent_definitions.AGENT_DEFINITIONS_MAX", 2)
    await bench.apply(agent("a", "address: a"), agent("b", "address: b"))
    with pytest.raises(DefinitionSetError, match="more than 2 agent definitions"):
        await bench.apply(agent("c", "address: c"))
    await bench.apply(agent("b", "address: bb"))


# Binding


async def test_a_definition_is_bound_by_uid_by_name_or_to_who_answers_first(bench):
    other = UID.replace("a", "b")
    await join(bench, "web1")
    await bench.apply(agent(), agent("web2", f"address: web2, uid: {other}"), agent("web3", "address: web3"))
    found = {one.name: (one.uid, one.agent) for one in await listed(bench)}
    assert found == {"web1": (UID, "web1"), "web2": (other, ""), "web3": ("", "")}
    third = UID.replace("a", "c")
    await bench.store.write(lambda tx: bind(tx, ADMIN, "web3", third, now=NOW))
    await bench.store.write(lambda tx: bind(tx, ADMIN, "web3", third, now=NOW))
    result = await bench.apply(agent("web3", "address: web3, port: 80"))
    assert [one.action for one in result.changes] == ["changed"]
    assert (await row(bench, "web3")).uid == third
    assert [one.method for one in await bench.audit()].count("agent.bind") == 1


async def test_another_agent_than_the_bound_one_is_a_conflict_until_that_is_gone(bench):
    other = UID.replace("a", "b")
    await join(bench, "web1")
    await bench.apply(agent(), agent("web2", "address: web2"))
    for name, uid, says in (
        ("web1", other, f"is bound to agent {UID}"),
        ("web2", UID, "already has the agent definition 'web1'"),
    ):
        with pytest.raises(ConflictError, match=says) as caught:
            await bench.store.write(lambda tx, name=name, uid=uid: bind(tx, ADMIN, name, uid, now=NOW))
        assert caught.value.code == "conflict.bound"
    await join(bench, "web1", admission="revoked")
    await bench.store.write(lambda tx: bind(tx, ADMIN, "web1", other, now=NOW))
    assert (await row(bench)).uid == other
    with pytest.raises(NotFoundError):
        await bench.store.write(lambda tx: bind(tx, ADMIN, "web9", other, now=NOW))


async def test_a_uid_that_another_definition_has_is_refused(bench):
    await bench.apply(agent("web1", f"address: web1, uid: {UID}"))
    with pytest.raises(DefinitionSetError, match="already has the agent definition 'web1'") as caught:
        await bench.apply(agent("web2", f"address: web2, uid: {UID}"))
    assert caught.value.code == "definition.agent_uid"
    await join(bench, "web3", uid=UID)
    await bench.apply(agent("web3", "address: web3"))
    assert (await row(bench, "web3")).uid == ""


async def test_an_agent_that_one_definition_names_leaves_the_one_it_answered_at_before(bench):
    await bench.apply(agent("b", "address: b"))
    await bench.store.write(lambda tx: bind(tx, ADMIN, "b", UID, now=NOW))
    await bench.apply(agent("a", f"address: a, uid: {UID}"), agent("b", "address: b"))
    assert {one.name: one.uid for one in await listed(bench)} == {"a": UID, "b": ""}


async def test_stock_agents_and_names_of_several_agents_are_bound_to_nothing(bench):
    await join(bench, "web1", kind="stock")
    await join(bench, "twin", uid=UID.replace("a", "b"))
    await join(bench, "twin", uid=UID.replace("a", "c"))
    await bench.apply(agent(), agent("twin", "address: twin"))
    assert [one.uid for one in await listed(bench)] == ["", ""]


async def test_an_agent_that_joins_is_bound_to_the_definition_of_its_name(bench, keys):
    await bench.apply(agent())
    token = TokenRow(
        id="t", kind="enrollment", group="fleet", public=b"", created=0.0, expires=0.0, uses_left=1
    )
    joins = machine()
    await bench.store.write(
        lambda tx: join_agent(tx, keys.director, token, name="web1", now=NOW, address="", **joins)
    )
    assert (await row(bench)).uid == joins["uid"]
    later = AgentRow(uid=UID, name="web1", group="fleet", kind="own", admission="new", first_seen=NOW)
    await bench.store.write(lambda tx: bind_named(tx, later))
    assert (await row(bench)).uid == joins["uid"]
    detail = (await bench.service.agent(VIEWER, "web1")).detail
    assert detail["visited_at"] == "https://web1.example:23440"


# Passwords


async def everything(bench, grant):
    """Return all that somebody may read, as one text."""
    service = bench.service
    found = [
        await listed(bench, grant),
        await service.agent_definition(grant, "web1"),
        await service.audit(grant),
    ]
    found += [await service.drafts(grant)]
    return repr(found)


async def test_f_p4_passwords_are_shown_to_nobody_and_exported_to_an_admin(bench):
    for number in (2, 3):
        text = agent(spec=SECRETS.replace("geheim2", f"geheim{number}"))
        planned = await bench.apply(text, dry_run=True, grant=VIEWER)
        assert "geheim" not in repr(planned)
        await bench.apply(text)
    for grant in (ADMIN, VIEWER):
        assert "geheim" not in await everything(bench, grant)
    (view,) = await listed(bench)
    assert view.secrets == ("http_proxy_password", "password")
    files, _ = await bench.service.export(ADMIN)
    text = next(file.text for file in files if file.name == "agents/web1.yaml")
    assert "u:geheim1" in text
    assert "u:geheim3" in text
    with pytest.raises(GrantError):
        await bench.service.export(VIEWER)


async def test_a_password_that_goes_in_the_clear_is_a_warning(bench):
    result = await bench.apply(agent(spec=SECRETS))
    readable = "go over the network as they are, since 'tls' is off"
    assert result.warnings == (f"agent 'web1': its password, and secrets in its policies, {readable}",)
    result = await bench.apply(agent("web2", "address: b.example, tls: off"))
    assert result.warnings == (f"agent 'web2': secrets in its policies {readable}",)
    for number, here in enumerate(("127.0.0.1", "'::1'", "localhost")):
        result = await bench.apply(agent(f"here{number}", f"address: {here}, tls: off, password: 'u:p'"))
        assert result.warnings == (), "nothing leaves the machine"
    assert (await bench.apply(agent(spec="address: a, tls: web, password: 'u:p'"))).warnings == ()


async def test_a_password_that_changed_is_a_change_that_shows_neither(bench):
    await bench.apply(agent(spec=SECRETS))
    changed = agent(spec=SECRETS.replace("geheim2", "geheim3"))
    (planned,) = (await bench.apply(changed, dry_run=True, grant=VIEWER)).changes
    assert planned.action == "changed"
    assert '-  password: "[hidden]"' in planned.difference
    assert '+  password: "[hidden]"' in planned.difference
    assert "http_proxy_password" not in planned.difference.replace("   http_proxy_password", "")
    await bench.apply(changed)
    entry = (await bench.audit())[-1]
    assert '"password":"(secret, changed)"' in entry.after
    assert '"http_proxy_password":"(secret)"' in entry.after


async def test_a_plan_rests_on_a_definition_and_not_on_who_answers_there(bench):
    await bench.apply(agent(spec=SECRETS))
    moved = agent(spec="address: elsewhere")
    base = (await bench.apply(moved, dry_run=True, grant=VIEWER)).base
    assert set(base) == {"agent/web1"}
    await bench.store.write(lambda tx: bind(tx, ADMIN, "web1", UID, now=NOW))
    assert (await bench.apply(moved, dry_run=True)).base == base
    await bench.apply(agent(spec=SECRETS.replace("geheim2", "geheim4")))
    with pytest.raises(ConflictError, match="agent/web1") as caught:
        await bench.apply(moved, base=base)
    assert caught.value.code == "conflict.base"


async def test_a_draft_hides_passwords_from_a_viewer_and_is_published(bench):
    files = [SourceFile("a.yaml", agent(spec=SECRETS))]
    await bench.service.save_draft(ADMIN, "walls", files, terms=SaveTerms())
    assert "geheim" not in repr(await bench.service.draft(VIEWER, "walls"))
    assert "geheim2" in repr(await bench.service.draft(ADMIN, "walls"))
    assert "geheim" not in repr(await bench.service.plan_draft(VIEWER, "walls"))
    await bench.service.publish_draft(ADMIN, "walls")
    assert definition_of(await row(bench)).password == "u:geheim2"


# Sources, export, deletion


async def test_f_y18_a_definition_belongs_to_its_source_and_is_pruned_with_it(bench):
    await bench.apply(agent(), policy(), source=GIT)
    with pytest.raises(ConflictError, match=f"agent 'web1' is managed in {GIT}"):
        await bench.apply(agent(spec="address: b"))
    with pytest.raises(ConflictError, match="is managed in"):
        await bench.service.delete_agent_definition(ADMIN, "web1")
    planned = await bench.apply(policy(), source=GIT, prune=True, dry_run=True)
    assert [(one.kind, one.name) for one in planned.changes if one.action == "deleted"] == [("Agent", "web1")]
    assert await listed(bench)
    await bench.apply(policy(), source=GIT, prune=True)
    assert await listed(bench) == []


async def test_taking_over_ends_the_management(bench):
    await bench.apply(agent(), source=GIT)
    assert (await row(bench)).source == GIT
    await bench.apply(agent(spec="address: b"), take_over=True)
    assert (await row(bench)).source == ""


async def test_what_is_exported_changes_nothing_where_it_came_from_and_makes_the_same_elsewhere(bench):
    await bench.apply(
        agent(spec=SECRETS), agent("v6", "address: '::1', prefix: /a", ", annotations: {owner: net}")
    )
    before = await bench.store.read(lambda tx: tx.agent_definitions())
    files, warnings = await bench.service.export(ADMIN)
    assert warnings == ()
    texts = [file.text for file in files]
    assert {one.action for one in (await bench.apply(*texts)).changes} == {"unchanged"}
    for name in ("web1", "v6"):
        await bench.service.delete_agent_definition(ADMIN, name)
    await bench.apply(*texts)
    assert await bench.store.read(lambda tx: tx.agent_definitions()) == before


async def test_a_definition_is_deleted_by_name_and_only_by_who_may(bench):
    await bench.apply(agent())
    with pytest.raises(GrantError):
        await bench.service.delete_agent_definition(VIEWER, "web1")
    await bench.service.delete_agent_definition(ADMIN, "web1")
    for call in (
        bench.service.delete_agent_definition(ADMIN, "web1"),
        bench.service.agent_definition(VIEWER, "web2"),
    ):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.code == "not_found.agent_definition"
    assert bench.links.changed[-1] == "definition web1"


async def test_definitions_are_listed_a_page_at_a_time(bench):
    await bench.apply(*(agent(f"w{number}", f"address: w{number}") for number in range(5)))
    first = await bench.service.agent_definitions(VIEWER, limit=2)
    second = await bench.service.agent_definitions(VIEWER, after=first.cursor, limit=3)
    assert [one.name for one in first.items] == ["w0", "w1"]
    assert [one.name for one in second.items] == ["w2", "w3", "w4"]
    assert second.cursor == ""


async def test_f_c3_the_manager_may_be_named_as_the_dialer_and_its_groups_ask_for_visits(bench):
    await bench.apply(
        group("walled", "{inherits: false, communication: {preset: Pull by visit, never_dial: true}}")
    )
    bundle = await bench.bundle("walled")
    assert bundle.as_dict()["crit"] == ["visits"]
    settings = bundle.locations["default"].communication
    assert (str(settings.preset), settings.heartbeat, settings.never_dial) == ("Pull by visit", 600.0, True)
    files, warnings = await bench.service.export(ADMIN)
    assert warnings == ()
    assert {one.action for one in (await bench.apply(*(file.text for file in files))).changes} == {
        "unchanged"
    }
    assert (await bench.bundle("fleet")).as_dict()["crit"] == []
