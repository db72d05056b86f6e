"""API tokens of people: made, listed and revoked; and what limits an operator's."""

import json

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group

from popham.errors import ConflictError, DefinitionError, GrantError, NotFoundError
from popham.manager.grant import Grant, Role, Scope
from popham.model.fleet import AgentKind
from popham.store.rows import AgentRow

OPERATOR = Grant(actor="olga", role=Role.OPERATOR, source="192.0.2.9")
DAY = 86400.0


async def make(bench, name="olga", role="operator", **terms):
    return await bench.service.create_grant(ADMIN, name=name, role=role, **terms)


async def put_agents(bench, **groups):
    """Put an agent of each name into its group."""

    def work(tx):
        for name, where in groups.items():
            fields = {"kind": AgentKind.OWN, "admission": "accepted", "first_seen": NOW}
            tx.put_agent(AgentRow(uid=f"uid-{name}", name=name, group=where, **fields))

    await bench.apply(group("paris"), group("bank", "{parent: paris}"), group("rome"))
    await bench.store.write(work)


async def test_f_o5_a_token_works_as_it_was_made_and_is_listed_without_its_secret(bench):
    await bench.apply(group("paris"))
    made = await make(bench, groups=["paris"], operations=["run", "check-in", "run"], lifetime=DAY)
    view = made.grant
    assert (view.name, view.role, view.groups) == ("olga", "operator", ("paris",))
    assert (view.operations, view.state) == (("check-in", "run"), "usable")
    assert (view.created, view.expires) == (NOW, NOW + DAY)
    grant = await bench.service.authenticate(made.secret, "192.0.2.3")
    assert grant.scope == Scope(groups=("paris",), operations=("check-in", "run"))
    assert await bench.service.grants(ADMIN) == (view,)


async def test_f_o5_tokens_come_newest_first_and_say_how_they_stand(bench):
    first = await make(bench, "vic", "viewer", lifetime=10.0)
    bench.clock.at += 10
    second = await make(bench)
    assert second.grant.expires == bench.clock.at + 90 * DAY
    await bench.service.revoke_grant(ADMIN, second.grant.id)
    third = await make(bench, "ada", "admin", lifetime=365 * DAY)
    bench.clock.at += 1
    fourth = await make(bench, "bob", "admin")
    found = await bench.service.grants(ADMIN)
    assert (found[0].id, found[-1].id) == (fourth.grant.id, first.grant.id)
    states = {view.id: view.state for view in found}
    assert [states[made.grant.id] for made in (first, second, third)] == ["expired", "revoked", "usable"]


async def test_f_o5_a_revoked_token_is_refused_at_once(bench):
    made = await make(bench)
    view = await bench.service.revoke_grant(ADMIN, made.grant.id)
    assert view.state == "revoked"
    with pytest.raises(GrantError) as caught:
        await bench.service.authenticate(made.secret, "x")
    assert caught.value.code == "grant.unknown_token"


async def test_f_o5_the_audit_has_each_change_once_and_no_secret(bench):
    await bench.apply(group("paris"))
    made = await make(bench, groups=["paris"])
    for _ in range(2):
        await bench.service.revoke_grant(ADMIN, made.grant.id)
    created, revoked = (await bench.audit())[-2:]
    assert (created.method, revoked.method) == ("grant.create", "grant.revoke")
    assert {created.object, revoked.object} == {f"grant/{made.grant.id}"}
    assert json.loads(created.after) == {
        "name": "olga", "role": "operator", "groups": ["paris"], "operations": [],
        "expires": NOW + 90 * DAY, "revoked": False,
    }  # fmt: skip
    assert (revoked.before, json.loads(revoked.after)["revoked"]) == (created.after, True)
    assert made.secret.split("_")[2] not in f"{created}{revoked}"


