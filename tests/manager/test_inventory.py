import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, policy

from popham.errors import ConflictError, DefinitionError, NotFoundError
from popham.store.rows import AgentRow

OWN = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"


async def conflict(call):
    with pytest.raises(ConflictError) as caught:
        await call
    return caught.value.code


async def test_groups_are_listed_by_their_path(bench):
    await bench.apply(group("b", "{parent: z}"), group("z"), group("a", metadata=", labels: {site: fr}"))
    views = await bench.service.groups(VIEWER)
    assert [view.path for view in views] == ["fleet", "fleet/a", "fleet/z", "fleet/z/b"]
    assert (views[1].labels, views[1].parent, views[1].serial, views[1].preset) == (
        {"site": "fr"},
        "fleet",
        1,
        "Push",
    )


async def test_a_group_has_an_edition_for_each_change(bench):
    await bench.apply(group("a"))
    await bench.apply(group("a", metadata=", labels: {x: y}"))
    assert (await bench.service.group(VIEWER, "a")).edition == 2


async def test_an_unknown_group_or_policy_names_the_nearest_right_one(bench):
    await bench.apply(policy(), group("paris"))
    for call in (
        bench.service.group(VIEWER, "pariss"),
        bench.service.delete_group(ADMIN, "pariss"),
        bench.service.agents(VIEWER, group="pariss"),
        bench.service.check_in(ADMIN, group="pariss"),
    ):
        with pytest.raises(NotFoundError, match="no group") as caught:
            await call
        assert (caught.value.code, caught.value.hint) == ("not_found.group", "Did you mean 'paris'?")
    for call in (
        bench.service.policy(VIEWER, "mott"),
        bench.service.delete_policy(ADMIN, "mott"),
        bench.service.copy_policy(ADMIN, "mott", "x"),
    ):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert (caught.value.code, caught.value.hint) == ("not_found.policy", "Did you mean 'motd'?")


async def test_f_y1_a_policy_shows_where_it_is_assigned_and_what_it_says(bench):
    await bench.apply(policy(), policy("spare", more=", private_to: paris"), group("paris", OWN))
    listed = await bench.service.policies(VIEWER)
    assert [(view.name, view.groups, view.private_to, view.spec) for view in listed] == [
        ("motd", ("paris",), "", None),
        ("spare", (), "paris", None),
    ]
    view = await bench.service.policy(VIEWER, "spare")
    assert view.spec == {
        "type": "files",
        "private_to": "paris",
        "files": [{"path": "/etc/popham.d/motd", "content": "hi", "mode": "0644"}],
    }
    assert (view.author, view.changed, view.revision) == ("ada", NOW, 1)


async def test_f_y1_a_policy_is_copied_under_another_name(bench):
    await bench.apply(policy(), policy("spare", more=", private_to: fleet"))
    view = await bench.service.copy_policy(ADMIN, "spare", "copy")
    original = await bench.service.policy(ADMIN, "spare")
    assert (view.sha256, view.revision, view.private_to, view.groups) == (original.sha256, 1, "", ())
    assert await conflict(bench.service.copy_policy(ADMIN, "motd", "copy")) == "conflict.exists"
    with pytest.raises(DefinitionError):
        await bench.service.copy_policy(ADMIN, "motd", "No Name")
    assert [row.method for row in await bench.audit()][-1] == "policy.copy"


async def test_a_policy_is_deleted_once_nobody_assigns_it(bench):
    await bench.apply(policy(), group("paris", OWN))
    assert await conflict(bench.service.delete_policy(ADMIN, "motd")) == "conflict.assigned"
    await bench.apply(group("paris", OWN.replace("motd", "null")))
    await bench.service.delete_policy(ADMIN, "motd")
    assert await bench.service.policies(ADMIN) == ()
    # Its old revisions stay, so a policy of that name counts on.
    await bench.apply(policy())
    assert (await bench.service.policy(ADMIN, "motd")).revision == 2


async def test_a_group_is_deleted_once_nothing_depends_on_it(bench):
    await bench.apply(group("paris"), group("below", "{parent: paris}"), policy(more=", private_to: paris"))
    made = await bench.service.create_token(ADMIN, group="paris")
    row = AgentRow(uid="u", name="web", group="paris", kind="own", admission="new", first_seen=NOW)
    await bench.store.write(lambda tx: tx.put_agent(row))
    assert await conflict(bench.service.delete_group(ADMIN, "fleet")) == "conflict.root"
    assert await conflict(bench.service.delete_group(ADMIN, "paris")) == "conflict.children"
    await bench.service.delete_group(ADMIN, "below")
    assert await conflict(bench.service.delete_group(ADMIN, "paris")) == "conflict.agents"
    await bench.store.write(lambda tx: tx.delete_agent("u"))
    assert await conflict(bench.service.delete_group(ADMIN, "paris")) == "conflict.tokens"
    await bench.service.revoke_token(ADMIN, made.token.id)
    assert await conflict(bench.service.delete_group(ADMIN, "paris")) == "conflict.private"
    await bench.service.delete_policy(ADMIN, "motd")
    await bench.service.delete_group(ADMIN, "paris")
    assert [view.name for view in await bench.service.groups(ADMIN)] == ["fleet"]
    assert [row.method for row in await bench.audit()][-1] == "group.delete"
