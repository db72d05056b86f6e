"""A start with many agents in the database: nothing is parsed before somebody asks."""

import uuid

import pytest

from popham.manager.book import PAGE, ManagerBook
from popham.manager.bundles import Bundles
from popham.manager.census import Census
from popham.manager.definitions import found_fleet
from popham.model.status import Outcome, StateRecord
from popham.store.memory import MemoryStore
from popham.store.rows import AgentRow, Kept
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock, run_virtual
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state
from popham.upstream.record import Record

AGENTS = 20_000


@pytest.fixture(scope="module")
def keys():
    return make_keys(VirtualClock())


def uid(number):
    return str(uuid.UUID(int=(0x0191D5A800007000 << 64) | (0x8 << 60) | number))


def fleet(envelope, now):
    for number in range(AGENTS):
        yield AgentRow(
            uid=uid(number),
            name=f"web-{number}",
            group="fleet",
            kind="own",
            admission="accepted",
            first_seen=now,
            description='{"host.name": "web"}',
            state=envelope,
            last_contact=now,
            promise=300.0,
            sequence=number,
        )


@pytest.fixture
async def store(keys):
    key, now = IdentityKey.create(), VirtualClock().now()
    known = StateRecord(
        uid=uid(0),
        revision=3,
        group="fleet",
        promise=300.0,
        mode="push",
        dialer="agent",
        serial=1,
        outcome=Outcome.APPLIED,
        facts={"host.name": "web"},
    )
    envelope = seal_state(known, key)
    made = MemoryStore()

    def fill(tx):
        found_fleet(tx, Bundles(keys.director), now=now)
        for row in fleet(envelope, now):
            tx.put_agent(row)

    await made.write(fill)
    return made


class CountingReads:
    """Counts the questions to a store, and how many agents each brings."""

    def __init__(self, store):
        self._store = store
        self.pages = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def read(self, work):
        found = await self._store.read(work)
        if isinstance(found, list) and found and isinstance(found[0], Kept):
            self.pages.append(len(found))
        return found


async def test_goal_8_a_start_reads_agents_by_pages_and_parses_nothing(store, keys):
    counting = CountingReads(store)
    book = ManagerBook(counting, keys, VirtualClock())
    await book.load()
    assert counting.pages == [PAGE] * (AGENTS // PAGE) + [AGENTS % PAGE]
    records = list(book.records())
    assert len(records) == AGENTS
    assert all(record._state is None for record in records)
    assert isinstance(records[0], Record)
    last = book.record(uid(AGENTS - 1))
    assert (last.name, last.ear.sequence, last.state.revision) == (f"web-{AGENTS - 1}", AGENTS - 1, 3)
    assert last.description == {"host.name": "web"}
    assert sum(record._state is not None for record in records) == 1
    assert len({id(record.group) for record in records}) == 1


async def test_a_state_that_cannot_be_read_is_asked_for_again(store, keys, caplog):
    book = ManagerBook(store, keys, VirtualClock())
    await book.load()
    record = book.record(uid(5))
    record.envelope = b"{}"
    assert record.state is None
    assert record.envelope == b""
    assert "cannot be read" in caplog.text


async def test_a_kept_state_shares_its_texts_and_has_no_facts(store, keys):
    book = ManagerBook(store, keys, VirtualClock())
    await book.load()
    one, other = book.record(uid(1)).state, book.record(uid(2)).state
    assert one.mode is other.mode
    assert not one.facts


def test_f_o13_a_census_counts_everybody_and_gives_the_loop_turns(keys):
    clock = VirtualClock()

    async def count():
        store = MemoryStore()
        now = clock.now()

        def fill(tx):
            found_fleet(tx, Bundles(keys.director), now=now)
            for number, row in enumerate(fleet(b"", now)):
                if number == 300:
                    return
                tx.put_agent(row)

        await store.write(fill)
        book = ManagerBook(store, keys, clock)
        await book.load()
        census = Census(book, clock)
        assert census.look() == {}
        await census.count()
        return census.look()

    assert run_virtual(count(), clock) == {("on time", "none", "pending"): 300}
