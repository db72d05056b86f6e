"""Who is a proxy now, whom it may speak for, and where it visits: what the desk asks."""

import asyncio
import uuid

from tests.manager.conftest import ADMIN, group

from popham.model.fleet import AgentKind
from popham.store.rows import AgentRow
from popham.upstream.record import Record

from .conftest import Machine, proxy, visited

UID = "0191d5a8-0000-7000-8000-00000000000a"
OTHER = "0191d5a8-0000-7000-8000-00000000000b"


async def add(docks, name, uid, belongs="rome"):
    row = AgentRow(
        uid=uid, name=name, group=belongs, kind=AgentKind.OWN, admission="accepted", first_seen=1.0
    )
    await docks.bench.store.write(lambda tx: tx.put_agent(row))
    return Record(uid=uid, key=uuid.UUID(uid).bytes, name=name, group=belongs)


async def test_nobody_is_a_proxy_before_it_is_accepted(docks):
    machine = Machine()
    await docks.enroll(machine, await docks.token())
    await docks.directory.load()
    assert docks.directory.uids() == ()
    assert docks.directory.scope_of(machine.uid) is None
    assert docks.directory.name_of(machine.uid) == ""
    assert docks.directory.places_of(machine.uid) == []


async def test_sec_30_a_proxy_speaks_for_its_groups_those_below_and_the_agents_that_are_named(docks):
    near, named, other = (
        await add(docks, "web-1", UID, "left-bank"),
        await add(docks, "db-1", OTHER),
        await add(docks, "db-2", str(uuid.uuid4())),
    )
    await docks.bench.apply(proxy(spec="groups: [paris], agents: [db-1], custody: {events: end to end}"))
    machine = await docks.make()
    scope = docks.directory.scope_of(machine.uid)
    assert scope.groups == {"paris", "left-bank"}
    assert [scope.has(one) for one in (near, named, other)] == [True, True, False]
    assert scope.custody == {
        "events": "end to end",
        "summary": "hop",
        "metrics": "hop",
        "logs": "hop",
    }
    assert docks.directory.name_of(machine.uid) == "dock"
    assert docks.directory.uids() == (machine.uid,)


async def test_sec_30_a_name_that_two_agents_have_means_neither_and_a_uid_means_one(docks):
    one, two = await add(docks, "db", UID), await add(docks, "db", OTHER)
    await docks.bench.apply(proxy(spec=f"agents: [db, {OTHER}]"))
    machine = await docks.make()
    scope = docks.directory.scope_of(machine.uid)
    assert (scope.has(one), scope.has(two)) == (False, True)


async def test_a_group_that_comes_below_later_is_given_too(docks):
    machine = await docks.make()
    told = []
    docks.directory.changed = lambda: told.append(docks.directory.scope_of(machine.uid).groups)
    await docks.bench.apply(group("right-bank", "{parent: paris}"))
    await docks.directory.load()
    await docks.directory.load()
    assert told == [{"paris", "left-bank", "right-bank"}]


async def test_places_are_those_of_the_agents_that_name_the_proxy(docks):
    secret = "address: 10.1.0.1, tls: web, password: 'u:geheim', proxy: dock"
    await docks.bench.apply(visited(spec=secret), visited("web2", "address: 10.1.0.2"))
    machine = await docks.make()
    (place,) = docks.directory.places_of(machine.uid)
    assert (place.name, place.url, place.tls) == ("web1", "https://10.1.0.1:23440", "web")
    assert (place.password, place.key) == ("u:geheim", b"")
    assert "geheim" not in repr(docks.directory.places_of)


async def test_what_changes_is_read_after_a_moment_and_told_once(docks):
    machine = await docks.make()
    told = asyncio.Event()
    docks.directory.changed = told.set
    running = asyncio.create_task(docks.directory.run())
    try:
        await docks.bench.service.delete_proxy(ADMIN, "dock")
        for _ in range(3):
            docks.directory.refresh_soon()
        async with asyncio.timeout(5):
            await told.wait()
        assert not docks.directory.has(machine.uid)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
