"""Distribute.ini at a Manager: groups are made, agents moved, and those awaited begin in their group."""

import asyncio
import json
from zlib import crc32

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group
from tests.manager.test_agent_definitions import agent as definition

from popham.errors import ConflictError, GrantError, NotFoundError
from popham.manager import distribute_ini
from popham.manager.moves import place_agent
from popham.model.distribute_ini import Folder
from popham.model.findings import DefinitionSetError
from popham.store.rows import AgentRow


def ini(name, *hosts, beside=()):
    text = f"[POLICY_DEF]\nDISTHOST = {','.join(hosts)}\n"
    return Folder(name=name, source=f"{name}/Distribute.ini", text=text, beside=beside)


def uid_of(name):
    return f"00000000-0000-4000-8000-{crc32(name.encode()):012d}"


async def join(bench, *names, kind="own", address="", belongs="fleet", admission="accepted"):
    for name in names:
        row = AgentRow(
            uid=uid_of(name), name=name, group=belongs, kind=kind, admission=admission, first_seen=NOW,
            spki="00" * 32, address=address,
        )  # fmt: skip
        await bench.store.write(lambda tx, row=row: tx.put_agent(row))


async def take(bench, *folders, grant=ADMIN, **more):
    return await bench.service.import_distribution(grant, folders, **more)


async def belongs(bench):
    rows = await bench.store.read(lambda tx: tx.agents())
    return {row.name: row.group for row in rows}


async def rules(bench):
    return {one.name: one for one in await bench.service.placements(ADMIN)}


def counts(done):
    return {one.group: (one.moved, one.here, one.awaited) for one in done.groups}


async def test_f_o15_distribute_ini_makes_groups_and_moves_the_agents_that_are_known(bench):
    await join(bench, "web1", "db1")
    before = len(await bench.audit())
    done = await take(bench, ini("Web", "WEB1", "web2"), ini("db", "db1"))
    assert counts(done) == {"web": (1, 0, 1), "db": (1, 0, 0)}
    assert [(one.kind, one.name, one.action) for one in done.changes] == [
        ("Group", "web", "created"),
        ("Group", "db", "created"),
        ("Placement", "distribute-1-web", "created"),
        ("Placement", "distribute-1-db", "created"),
    ]
    assert [(one.agent, one.before, one.after) for one in done.moves] == [
        ("web1", "fleet", "web"),
        ("db1", "fleet", "db"),
    ]
    assert await belongs(bench) == {"web1": "web", "db1": "db"}
    row = await bench.store.read(lambda tx: tx.agent(uid_of("web1")))
    assert row.assignment, "it has a new assignment"
    assert set(bench.links.changed) >= {uid_of("web1"), uid_of("db1")}
    audit = (await bench.audit())[before:]
    assert [one.method for one in audit] == ["apply"] * 4 + ["agent.move"] * 2
    assert json.loads(audit[0].after)["message"] == "import of Distribute.ini"


async def test_f_o15_distribute_ini_places_a_host_that_arrives_later(bench):
    await take(bench, ini("web", "web2"))
    assert (await rules(bench))["distribute-1-web"].names == ("web2",)
    for name, expected in [("web2", "web"), ("web20", "fleet")]:
        row = AgentRow(
            uid=uid_of(name), name=name, group="fleet", kind="own", admission="accepted", first_seen=NOW
        )
        placed, by = await bench.store.read(lambda tx, row=row: place_agent(tx, row))
        assert (placed.group, by) == (expected, "distribute-1-web" if expected == "web" else "")


async def test_f_o15_distribute_ini_again_changes_nothing(bench):
    await join(bench, "web1")
    await take(bench, ini("web", "web1", "web2"))
    before = len(await bench.audit())
    again = await take(bench, ini("web", "web1", "web2"))
    assert (again.changes, again.moves, counts(again)) == ((), (), {"web": (0, 1, 1)})
    assert len(await bench.audit()) == before


