"""How many links a process takes in a second, and that it finds out by itself."""

import asyncio
import contextlib
import errno
import random
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.clock import SystemClock
from popham.net.hot import entrance
from popham.net.hot.admission import LAG, LEAST, MOST, START, LinkRate
from popham.net.hot.listener import HotListener
from popham.net.seam import Limits


class HandClock:
    """Time that a test turns by hand."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    monotonic = now


def rate(per_second=0.0, lag=lambda: 0.0, clock=None):
    return LinkRate(per_second, clock=clock or HandClock(), rng=random.Random(1), lag=lag)


@given(st.floats(1, 5_000), st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_rel_10_a_fixed_rate_is_kept(per_second, gaps):
    clock = HandClock()
    links = rate(per_second, clock=clock)
    taken = 0
    for gap in gaps:
        clock.time += gap
        while not links.take():
            taken += 1
    assert taken <= max(1.0, per_second * 0.02) + per_second * clock.time + 1e-6
    assert links.per_second == per_second


def drive(capacity, *, demand=1e9, seconds=120.0):
    """Ask as much as ``demand`` of a machine that bears ``capacity`` handshakes a second."""
    clock = HandClock()
    backlog = [0.0]
    links = rate(lag=lambda: backlog[0] / capacity, clock=clock)
    asked, taken, rates = 0.0, 0, []
    while clock.time < seconds:
        clock.time += 0.005
        backlog[0] = max(0.0, backlog[0] - capacity * 0.005)
        asked += min(demand * 0.005, 1e6)
        while asked >= 1 and not links.take():
            asked -= 1
            taken += 1
            backlog[0] += 1
        asked = min(asked, 10_000)
        rates.append(links.per_second)
    return rates


@pytest.mark.parametrize("capacity", [60, 400, 1_500, 4_000])
def test_rel_10_the_rate_finds_what_the_machine_bears(capacity):
    settled = drive(capacity)[-8_000:]
    assert 0.75 * capacity < sum(settled) / len(settled) < 1.1 * capacity


def test_rel_10_a_quiet_hour_teaches_nothing():
    assert set(drive(4_000, demand=50)) == {START}


def test_the_rate_has_bounds():
    assert min(drive(1, seconds=60)) == LEAST
    assert max(drive(1e9, seconds=60)) <= MOST


def test_lag_of_somebody_else_s_making_lowers_the_rate_until_it_is_gone():
    clock, lag = HandClock(), [2 * LAG]
    links = rate(lag=lambda: lag[0], clock=clock)
    for _ in range(10):
        clock.time += 1.0
        links.take()
    low = links.per_second
    assert low < START / 2
    lag[0] = 0.0
    for _ in range(10):
        clock.time += 1.0
        while not links.take():
            pass
    assert links.per_second > low


def learned(per_second):
    """Return the note of a rate that has moved, at the clock's time 0."""
    links = rate(lag=lambda: 2 * LAG if links.per_second > per_second else 0.0, clock=HandClock())
    while not (note := links.note()) or links.per_second > per_second:
        links._clock.time += 1.0
        links.take()
    return note, links


def test_rel_10_a_start_goes_on_with_the_rate_that_was_measured():
    note, links = learned(150)
    again = rate(clock=links._clock)
    again.resume(note)
    assert again.per_second == pytest.approx(links.per_second, abs=0.1)
    assert again.note() is not None


def test_rel_10_a_rate_that_was_not_measured_is_not_noted():
    assert rate().note() is None
    clock = HandClock()
    fixed = rate(300.0, clock=clock)
    for _ in range(50):
        clock.time += 1.0
        fixed.take()
    assert fixed.note() is None


def test_rel_10_a_fixed_rate_is_not_changed_by_a_note():
    fixed = rate(300.0)
    fixed.resume("[900.0, 0.0]")
    assert fixed.per_second == 300.0


@pytest.mark.parametrize(
    "note",
    [
        None,
        "",
        "900",
        "{",
        "[900.0]",
        "[900.0, 0.0, 1.0]",
        '["a", 0.0]',
        "[null, 0]",
        "[NaN, 0.0]",
        "[Infinity, 0.0]",
        f"[{MOST * 2}, 0.0]",
        f"[{LEAST / 2}, 0.0]",
        "[900.0, NaN]",
        "[900.0, 1000.0]",
        "[900.0, -2592001.0]",
        "[9" + "0" * 400 + ", 0.0]",
        "[" * 100_000,
    ],
)
def test_rel_10_a_note_that_is_damaged_old_from_the_future_or_out_of_bounds_is_not_used(note):
    links = rate()
    links.resume(note)
    assert links.per_second == START
    assert links.note() is None


