"""Definitions of kind Proxy: applied, compared, exported, pruned, deleted."""

import pytest
from tests.manager.conftest import ADMIN, VIEWER, group

from popham.errors import ConflictError, GrantError, NotFoundError
from popham.model.definition import DefinitionSetError
from popham.model.documents import SourceFile

from .conftest import proxy, visited

GIT = "https://git.example/fleet"


async def test_a_definition_is_created_changed_and_left_alone(docks):
    bench = docks.bench
    result = await bench.apply(proxy("pier", "groups: [rome]"))
    assert [(one.kind, one.name, one.action) for one in result.changes] == [("Proxy", "pier", "created")]
    again = await bench.apply(proxy("pier", "groups: [rome], port: 4320"))
    assert [one.action for one in again.changes] == ["unchanged"]
    bench.clock.at += 5
    other = await bench.apply(proxy("pier", "groups: [rome], port: 4321"))
    assert [one.action for one in other.changes] == ["changed"]
    row = await docks.proxy("pier")
    assert (row.edition, row.changed) == (2, bench.clock.at)
    assert bench.links.changed == ["proxy dock", "proxy pier", "proxy pier"]
    assert [one.method for one in await bench.audit() if one.object == "proxy/pier"] == ["apply", "apply"]


async def test_sec_30_a_group_that_is_not_there_cannot_be_given(docks):
    with pytest.raises(DefinitionSetError) as caught:
        await docks.bench.apply(proxy("pier", "groups: [pariss]"))
    assert caught.value.code == "definition.unknown_group"
    assert "Did you mean 'paris'?" in str(caught.value)


async def test_an_agent_is_visited_by_a_proxy_that_is_there(docks):
    with pytest.raises(DefinitionSetError) as caught:
        await docks.bench.apply(visited(spec="address: 10.1.0.1, proxy: quay"))
    assert caught.value.code == "definition.unknown_proxy"
    assert caught.value.line == 4
    await docks.bench.apply(proxy("quay", ""), visited(spec="address: 10.1.0.1, proxy: quay"))
    view = await docks.bench.service.agent_definition(VIEWER, "web1")
    assert (view.proxy, view.state) == ("quay", "left to quay")


async def test_there_are_at_most_so_many(docks, monkeypatch):
    monkeypatch.setattr("popham.manager.proxies.definitions.PROXIES_MAX", 2)
    await docks.bench.apply(proxy("pier", ""))
    with pytest.raises(DefinitionSetError, match="more than 2 proxies"):
        await docks.bench.apply(proxy("quay", ""))


async def test_a_dry_run_shows_what_differs_and_changes_nothing(docks):
    result = await docks.bench.apply(proxy(spec="groups: [paris, rome]"), dry_run=True)
    (change,) = result.changes
    assert change.action == "changed"
    assert "+    - rome" in change.difference
    assert "proxy/dock" in result.base
    assert "rome" not in (await docks.proxy()).body


async def test_a_plan_is_refused_after_the_definition_moved(docks):
    planned = await docks.bench.apply(proxy(spec="groups: [rome]"), dry_run=True)
    await docks.bench.apply(proxy(spec="groups: [paris]"))
    with pytest.raises(ConflictError, match="proxy/dock"):
        await docks.bench.apply(proxy(spec="groups: [rome]"), base=planned.base)


async def test_who_is_the_proxy_moves_no_plan(docks):
    planned = await docks.bench.apply(proxy(spec="groups: [rome]"), dry_run=True)
    machine = await docks.make()
    await docks.bench.apply(proxy(spec="groups: [rome]"), base=planned.base)
    assert (await docks.proxy()).uid == machine.uid


async def test_what_is_exported_makes_the_same_again(docks):
    await docks.bench.apply(proxy("pier", "groups: [rome], custody: {logs: end to end}"))
    files, _ = await docks.bench.service.export(ADMIN)
    texts = {one.name: one.text for one in files}
    found = [SourceFile(name, texts[name]) for name in ("proxies/dock.yaml", "proxies/pier.yaml")]
    result = await docks.bench.service.apply(ADMIN, found, dry_run=True)
    assert {one.action for one in result.changes} == {"unchanged"}


async def test_a_source_prunes_its_proxies_after_the_agents_that_they_visit(docks):
    bench = docks.bench
    await bench.apply(
        proxy("pier", "groups: [oslo]"), visited(spec="address: a, proxy: pier"), group("oslo"), source=GIT
    )
    with pytest.raises(ConflictError, match="managed in"):
        await bench.service.delete_proxy(ADMIN, "pier")
    result = await bench.apply(group("rome"), source=GIT, prune=True, take_over=True)
    assert [(one.kind, one.name) for one in result.changes if one.action == "deleted"] == [
        ("Agent", "web1"),
        ("Proxy", "pier"),
        ("Group", "oslo"),
    ]


async def test_a_group_that_was_given_to_a_proxy_is_not_deleted(docks):
    await docks.bench.service.delete_group(ADMIN, "left-bank")
    with pytest.raises(ConflictError, match="group 'paris' was given to proxy 'dock'") as caught:
        await docks.bench.service.delete_group(ADMIN, "paris")
    assert caught.value.code == "conflict.proxied"


async def test_who_may_delete_a_proxy(docks):
    with pytest.raises(GrantError):
        await docks.bench.service.delete_proxy(VIEWER, "dock")
    with pytest.raises(NotFoundError, match="Did you mean 'dock'"):
        await docks.bench.service.delete_proxy(ADMIN, "dok")
    await docks.bench.service.delete_proxy(ADMIN, "dock")
    assert await docks.bench.service.proxies(VIEWER) == ()