async def test_f_o15_distribute_ini_is_tried_first(bench):
    await join(bench, "web1")
    planned = await take(bench, ini("web", "web1"), grant=VIEWER, dry_run=True)
    assert (planned.dry_run, counts(planned), len(planned.changes)) == (True, {"web": (1, 0, 0)}, 2)
    assert (await belongs(bench), await rules(bench)) == ({"web1": "fleet"}, {})
    with pytest.raises(GrantError):
        await take(bench, ini("web", "web1"), grant=VIEWER)


async def test_f_o15_distribute_ini_names_what_is_wrong_and_serves_the_others(bench):
    await join(bench, "web1", "web2")
    done = await take(bench, ini("a", "web1", "web2"), ini("b", "web1", "we b", "192.0.2.1"))
    assert await belongs(bench) == {"web1": "fleet", "web2": "a"}
    assert done.wrong == 3
    assert [one.partition(": ")[0] for one in done.findings] == ["b/Distribute.ini:2"] * 3
    assert "kind Placement with 'address:'" in done.findings[2]


async def test_a_host_is_found_by_its_address_and_by_where_it_is_visited(bench):
    await join(bench, "alpha", address="192.0.2.1")
    await join(bench, "beta", "gamma", address="192.0.2.2")
    await bench.apply(definition("gamma", "address: gamma.example"))
    done = await take(bench, ini("web", "192.0.2.1", "gamma.example", "192.0.2.2"))
    assert await belongs(bench) == {"alpha": "web", "beta": "fleet", "gamma": "web"}
    assert done.wrong == 1
    assert "'192.0.2.2' is 2 agents" in done.findings[0]


async def test_a_machine_that_was_set_up_anew_is_the_agent_that_is_not_revoked(bench):
    await join(bench, "web1", admission="revoked")
    fresh = uid_of("again")
    row = AgentRow(
        uid=fresh, name="web1", group="fleet", kind="own", admission="accepted", first_seen=NOW, spki="11" * 32
    )  # fmt: skip
    await bench.store.write(lambda tx: tx.put_agent(row))
    done = await take(bench, ini("web", "web1"))
    assert ([one.uid for one in done.moves], done.findings) == ([fresh], ())


async def test_one_agent_that_two_groups_mean_by_two_names_is_named(bench):
    await join(bench, "alpha", address="192.0.2.1")
    done = await take(bench, ini("a", "alpha"), ini("b", "192.0.2.1"))
    assert await belongs(bench) == {"alpha": "a"}
    assert "is agent 'alpha', which a/Distribute.ini:2 puts into 'a'" in done.findings[0]
    again = await take(bench, ini("a", "alpha", "192.0.2.1"))
    assert (counts(again), again.wrong) == ({"a": (0, 1, 0)}, 0)


async def test_a_stock_agent_stays_and_what_to_do_is_said(bench):
    await join(bench, "stock1", kind="stock")
    await join(bench, "fresh", kind="unknown")
    done = await take(bench, ini("web", "stock1", "fresh", beside=("template.dat",)))
    assert await belongs(bench) == {"stock1": "fleet", "fresh": "fleet"}
    assert [one.text for one in done.left] == ["template.dat", "stock1"]
    assert done.left_count == 2
    assert "--stock --group web" in done.left[1].instead
    assert (done.wrong, "not said yet what it is" in done.findings[0]) == (1, True)


async def test_groups_are_made_under_another_and_one_that_exists_stays(bench):
    await bench.apply(group("paris"), group("web", "{parent: paris}"))
    await take(bench, ini("web", "a"), ini("db", "b"), under="paris")
    parents = {one.name: one.parent for one in await bench.service.groups(ADMIN)}
    assert (parents["web"], parents["db"]) == ("paris", "paris")
    await take(bench, ini("web", "a"))
    assert {one.name: one.parent for one in await bench.service.groups(ADMIN)} == parents
    with pytest.raises(NotFoundError, match="there is no group 'rome'"):
        await take(bench, ini("x", "c"), under="rome")