@given(st.text() | st.lists(st.floats() | st.integers() | st.text()).map(str))
def test_rel_10_no_note_breaks_a_start(note):
    links = rate()
    links.resume(note)
    assert LEAST <= links.per_second <= MOST


# The entrance: real sockets.


@pytest.fixture
async def door(service, listener_context):
    started = []

    async def start(**limits):
        unadmitted = limits.pop("unadmitted", 1000)
        listener = HotListener(
            service,
            context=listener_context,
            limits=Limits(**limits),
            clock=SystemClock(),
            rng=random.Random(1),
            unadmitted=unadmitted,
        )
        await listener.start(["127.0.0.1"], 0)
        started.append(listener)
        return listener, listener._servers[0]

    yield start
    for listener in started:
        await listener.stop(retry_window=0.0)


@pytest.fixture
def knock():
    """Open plain sockets that say nothing."""
    opened = []

    async def connect(port, count=1):
        made = [socket.socket() for _ in range(count)]
        opened.extend(made)
        for one in made:
            one.settimeout(0.0)
            await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
        return made

    yield connect
    for one in opened:
        one.close()


async def test_rel_10_connections_over_the_rate_wait_without_a_handshake(door, knock, turns):
    listener, entry = await door(links_per_second=0.1)
    await knock(listener.port, 20)
    await turns()
    assert entry.handshakes == 1
    assert listener.link_rate.completed == 0


async def test_rel_10_whoever_waited_gets_its_turn(door, dial, authority, service):
    from popham.net import tls

    listener, _ = await door(links_per_second=50.0)
    context = tls.client_context(authority.pem)
    dialers = [dial(listener, context=context, host="localhost") for _ in range(10)]
    answers = await asyncio.gather(*(one.exchange(b"x") for one in dialers))
    assert set(answers) == {b"answer:x"}
    assert listener.link_rate.completed == 10


async def test_rel_10_who_gave_up_while_waiting_costs_no_handshake(door, knock, turns, until):
    listener, entry = await door(links_per_second=1.0)
    first, *others = await knock(listener.port, 20)
    await until(lambda: entry.handshakes == 1)
    for one in others:
        one.close()
    (late,) = await knock(listener.port)
    await until(lambda: entry.handshakes == 2)
    assert first.fileno() > 0
    assert late.fileno() > 0
    assert listener.link_rate.completed == 0


async def test_rel_14_handshakes_that_do_not_end_are_bounded_and_the_oldest_goes_first(door, knock, until):
    listener, entry = await door(links_per_second=1_000.0, unadmitted=5, strangers_per_address=5)
    silent = await knock(listener.port, 8)
    loop = asyncio.get_running_loop()
    assert await asyncio.wait_for(loop.sock_recv(silent[0], 10), 5) == b""
    await until(lambda: entry.handshakes == 5)


async def test_rel_22_without_descriptors_it_waits_and_goes_on(door, knock, until, monkeypatch, caplog):
    monkeypatch.setattr(entrance, "FULL_PAUSE", 0.01)
    listener, entry = await door(links_per_second=1_000.0)
    (listening,) = entry.sockets
    failing = [OSError(errno.EMFILE, "Too many open files")] * 3

    class Full:
        def accept(self):
            if failing:
                raise failing.pop()
            return listening.accept()

    monkeypatch.setattr(entry, "_look", lambda _: entrance.Entrance._look(entry, Full()))
    entry._pause()
    entry._resume()
    await knock(listener.port)
    await until(lambda: entry.handshakes == 1)
    assert caplog.text.count("Too many open files") == 3


async def test_rel_20_a_stop_refuses_who_waits(door, knock, turns):
    listener, _ = await door(links_per_second=0.1)
    waiting = await knock(listener.port, 5)
    await turns()
    await listener.stop(retry_window=5.0)
    loop = asyncio.get_running_loop()
    for one in waiting:
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(loop.sock_recv(one, 10), 5) == b""
