import asyncio
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group

from popham.errors import DefinitionError, GrantError, StateError
from popham.manager.links import NoLinks
from popham.store.audit import verify_chain
from popham.store.rows import AgentRow, AuditRow


async def put(bench, count, name="paris"):
    def work(tx):
        for number in range(count):
            uid = f"{name}-{number:03d}"
            row = AgentRow(
                uid=uid,
                name=uid,
                group=name,
                kind="own",
                admission="accepted",
                first_seen=NOW,
                last_contact=NOW,
                promise=60.0,
            )
            tx.put_agent(row)

    await bench.store.write(work)


CHANGES = [
    ("apply", ([],), {}),
    ("accept", ("x",), {}),
    ("refuse", ("x",), {}),
    ("revoke", ("x",), {}),
    ("delete_group", ("x",), {}),
    ("delete_policy", ("x",), {}),
    ("copy_policy", ("x", "y"), {}),
    ("create_token", (), {}),
    ("revoke_token", ("x",), {}),
    ("check_in", (("x",),), {}),
    ("create_grant", (), {"name": "x", "role": "admin"}),
    ("grants", (), {}),
    ("revoke_grant", ("x",), {}),
]


@pytest.mark.parametrize(("method", "args", "more"), CHANGES, ids=[method for method, _, _ in CHANGES])
async def test_sec_37_a_viewer_changes_nothing_and_learns_nothing_by_trying(bench, method, args, more):
    with pytest.raises(GrantError) as caught:
        await getattr(bench.service, method)(VIEWER, *args, **more)
    assert caught.value.code == "grant.not_permitted"
    assert await bench.audit() == []


async def test_a_viewer_may_read_everything(bench):
    for method in ("agents", "groups", "policies", "tokens", "audit"):
        await getattr(bench.service, method)(VIEWER)


async def test_agents_come_in_pages(bench):
    await bench.apply(group("paris"), group("lyon"))
    await put(bench, 5)
    await put(bench, 2, "lyon")
    seen, cursor = [], ""
    while True:
        page = await bench.service.agents(VIEWER, group="paris", after=cursor, limit=2)
        seen += [view.name for view in page.items]
        cursor = page.cursor
        if not cursor:
            break
    assert seen == [f"paris-{number:03d}" for number in range(5)]
    assert len((await bench.service.agents(VIEWER)).items) == 7
    assert len((await bench.service.agents(VIEWER, limit=-3)).items) == 1


async def test_f_o6_the_audit_comes_in_pages_and_its_chain_holds(bench):
    for name in ("a", "b", "c"):
        await bench.apply(group(name))
    first = await bench.service.audit(VIEWER, limit=2)
    rest = await bench.service.audit(VIEWER, after=int(first.cursor), limit=2)
    assert [view.object for view in (*first.items, *rest.items)] == ["group/a", "group/b", "group/c"]
    assert rest.cursor == ""
    verify_chain(await bench.audit())


async def test_f_o6_an_entry_that_somebody_changed_in_the_database_is_named(bench):
    for name in ("a", "b", "c"):
        await bench.apply(group(name))
    assert (await bench.service.verify_audit(ADMIN)).entries == 3
    table = bench.store._tables[AuditRow]
    key = next(key for key, row in table.items() if row.seq == 2)
    table[key] = replace(table[key], actor="somebody else")
    with pytest.raises(StateError, match="broken at entry 2"):
        await bench.service.verify_audit(ADMIN)


@pytest.mark.parametrize(
    "named",
    [
        {"group": "fleet", "everyone": True},
        {"refs": ["web"], "everyone": True},
        {"refs": ["web"], "group": "fleet"},
        {"selector": "env=prod", "everyone": True},
    ],
)
async def test_a_check_in_names_agents_in_one_way(bench, named):
    with pytest.raises(DefinitionError) as caught:
        await bench.service.check_in(ADMIN, **named)
    assert caught.value.code == "definition.check_in"
    assert bench.links.asked == []


async def test_a_check_in_of_many_leaves_the_loop_to_others_in_between(bench):
    await put(bench, 1001)
    seen = set()

    async def watch():
        while len(bench.links.asked) < 1001:
            seen.add(len(bench.links.asked))
            await asyncio.sleep(0)

    answers, _ = await asyncio.gather(bench.service.check_in(ADMIN, everyone=True), watch())
    assert len(answers) == 1001
    assert {500, 1000} <= seen


async def test_a_check_in_asks_held_links_and_tells_when_the_others_come(bench):
    await bench.apply(group("paris"))
    await put(bench, 2)
    bench.links.held.add("paris-000")
    bench.links.seen["paris-001"] = NOW + 10
    answers = await bench.service.check_in(ADMIN, group="paris")
    assert [(found.name, found.state, found.when) for found in answers] == [
        ("paris-000", "asked", None),
        ("paris-001", "waits", NOW + 70),
    ]
    assert len(await bench.service.check_in(ADMIN, everyone=True)) == 2
    assert [found.name for found in await bench.service.check_in(ADMIN, ["paris-001", "paris-001"])] == [
        "paris-001"
    ]


async def test_an_agent_that_never_came_is_waited_for_without_a_time(bench):
    row = AgentRow(uid="u", name="web", group="fleet", kind="own", admission="new", first_seen=NOW)
    await bench.store.write(lambda tx: tx.put_agent(row))
    (answer,) = await bench.service.check_in(ADMIN, ["web"])
    assert (answer.state, answer.when) == ("waits", None)


async def test_who_is_told_is_told_after_the_commit(bench):
    seen = []
    inner = bench.store.write

    async def write(work):
        result = await inner(work)
        seen.append(list(bench.told))
        return result

    bench.store.write = write
    await bench.apply(group("paris"))
    assert (seen, bench.told) == ([[]], [["paris"]])


async def test_without_links_nobody_is_connected():
    links = NoLinks()
    links.agent_changed("u")
    await links.tokens_changed()
    assert (links.connected("u"), links.check_in("u"), links.last_contact("u"), links.downtimes()) == (
        False,
        False,
        None,
        (),
    )
