"""Reports are made durable in batches."""

import asyncio
from dataclasses import replace

import pytest

from popham.errors import StateError
from popham.manager.saving import BATCH, SLICE, Saving
from popham.model.fleet import AgentKind
from popham.store.rows import AgentRow
from popham.testing.direct import CountingStore
from popham.testing.virtual import VirtualClock
from popham.upstream.record import Record


class SlowStore(CountingStore):
    """Begins a write only when it is let."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()

    async def write(self, work):
        await self.gate.wait()
        return await super().write(work)


def agents(count):
    return [
        Record(uid=f"agent-{n}", key=n.to_bytes(16, "big"), name=f"a{n}", group="fleet", kind=AgentKind.OWN)
        for n in range(count)
    ]


async def plant(store, records):
    rows = [
        AgentRow(uid=r.uid, name=r.name, group="fleet", kind="own", admission="accepted", first_seen=0.0)
        for r in records
    ]
    await store.write(lambda tx: [tx.put_agent(row) for row in rows])


async def begin(count):
    store = SlowStore()
    records = agents(count)
    store.gate.set()
    await plant(store, records)
    store.gate.clear()
    store.writes = 0
    saving = Saving(store, VirtualClock())
    tasks = [asyncio.ensure_future(saving.save(record)) for record in records]
    await asyncio.sleep(0)
    return store, records, tasks


async def test_rel_6_reports_that_come_at_once_share_transactions():
    store, _, tasks = await begin(2 * BATCH + 1)
    store.gate.set()
    await asyncio.gather(*tasks)
    assert store.writes == 3
    assert (await store.read(lambda tx: tx.agent("agent-2"))).kind == "own"


async def test_what_was_said_while_a_batch_was_written_is_in_the_next():
    store, records, tasks = await begin(1)
    saving = tasks[0]
    records[0].ear.sequence = 9
    store.gate.set()
    await saving
    again = Saving(store, VirtualClock())
    await again.save(records[0])
    assert (await store.read(lambda tx: tx.agent("agent-0"))).sequence == 9


async def test_whoever_gives_up_waiting_takes_nothing_from_the_others():
    store, _, tasks = await begin(3)
    tasks[0].cancel()
    store.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None, None]
    assert store.writes == 1


async def test_a_write_that_fails_is_told_to_everybody_who_waits_for_it():
    store, _, tasks = await begin(3)
    store.broken = StateError("overloaded", "no room")
    store.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(result, "code", None) for result in results] == ["state.overloaded"] * 3


async def test_an_agent_that_is_gone_is_skipped():
    saving = Saving(CountingStore(), VirtualClock())
    async with asyncio.timeout(1):
        await saving.save(agents(1)[0])


@pytest.mark.parametrize("status", [0, 1, 3, 99])
async def test_an_unknown_status_is_written_as_unset(status):
    store, records, tasks = await begin(1)
    records[0].remote = replace(records[0].remote, digest=b"x", status=status)
    store.gate.set()
    await asyncio.gather(*tasks)
    again = Saving(store, VirtualClock())
    await again.save(records[0])
    names = {0: "UNSET", 1: "APPLIED", 3: "FAILED", 99: "UNSET"}
    assert f'"{names[status]}"' in (await store.read(lambda tx: tx.agent("agent-0"))).remote


async def test_those_who_wait_are_told_in_slices_and_in_order():
    store = CountingStore()
    records = agents(3 * SLICE)
    await plant(store, records)
    saving, told = Saving(store, VirtualClock()), []
    for number, record in enumerate(records):
        saving.keep(record, lambda error, number=number: told.append((number, error)))
    most = seen = 0
    while len(told) < len(records):
        await asyncio.sleep(0)
        most, seen = max(most, len(told) - seen), len(told)
    assert most <= SLICE
    assert told == [(number, None) for number in range(len(records))]
