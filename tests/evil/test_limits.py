"""What an evil proxy may cost its Manager: memory, time and lines of the log are bounded, and nobody else pays."""

import json
import tracemalloc
import uuid

import pytest
from tests.manager.relays.conftest import said, state_of

from popham.opamp.relay import RELAY_LIMIT
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.testing.direct import ADMIN
from popham.upstream.presence import LINKED

from .blows import STATUSES
from .fleet import EvilFleet

MANY = 1_000_000


@pytest.fixture
async def rig(keys):
    found = await EvilFleet().begin(keys)
    yield found
    await found.end()


async def send(rig, up):
    """Send a message as ``dock``, which never says that it has heard anything."""
    up.head.CopyFrom(rig.dock.exchange.head())
    up.head.heard = 0
    return await rig.post(up.SerializeToString())


async def test_sec_31_a_message_that_is_too_large_is_not_read(rig):
    assert (await rig.post(b"\0" * (RELAY_LIMIT + 1))).status == 413


@pytest.mark.parametrize("part", ["agents", "streams"])
async def test_sec_31_more_in_a_message_than_there_may_be_is_refused_at_once(rig, part):
    up = wire.RelayUp()
    getattr(up, part).extend([wire.AgentSaid() if part == "agents" else wire.Carried()] * 20_000)
    assert (await send(rig, up)).status == 413


async def test_sec_31_agents_bodies_groups_and_calls_without_end_are_not_remembered(rig, caplog):
    tracemalloc.start()
    try:
        for turn in range(6):
            up, number = wire.RelayUp(), turn * 5000
            for at in range(number, number + 5000):
                key = uuid.UUID(int=at).bytes
                up.agents_known.add(key=key, digest=b"x" * 8)
                up.groups.add(key=b"group-%d" % at)
            up.lacks.extend([wire.Lack(sha256="../state/ca.key")] * 20_000)
            up.agents.extend(wire.AgentSaid(key=uuid.UUID(int=MANY + number + at).bytes) for at in range(500))
            up.streams.extend(
                wire.Carried(key=uuid.UUID(int=2 * MANY + number + at).bytes, stream="\x1b[2J\n")
                for at in range(500)
            )
            for at in range(300):
                up.calls.add(id=number + at, kind="standing", key=uuid.UUID(int=at).bytes)
            assert (await send(rig, up)).status == 200
            if turn == 2:
                first = tracemalloc.get_traced_memory()[0]
        grown = tracemalloc.get_traced_memory()[0] - first
    finally:
        tracemalloc.stop()
    assert grown < 2 * 1024 * 1024
    assert len(caplog.records) < 500
    assert not any("\x1b" in record.getMessage() for record in caplog.records)


async def test_sec_31_ways_without_end_are_not_remembered(rig):
    placed = rig.fleet.relays.placed
    for number in range(200):
        via = [uuid.UUID(int=number * 100 + at).bytes for at in range(10)]
        await rig.dock.relay(said(rig.mine[0], via=via))
    assert len(placed._counts) < 50


async def test_sec_31_places_and_times_that_cannot_be_are_none(rig):
    agent, clock = rig.mine[0], rig.fleet.clock
    state = state_of(agent, 100, nonce=rig.dock.nonce.hex())
    for promise in (1e308, float("inf"), float("nan"), -5.0):
        for age in (1e308, float("nan"), -1e308):
            await rig.dock.relay(
                said(agent, state, index=2**32 - 1, age=age, promise=promise, via=[b"x" * 16])
            )
            record = rig.fleet.record(agent)
            assert 0 < record.promise < 1e8
            assert 0 <= record.last_contact <= clock.now()
    await rig.dock.relay(presence=bytes([LINKED]) * (3 * MANY))
    view = await rig.manager.service.agent(ADMIN, agent.name)
    json.dumps(view.last_contact, allow_nan=False)


async def test_sec_31_two_proxies_that_say_that_they_are_behind_each_other_are_not(rig):
    rig.fleet.give(rig.dock.uid, "lab", "fleet")
    rig.fleet.give(rig.pier.uid, "other", "fleet")
    for _ in range(3):
        await rig.dock.relay(said(rig.pier.agent))
        await rig.pier.relay(said(rig.dock.agent))
        for proxy in (rig.dock, rig.pier):
            assert proxy.record.promise < 1e6
            assert proxy.record.last_contact is not None
    await rig.dock.relay()
    assert rig.dock.record.via == ()


async def test_sec_31_a_status_of_whatever_kind_harms_nobody_who_looks_at_it(rig):
    for status in STATUSES:
        for data in (status, status % b"x" if b"%s" in status else status):
            await rig.dock.relay(status=data)
            rig.fleet.relays.desk.visitor(rig.dock.record)
            shown = rig.fleet.relays.placed.status(rig.dock.uid)
            json.dumps(shown, allow_nan=False).encode()