async def test_f_o5_the_last_usable_token_of_an_admin_stays(bench):
    old = await make(bench, "ada", "admin", lifetime=10.0)
    only = await make(bench, "ada", "admin")
    await make(bench, "olga", "operator")
    bench.clock.at += 10
    with pytest.raises(ConflictError, match="the last usable token of an admin") as caught:
        await bench.service.revoke_grant(ADMIN, only.grant.id)
    assert caught.value.code == "conflict.last_admin"
    assert (await bench.service.revoke_grant(ADMIN, old.grant.id)).state == "revoked"
    await make(bench, "bob", "admin")
    assert (await bench.service.revoke_grant(ADMIN, only.grant.id)).state == "revoked"


@pytest.mark.parametrize(
    ("terms", "error", "code"),
    [
        ({"role": "operatr"}, GrantError, "grant.role"),
        ({"role": "admin", "groups": ["fleet"]}, GrantError, "grant.scope"),
        ({"role": "viewer", "operations": ["run"]}, GrantError, "grant.scope"),
        ({"operations": ["rstart"]}, GrantError, "grant.scope"),
        ({"operations": ["cancel"]}, GrantError, "grant.scope"),
        ({"groups": ["fleet", "pariss"]}, NotFoundError, "not_found.group"),
        ({"lifetime": 0.5}, DefinitionError, "definition.grant"),
        ({"lifetime": 366 * DAY}, DefinitionError, "definition.grant"),
        ({"lifetime": float("nan")}, DefinitionError, "definition.grant"),
        ({"name": "A B"}, DefinitionError, "definition.name"),
    ],
)
async def test_f_o5_a_token_that_makes_no_sense_is_not_made(bench, terms, error, code):
    with pytest.raises(error) as caught:
        await make(bench, **terms)
    assert (caught.value.code, caught.value.hint != "") == (code, True)
    assert await bench.service.grants(ADMIN) == ()
    assert await bench.audit() == []


async def test_an_unknown_token_cannot_be_revoked(bench):
    made = await make(bench)
    with pytest.raises(NotFoundError) as caught:
        await bench.service.revoke_grant(ADMIN, made.grant.id[:-1])
    assert (caught.value.code, caught.value.hint) == ("not_found.grant", f"Did you mean {made.grant.id!r}?")


async def test_f_o5_send_is_a_kind_that_a_scope_may_name(bench):
    assert (await make(bench, operations=["send"])).grant.operations == ("send",)


@pytest.mark.parametrize("grant", [VIEWER, OPERATOR], ids=["viewer", "operator"])
async def test_f_o5_only_admins_make_see_and_revoke_tokens(bench, grant):
    service = bench.service
    for call in (
        service.create_grant(grant, name="eve", role="admin"),
        service.grants(grant),
        service.revoke_grant(grant, "x"),
    ):
        with pytest.raises(GrantError) as caught:
            await call
        assert (caught.value.code, caught.value.hint) == ("grant.not_permitted", "This needs the role admin")


async def test_f_o5_a_check_in_obeys_the_groups_of_the_scope(bench):
    await put_agents(bench, here="paris", below="bank", away="rome")
    grant = Grant(actor="olga", role=Role.OPERATOR, source="x", scope=Scope(groups=("paris",)))
    check_in = bench.service.check_in
    assert {found.name for found in await check_in(grant, ["here", "below"])} == {"here", "below"}
    assert [found.name for found in await check_in(grant, group="bank")] == ["below"]
    bench.links.asked.clear()
    for asked in ({"refs": ["here", "away"]}, {"group": "rome"}, {"everyone": True}):
        with pytest.raises(GrantError, match="in the group rome, only in paris and below"):
            await check_in(grant, **asked)
    assert bench.links.asked == []
    assert len(await check_in(OPERATOR, everyone=True)) == 3


async def test_f_o5_a_check_in_obeys_the_kinds_of_the_scope(bench):
    await put_agents(bench, here="paris")
    for kind, allowed in (("check-in", True), ("restart", False)):
        grant = Grant(actor="olga", role=Role.OPERATOR, source="x", scope=Scope(operations=(kind,)))
        if allowed:
            assert len(await bench.service.check_in(grant, ["here"])) == 1
            continue
        with pytest.raises(GrantError, match="olga may not order check-in, only restart"):
            await bench.service.check_in(grant, ["here"])
