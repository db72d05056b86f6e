"""Couriers: in order, tried again, bounded; one that is dead holds up no other."""

import asyncio

import pytest
from tests.manager.alerts.alerting import ALL, Receiver, World, event

from popham.errors import LinkError
from popham.manager.alerts import outbox as module
from popham.manager.alerts.outbox import AGE, FIRST, LONGEST, Outbox
from popham.manager.alerts.settings import LogRoute
from popham.manager.summary.events import add_events

OTHER = LogRoute(name="other")
DOWN = LinkError("post", "nobody answers", "Look")


def refusals(count):
    receiver = Receiver()
    receiver.fails, receiver.error = count, DOWN
    return receiver


async def numbers(world, route="all"):
    return [row.number for row in await world.store.read(lambda tx: tx.deliveries()) if row.route == route]


async def boot(world, **channels):
    """Give a world other channels, as a start does."""
    world.alerts.outbox = Outbox(channels, world.store, world.clock)
    await world.alerts.outbox.load()
    return world.alerts.outbox.couriers


@pytest.fixture
def virtual(monkeypatch):
    """Waits move the clock of the world and take no time; returns what was waited for."""

    def make(world):
        waits = []

        async def sleep(seconds):
            waits.append(seconds)
            world.clock.at += seconds

        monkeypatch.setattr(module.asyncio, "sleep", sleep)
        return waits

    return make


async def test_f_d10_deliveries_are_told_in_order_and_leave_the_database_when_they_are(bench, virtual):
    world = await World(bench, ALL).begin()
    waits, receiver = virtual(world), refusals(3)
    courier = (await boot(world, all=receiver))["all"]
    await world.say(event(1, "warning"))
    await world.say(event(1, "error"))
    first, second = await numbers(world)
    for _ in range(5):
        await courier.step()
    assert waits == [FIRST, 2 * FIRST, 4 * FIRST]
    assert receiver.got == [[first], [second]]
    assert await numbers(world) == []


async def test_what_was_not_told_is_told_after_a_start_under_the_same_number(bench, virtual):
    world = await World(bench, ALL).begin()
    virtual(world)
    courier = (await boot(world, all=refusals(1)))["all"]
    await world.say(event(1, "error"))
    await courier.step()
    (row,) = await world.store.read(lambda tx: tx.deliveries())
    assert (row.attempts, row.error, row.at) == (1, "nobody answers", world.clock.at + FIRST)
    receiver = Receiver()
    courier = (await boot(world, all=receiver))["all"]
    await courier.step()
    assert receiver.got == [[row.number]]


async def test_a_dead_route_is_bounded_and_holds_up_no_other(bench, virtual, monkeypatch, caplog):
    monkeypatch.setattr(module, "KEEP", 3)
    world = await World(bench, ALL, OTHER).begin()
    virtual(world)
    alive = Receiver()
    couriers = await boot(world, all=refusals(100), other=alive)
    for number in range(8):
        await world.say(event(1, "error" if number % 2 == 0 else "recovered"))
        await couriers["all"].step()
        await couriers["other"].step()
    assert len(await numbers(world)) == len(couriers["all"].waiting) == 3
    assert couriers["all"].dropped == 5
    assert len(alive.got) == 8
    assert "5 deliveries were dropped so far" in caplog.text
    assert await numbers(world) == [row.number for row in couriers["all"].waiting]


async def test_what_is_too_old_is_told_no_more(bench, virtual):
    world = await World(bench, ALL).begin()
    waits = virtual(world)
    courier = (await boot(world, all=refusals(1000)))["all"]
    await world.say(event(1, "error"))
    while courier.waiting:
        await courier.step()
    assert max(waits) == LONGEST
    assert AGE <= sum(waits) <= AGE + 2 * LONGEST
    assert await numbers(world) == []
    assert courier.dropped == 1


async def test_a_route_that_tells_together_waits_for_more(bench, virtual):
    world = await World(bench, ALL).begin()
    waits, receiver = virtual(world), Receiver(together=100, apart=60.0)
    courier = (await boot(world, all=receiver))["all"]
    await world.say(event(1, "warning"))
    await courier.step()
    await world.say(event(1, "error"))
    await world.say(event(1, "recovered"))
    await courier.step()
    assert waits == [60.0]
    assert [len(one) for one in receiver.got] == [1, 2]


async def test_deliveries_of_a_route_that_is_gone_are_forgotten(bench):
    world = await World(bench, ALL).begin()
    await world.say(event(1, "error"))
    await boot(world, other=Receiver())
    assert await numbers(world) == []


async def test_all_of_it_runs_until_it_is_cancelled_and_says_what_it_finds(bench, caplog):
    caplog.set_level("INFO")
    world = await World(bench, ALL).begin()
    running = asyncio.ensure_future(world.alerts.run())
    try:
        await world.store.write(lambda tx: None)
        world.clock.at += 1.0
        await world.store.write(lambda tx: add_events(tx, [event(1, "error", text="Call Bob.")]))
        world.alerts.news()
        async with asyncio.timeout(30):
            while "alert: error: a1: disk is error (Call Bob.)" not in caplog.text or await numbers(world):  # noqa: ASYNC110  # the log has no event to wait for
                await asyncio.sleep(0)  # the couriers have their turn
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
