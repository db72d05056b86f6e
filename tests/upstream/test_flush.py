"""A hub makes last contacts durable, and that it serves, so that its downtime is known (F.O2)."""

import asyncio

import pytest

from popham.upstream.hub import Hub


class Time:
    """A clock that stands until it is set."""

    def __init__(self):
        self.at = 1_000.0

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


class Notes:
    """A book that writes down each batch of contacts."""

    def __init__(self):
        self.batches = []

    def records(self):
        return ()

    async def contacts(self, records):
        self.batches.append(records)


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def book():
    return Notes()


@pytest.fixture
def hub(book, clock):
    return Hub(book, clock, endpoint=lambda: "", trust={})


async def test_f_o2_a_hub_that_hears_of_nobody_still_says_once_a_minute_that_it_serves(hub, book, clock):
    for _ in range(24):
        clock.at += 5
        await hub.flush_now()
    assert book.batches == [[], []]


async def test_f_o2_a_hub_that_stops_says_until_when_it_served(hub, book, clock):
    flushing = asyncio.ensure_future(hub.flush(5.0))
    await asyncio.sleep(0)
    clock.at += 1
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    assert book.batches == [[]]
