"""Rows from frames: once each, whenever a process ends."""

import asyncio
import json

import pytest
from tests.manager.summary.feeding import CPU, NOW, UIDS, Feed, events, summary

from popham.manager.intake.position import Position
from popham.manager.summary import deriving
from popham.manager.summary.deriving import READER, Derivation
from popham.manager.summary.events import NUMBERED
from popham.manager.summary.newest import items_of
from popham.store.memory import MemoryStore
from popham.streams.frame import Kind, Stream


class EndedError(Exception):
    """A process ended here."""


class EndingStore(MemoryStore):
    """Ends the process at a write: before it, or after it is durable."""

    def __init__(self):
        super().__init__()
        self.left = None
        self.after = False

    async def write(self, work):
        if self.left is not None:
            self.left -= 1
            if self.left < 0 and not self.after:
                raise EndedError
        found = await super().write(work)
        if self.left is not None and self.left < 0:
            raise EndedError
        return found


async def derive(store, feed, told=lambda _events: None):
    """Derive all that there is, as a new process."""
    derivation = Derivation(store, feed, lambda: NOW, told=told)
    await derivation.begin()
    while await derivation.step():
        pass
    return derivation


def fed():
    feed = Feed()
    for number in range(6):
        feed.put(Stream.EVENTS, events(("popham.threshold", f"event {number}", NOW)), first=number)
        at = NOW + 60 * number
        content = summary((CPU, {}, number / 10, at))
        feed.put(Stream.SUMMARY, content, uid=UIDS[number % 2], first=number, received=at)
    return feed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("left", range(4))
async def test_f_d4_rows_are_derived_once_whenever_the_process_ends(left, after):
    feed, store = fed(), EndingStore()
    store.left, store.after = left, after
    for attempt in range(20):
        try:
            await derive(store, feed)
            break
        except EndedError:
            store.left = left + attempt // 2
    else:
        pytest.fail("it never came to an end")
    found = await store.read(lambda tx: (tx.events(), tx.summaries()))
    assert [json.loads(row.body)["text"] for row in found[0]] == [f"event {number}" for number in range(6)]
    assert [row.number for row in found[0]] == list(range(1, 7))
    assert [items_of(row)[CPU][""]["value"] for row in found[1]] == [0.4, 0.5]


async def test_f_d4_events_go_before_summaries():
    feed, store = fed(), MemoryStore()
    derivation = Derivation(store, feed, lambda: NOW)
    await derivation.begin()
    seen = []
    while await derivation.step():
        seen.append(await store.read(lambda tx: (len(tx.events()), len(tx.summaries()))))
    assert [rows for count, rows in seen if count < 6] == [0] * sum(count < 6 for count, _ in seen)
    assert seen[-1] == (6, 2)


async def test_what_was_derived_is_let_go_of_at_the_intake_and_told():
    feed, told = fed(), []
    await derive(MemoryStore(), feed, told.extend)
    assert {stream: feed.released[stream, READER].at for stream in (Stream.EVENTS, Stream.SUMMARY)} == {
        Stream.EVENTS: 600,
        Stream.SUMMARY: 600,
    }
    assert [event.number for event in told] == [1, 2, 3, 4, 5, 6]


async def test_f_d12_times_are_corrected_for_skew_and_both_are_kept():
    feed, store = Feed(), MemoryStore()
    feed.put(Stream.EVENTS, events(("popham.threshold", "late", NOW + 3600)), skew=3600.0, received=NOW + 1)
    feed.put(Stream.SUMMARY, summary((CPU, {}, 0.5, NOW - 7200)), skew=-7200.0, received=NOW + 1)
    await derive(store, feed)
    (event,), row = await store.read(lambda tx: (tx.events(), tx.summary(UIDS[1])))
    assert (event.at, json.loads(event.body)["time"], event.received) == (NOW, NOW + 3600, NOW + 1)
    assert row.at == NOW


async def test_what_cannot_be_read_is_counted_and_its_neighbours_are_derived():
    feed, store = Feed(), MemoryStore()
    feed.put(Stream.SUMMARY, (b"\xff" * 40, 3))
    feed.put(Stream.SUMMARY, (b'{"cause":"age","bytes":1}', 100), kind=Kind.GAP, first=3)
    feed.put(Stream.SUMMARY, summary((CPU, {}, 0.5, NOW)), first=103)
    derivation = await derive(store, feed)
    assert sum(derivation.aside.values()) == 3
    assert derivation.newest.of(UIDS[1]).metrics.cpu == 0.5


def test_rel_12_few_bytes_that_are_many_records_are_derived_a_few_frames_at_a_time(monkeypatch):
    monkeypatch.setattr(deriving, "RECORDS", 5)
    feed = Feed()
    for number in range(4):
        feed.put(Stream.EVENTS, events(*[("popham.probe", f"{number}", NOW)] * 4))
    entries = feed.read(Stream.EVENTS, Position(), limit=1 << 30)
    assert [len(deriving.bound(entries[:count])) for count in (1, 2, 4)] == [1, 1, 1]
    monkeypatch.setattr(deriving, "RECORDS", 8)
    assert len(deriving.bound(entries)) == 2


async def test_a_number_of_an_event_never_comes_again():
    feed, store = Feed(), MemoryStore()
    feed.put(Stream.EVENTS, events(("a", "first", NOW), ("b", "second", NOW)))
    await derive(store, feed)
    await store.write(lambda tx: tx.prune_events(NOW + 1))
    assert await store.read(lambda tx: (tx.events(), tx.meta(NUMBERED))) == ([], "2")
    feed.put(Stream.EVENTS, events(("c", "third", NOW)), first=2)
    await derive(store, feed)
    assert [row.number for row in await store.read(lambda tx: tx.events())] == [3]


async def test_a_new_process_knows_the_newest_and_follows_what_comes():
    feed, store = fed(), MemoryStore()
    await derive(store, feed)
    derivation = Derivation(store, feed, lambda: NOW)
    await derivation.begin()
    task = asyncio.create_task(derivation.run())
    try:
        feed.put(Stream.SUMMARY, summary((CPU, {}, 0.9, NOW + 999)), uid=UIDS[3])
        async with asyncio.timeout(30):
            while derivation.newest.of(UIDS[3]) is None:  # noqa: ASYNC110  # what it waits for sets no event
                await asyncio.sleep(0.001)
        assert derivation.newest.of(UIDS[3]).metrics.cpu == 0.9
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
