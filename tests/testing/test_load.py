"""Lean agents say what agents say, and count what they see."""

import asyncio
import math
import random
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.cli.simulate import find_target
from popham.clock import SystemClock
from popham.errors import ConfigError
from popham.manager.app import Manager
from popham.manager.founding import Founding, found
from popham.manager.settings import load_settings
from popham.model.documents import SourceFile
from popham.net.hot.frames import FrameReader
from popham.opamp.codec import parse_agent
from popham.store.sqlite import SqliteStore
from popham.testing.direct import ADMIN
from popham.testing.load.agents import RoundAgent, _frame
from popham.testing.load.crew import shares
from popham.testing.load.fleet import READ, Fleet, Tally, Target
from popham.testing.load.histogram import Histogram
from popham.testing.load.identity import LoadIdentity, load_identities, save_identities
from popham.testing.load.manager import open_plain
from popham.testing.load.messages import Speech, frame
from popham.testing.load.planted import new_uid, plant
from popham.trust.join import EnrollmentKey, JoinString

STOCK = LoadIdentity(uid="01020304-0506-0708-090a-0b0c0d0e0f10", bearer="pops_x_y")


@given(st.lists(st.floats(1e-6, 1e3), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_within_a_tenth_of_the_true_one(spans, share):
    seen = Histogram()
    for span in spans:
        seen.add(span)
    true = sorted(spans)[math.ceil(share * len(spans)) - 1]
    assert true * 0.99 <= seen.percentile(share) <= true * 1.1


def test_histograms_of_processes_add_up():
    one, two = Histogram(), Histogram()
    one.add(0.001)
    two.add(0.1)
    one.merge(Histogram(two.encode()))
    assert one.total == 2
    assert one.percentile(1) >= 0.1


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_shares_are_even_and_complete(count, parts):
    found = shares(count, parts)
    assert sum(found) == count
    assert max(found) - min(found) <= 1


def test_a_preformatted_message_is_one_that_an_upstream_reads():
    speech = Speech(STOCK)
    first, second = parse_agent(speech.hello()), parse_agent(speech.heartbeat())
    assert first.agent_description.identifying_attributes[0].value.string_value == "otelcol"
    assert (first.sequence_num, second.sequence_num) == (1, 2)
    assert second.instance_uid == bytes(range(1, 17))


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_is_one_that_the_other_end_reads(size):
    reader = FrameReader(1 << 20)
    reader.feed(frame(2, bytes(size)))
    assert reader.next() == (2, bytes(size))


@pytest.mark.parametrize(
    "head", [b"\x82\x05", b"\x82\x7e\x01\x00", b"\x82\x7f" + (70_000).to_bytes(8, "big")]
)
def test_frames_are_found_whole_or_not_at_all(head):
    size = {2: 5, 4: 256, 10: 70_000}[len(head)]
    whole = head + bytes(size)
    assert _frame(whole, 0) == (2, len(head), len(whole))
    assert _frame(whole[:-1], 0) is None


def test_identities_are_kept_from_others_and_dealt_out(tmp_path):
    path = tmp_path / "agents.jsonl"
    save_identities(path, [LoadIdentity(uid=new_uid(), state=bytes([n])) for n in range(5)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.state for one in load_identities(path, first=1, step=2)] == [b"\1", b"\3"]
    assert len(load_identities(path, count=2)) == 2


def test_only_a_manager_on_this_machine_is_dialled():
    key = EnrollmentKey.create()
    join = JoinString(urls=("https://192.0.2.1:4320",), ca="0" * 64, root="0" * 64, seed=key.seed).encode()
    with pytest.raises(ConfigError, match="this machine only"):
        find_target(join)


@pytest.fixture
async def plain(tmp_path):
    """A Manager whose agents' door has no TLS, and three stock agents that it knows."""
    clock, state = SystemClock(), tmp_path / "manager"
    asked = Founding(
        state=state,
        names=("localhost",),
        urls=("https://localhost:1",),
        agents="127.0.0.1:0",
        people="127.0.0.1:0",
    )
    await found(asked, clock=clock, open_store=lambda path: SqliteStore.open(path, clock=clock))
    identities = await plant(state, clock, stock=3)
    settings, _ = load_settings(
        None, state=str(state), env={"POPHAM_LIMITS__MESSAGES_PER_SECOND": "0"}, overrides={}
    )
    async with open_plain(settings, clock) as manager:
        ready, stopping = asyncio.Event(), asyncio.Event()
        running = asyncio.ensure_future(manager.run(ready, stopping))
        await ready.wait()
        yield manager, identities
        stopping.set()
        await running


async def until(holds):
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # what it waits for sets no event
            await asyncio.sleep(0.01)


async def test_lean_agents_hold_links_and_make_rounds(plain):
    manager, identities = plain
    assert isinstance(manager, Manager)
    fleet = Fleet(Target(host="127.0.0.1", port=manager.listener.port), identities, random.Random(1))
    fleet.hold(0.05)
    await until(lambda: len(fleet.held) == 3 and fleet.tally.rounds.total >= 6)
    assert manager.listener.links == 3
    assert not fleet.tally.failed
    await fleet.close()
    await until(lambda: manager.listener.links == 0)
    rounds = Fleet(Target(host="127.0.0.1", port=manager.listener.port), identities, random.Random(1))
    await rounds.beat(0.05, keep=True, flights=3)
    await rounds.beat(0.05, keep=False, flights=3)
    assert rounds.tally.rounds.total > 6
    assert not rounds.tally.failed


async def test_a_lean_agent_comes_back_after_a_loss(plain):
    manager, identities = plain
    fleet = Fleet(Target(host="127.0.0.1", port=manager.listener.port), identities[:1], random.Random(1))
    fleet.hold(0.0)
    await until(lambda: len(fleet.held) == 1)
    next(iter(fleet.held)).abort()
    await until(lambda: fleet.tally.opened == 2)
    assert fleet.tally.failed == {"lost": 1}
    await fleet.close()


# How agents of one process read what they are told.


class Told:
    """An agent that notes when it read what came, and when that was."""

    def __init__(self):
        self.unread = 0
        self.read = []

    def hear(self, data, at):
        self.read.append((data, at))


async def test_what_a_lean_agent_is_told_is_read_in_order_once_nothing_more_comes():
    fleet = Fleet(Target(host="127.0.0.1", port=1), [], random.Random(1))
    one, two = Told(), Told()
    for number in range(2 * READ):
        fleet.received(one if number % 2 else two, bytes([number]))
    assert (one.unread, one.read) == (READ, [])
    await until(lambda: not (one.unread or two.unread))
    assert [data[0] for data, _ in one.read] == list(range(1, 2 * READ, 2))
    came = [at for _, at in one.read]
    assert came == sorted(came)
    await fleet.close()


async def test_only_so_many_messages_wait_to_be_read(monkeypatch):
    monkeypatch.setattr("popham.testing.load.fleet.UNREAD", 3)
    fleet = Fleet(Target(host="127.0.0.1", port=1), [], random.Random(1))
    agent = Told()
    for number in range(5):
        fleet.received(agent, bytes([number]))
    assert [data[0] for data, _ in agent.read] == [0, 1]
    assert agent.unread == 3
    await fleet.close()


async def test_the_time_of_receipt_is_counted_not_the_time_of_reading():
    fleet = Fleet(Target(host="127.0.0.1", port=1), [], random.Random(1))
    fleet.tally = Tally(since=100.0)
    fleet.told(Told(), 103.0, offer=False)
    fleet.told(Told(), 101.0, offer=True)
    tally = fleet.tally
    assert (tally.first, tally.last, tally.offers, tally.asked) == (101.0, 103.0, 1, 1)
    assert 2.7 < tally.told.percentile(1) < 3.3


async def test_lean_agents_obey_an_offer_and_a_question_for_a_round(plain):
    manager, identities = plain
    fleet = Fleet(Target(host="127.0.0.1", port=manager.listener.port), identities, random.Random(1))
    fleet.hold(0.0)
    await until(lambda: len(fleet.held) == 3)
    for identity in identities:
        assert manager.hub.check_in(identity.uid)
    await until(lambda: fleet.tally.applied == 3)
    assert fleet.tally.asked == 3
    definition = (
        "apiVersion: popham/v1\nkind: Policy\nmetadata: {name: col}\n"
        "spec: {type: otelcol, config: {exporters: {debug: null}}}\n---\n"
        "apiVersion: popham/v1\nkind: Group\nmetadata: {name: fleet}\nspec: {policies: {otelcol: col}}\n"
    )
    await manager.service.apply(ADMIN, [SourceFile("col.yaml", definition)])
    await until(lambda: fleet.tally.applied == 6)
    assert (fleet.tally.offers, dict(fleet.tally.failed)) == (3, {})
    await fleet.close()


class _Socket(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.closed = False

    def write(self, data):
        pass

    def close(self):
        self.closed = True


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_an_agent_that_stops_asking_says_that_it_was_the_last(more):
    told, wishes = [], iter([True, False, True, True])
    agent = RoundAgent(Speech(STOCK), "x", lambda *said: told.append(said[::2]), lambda: next(wishes))
    wire = _Socket()
    agent.connection_made(wire)
    answer = f"HTTP/1.1 200 OK\r\n{more}Content-Length: 0\r\n\r\n".encode()
    agent.data_received(answer)
    if not more:
        agent.data_received(answer)
    agent.connection_lost(None)
    assert wire.closed
    assert told == ([("200", True)] if more else [("200", False), ("200", True)])