async def test_a_host_that_is_taken_out_of_the_file_leaves_the_rule_and_stays_where_it_is(bench, monkeypatch):
    monkeypatch.setattr(distribute_ini, "NAMES_MAX", 2)
    monkeypatch.setattr(distribute_ini, "SLICE", 2)
    await join(bench, "a", "b", "c")
    await take(bench, ini("web", "a", "b", "c"))
    assert {name: rule.names for name, rule in (await rules(bench)).items()} == {
        "distribute-1-web": ("a", "b"),
        "distribute-2-web": ("c",),
    }
    done = await take(bench, ini("web", "a", "b"))
    assert [(one.name, one.action) for one in done.changes] == [("distribute-2-web", "deleted")]
    assert (await belongs(bench))["c"] == "web"
    await take(bench, ini("web"))
    assert await rules(bench) == {}


async def test_what_somebody_added_to_a_rule_stays(bench):
    await take(bench, ini("web", "a"))
    await bench.apply(
        "apiVersion: popham/v1\nkind: Placement\nmetadata: {name: distribute-1-web}\n"
        "spec: {order: 7, names: [a], address: 10.0.0.0/8, group: web}\n"
    )
    assert (await take(bench, ini("web", "a"))).changes == ()
    await take(bench, ini("web", "a", "b"))
    rule = (await rules(bench))["distribute-1-web"]
    assert (rule.order, rule.address, rule.names) == (7, ("10.0.0.0/8",), ("a", "b"))


async def test_a_rule_that_is_managed_elsewhere_refuses_the_import_and_nothing_changes(bench):
    await bench.apply(
        group("web"),
        "apiVersion: popham/v1\nkind: Placement\nmetadata: {name: distribute-1-web}\n"
        "spec: {names: [z], group: web}\n",
        source="git",
    )
    await join(bench, "a")
    with pytest.raises(ConflictError, match="managed in git"):
        await take(bench, ini("web", "a"), ini("db", "b"))
    assert await belongs(bench) == {"a": "fleet"}
    assert "db" not in {one.name for one in await bench.service.groups(ADMIN)}


async def test_too_many_rules_are_refused_and_nothing_changes(bench, monkeypatch):
    monkeypatch.setattr("popham.manager.moves.PLACEMENTS_MAX", 1)
    await join(bench, "a")
    with pytest.raises(DefinitionSetError, match="more than 1 placements"):
        await take(bench, ini("web", "a"), ini("db", "b"))
    assert await belongs(bench) == {"a": "fleet"}


async def test_names_are_long_and_of_different_groups_never_the_same(bench):
    long = "x" * 80
    await take(bench, ini(long, "a"), ini(long + "y", "b"), ini("1-web", "c"))
    assert len(await rules(bench)) == 3
    assert all(len(name) <= 64 for name in await rules(bench))


async def test_two_imports_at_once_leave_what_one_would(bench):
    await join(bench, "a", "b")
    folders = [ini("web", "a", "c"), ini("db", "b")]
    await asyncio.gather(take(bench, *folders), take(bench, *folders))
    assert await belongs(bench) == {"a": "web", "b": "db"}
    assert (await take(bench, *folders)).changes == ()


async def test_an_agent_that_is_gone_before_it_is_moved_is_passed_over(bench, monkeypatch):
    await join(bench, "a", "b")
    plain = distribute_ini.DistributionTaker._move

    async def late(self, grant, moves):
        await bench.store.write(lambda tx: tx.delete_agent(uid_of("a")))
        await plain(self, grant, moves)

    monkeypatch.setattr(distribute_ini.DistributionTaker, "_move", late)
    await take(bench, ini("web", "a", "b"))
    assert await belongs(bench) == {"b": "web"}
