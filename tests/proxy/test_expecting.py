"""The first answer to an agent of a proxy waits a moment for what its group is to have."""

import asyncio
from types import SimpleNamespace

import pytest

from popham.proxy.book import ProxyBook
from popham.proxy.expecting import MOMENT, ExpectingBook
from popham.testing.virtual import VirtualClock, pass_time, run_virtual
from popham.upstream.book import Admitted

RECORD = SimpleNamespace(group="quay")


class Book(ExpectingBook):
    """One that knows an agent, and what its group is to have once that came."""

    def __init__(self):
        self.there = None

    def find(self, key):
        return RECORD if key else None

    def wanted(self, group):
        return self.there if group == "quay" else None

    def come(self, wanted):
        self.there = wanted
        self.arrived()


@pytest.fixture(autouse=True)
def above(monkeypatch):
    """Have every agent met, and admitted, at once."""

    async def meet(*_):
        return RECORD

    async def enroll(_self, _peer, key, _csr, _request):
        return Admitted(admission="accepted", certificate=b"PEM" if key else b"")

    monkeypatch.setattr(ProxyBook, "meet", meet)
    monkeypatch.setattr(ProxyBook, "enroll", enroll)


async def meet(book):
    await book.meet(None, b"k", None)


async def enroll(book, key=b"k"):
    await book.enroll(None, key, b"", None)


@pytest.mark.parametrize("ask", [meet, enroll])
def test_f_t2_the_answer_comes_once_the_group_is_here(ask):
    async def story():
        book = Book()
        asked = [asyncio.ensure_future(ask(book)) for _ in range(2)]
        await pass_time(1.0)
        book.come(None)  # another group came
        await pass_time(1.0)
        assert not any(one.done() for one in asked)
        book.come("what it is to have")
        await asyncio.gather(*asked)
        assert clock.elapsed == 2.0
        await ask(book)
        assert clock.elapsed == 2.0

    clock = VirtualClock()
    run_virtual(story(), clock)


def test_f_t2_nobody_waits_longer_than_a_moment_or_for_nothing():
    async def story():
        book = Book()
        await meet(book)
        assert clock.elapsed == MOMENT
        await enroll(book, b"")
        assert clock.elapsed == MOMENT, "who was not accepted has no group yet"

    clock = VirtualClock()
    run_virtual(story(), clock)
