"""The task that keeps roll-ups, and the summary of a Manager as a whole."""

import asyncio
import contextlib

import pytest
from tests.manager.conftest import Time
from tests.manager.summary.feeding import CPU, NOW, UIDS, Feed, events, summary
from tests.manager.summary.test_rolling import BEGIN, Files, hours

from popham.errors import DefinitionError
from popham.manager.data.catalog import Catalog
from popham.manager.data.data import Data
from popham.manager.data.settings import DataSettings
from popham.manager.summary import rollups as rollups_module
from popham.manager.summary.levels import BY_NAME, DAY, LATENESS
from popham.manager.summary.rollups import Rollups
from popham.manager.summary.summary import Summary
from popham.manager.summary.window import NoFleet
from popham.store.memory import MemoryStore
from popham.streams.frame import Stream


@pytest.fixture
def files(tmp_path):
    found = Files(tmp_path)
    yield found
    found.engine.close()


@pytest.fixture
def rollups(files, monkeypatch):
    monkeypatch.setattr(rollups_module, "REST", 0.0)
    clock, catalog = Time(), Catalog(files.folder / "summary")
    clock.at = BEGIN + DAY + LATENESS

    async def plans():
        return {UIDS[2]: 120.0}

    files.add(*hours(1), *hours(1, uid=UIDS[2]))
    catalog.save(files.contents)
    catalog.load()
    return Rollups(files.folder, files.engine, catalog, clock, plans), clock


async def test_f_d7_windows_are_made_as_they_are_over_and_read_by_agent(rollups):
    found, clock = rollups
    await found.look()
    level = BY_NAME["10m"]
    values = await found.ask(level, UIDS[1], since=BEGIN + 700.0, until=clock.at)
    assert [value.at - BEGIN for value in values] == [600, 1200, 1800, 2400, 3000]
    assert (await found.ask(level, UIDS[2], since=BEGIN, until=clock.at))[0].share == 1.0
    assert await found.ask(level, UIDS[3], since=BEGIN, until=clock.at) == ()


async def test_f_d7_days_that_are_over_are_deleted(rollups):
    found, clock = rollups
    await found.look()
    clock.at = BEGIN + 8 * DAY
    await found.look()
    assert await found.ask(BY_NAME["10m"], UIDS[1], since=BEGIN, until=clock.at) == ()
    assert len(await found.ask(BY_NAME["1h"], UIDS[1], since=BEGIN, until=clock.at)) == 1


async def test_a_file_that_cannot_be_read_is_said_to_whoever_asks(rollups, files):
    found, clock = rollups
    await found.look()
    for path in (files.folder / "rollups" / "3600").glob("*/*"):
        path.write_bytes(b"PAR1" * 10)
    with pytest.raises(DefinitionError):
        await found.ask(BY_NAME["1h"], UIDS[1], since=BEGIN, until=clock.at)


async def test_f_o1_a_manager_follows_its_streams_and_ends(tmp_path):
    feed, store, clock, told = Feed(), MemoryStore(), Time(), []
    data = Data(tmp_path, feed, DataSettings(), clock)
    heard = asyncio.Event()

    def tell(found):
        told.extend(found)
        heard.set()

    whole = Summary(
        store,
        NoFleet(),
        clock,
        source=feed,
        known=lambda _uid: {},
        data=data,
        folder=tmp_path,
        keepalive=45.0,
        told=tell,
    )
    await whole.begin()
    task = asyncio.create_task(whole.run())
    feed.put(Stream.SUMMARY, summary((CPU, {}, 0.5, NOW)))
    feed.put(Stream.EVENTS, events(("popham.threshold", "too much", NOW)))
    async with asyncio.timeout(30):
        await heard.wait()
        while not await store.read(lambda tx: tx.summaries()):  # noqa: ASYNC110  # what it waits for sets no event
            await asyncio.sleep(0.001)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert [event.name for event in told] == ["popham.threshold"]
    data.engine.close()
