"""The wheel: never early, never late by more than a slot, nothing lost and nothing kept."""

import asyncio
import heapq
import itertools
import socket
import time

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.net.hot import wheel as module
from popham.net.hot.wheel import GRAIN, Wheel


class Loop:
    """As much of a loop as a wheel needs; its time is the test's."""

    def __init__(self, now=100.0):
        self.now = now
        self._calls = []
        self._order = itertools.count()

    def time(self):
        return self.now

    def call_later(self, delay, call):
        handle = asyncio.TimerHandle(self.now + delay, call, (), self)
        heapq.heappush(self._calls, (self.now + delay, next(self._order), handle))
        return handle

    def call_soon(self, call):
        return self.call_later(0.0, call)

    def get_debug(self):
        return False

    def _timer_handle_cancelled(self, handle):
        """Take note; it is skipped when its time comes."""

    def run_until(self, end):
        """Let time pass."""
        while self._calls and self._calls[0][0] <= end:
            when, _, handle = heapq.heappop(self._calls)
            self.now = max(self.now, when)
            if not handle.cancelled():
                handle._callback()
        self.now = max(self.now, end)

    @property
    def waiting(self):
        return sum(not handle.cancelled() for _, _, handle in self._calls)


class Timed:
    """Remembers when it was woken."""

    def __init__(self, loop, deadline, again=()):
        self.loop, self.deadline, self.again = loop, deadline, list(again)
        self.slot, self.woken = 0, []

    def expired(self, now):
        self.woken.append((self.deadline, now))
        if not self.again:
            return False
        self.deadline = now + self.again.pop(0)
        return True


WAITS = st.floats(0, 50)
MOVES = st.lists(
    st.tuples(st.sampled_from(["add", "move", "hasten", "discard", "pass"]), st.integers(0, 7), WAITS),
    max_size=40,
)


@given(MOVES)
@settings(max_examples=300, deadline=None)
def test_whatever_moves_each_is_woken_once_and_in_time(moves):
    loop = Loop()
    wheel, standing = Wheel(loop), {}
    for what, who, wait in moves:
        timed = standing.get(who)
        if what == "add" and timed is None:
            standing[who] = timed = Timed(loop, loop.now + wait)
            wheel.add(timed)
        elif timed is not None and not timed.woken:
            if what == "move":
                timed.deadline = max(timed.deadline, loop.now + wait)
            elif what == "hasten":
                timed.deadline = loop.now + wait
                wheel.hasten(timed)
            elif what == "discard":
                wheel.discard(timed)
                del standing[who]
        if what == "pass":
            loop.run_until(loop.now + wait)
    due = [timed for timed in standing.values() if not timed.woken]
    assert len(wheel) == len(due)
    loop.run_until(loop.now + 200)
    for timed in standing.values():
        assert len(timed.woken) == 1
        deadline, now = timed.woken[0]
        assert 0 <= now - deadline <= 2 * GRAIN + 1e-6
    assert len(wheel) == loop.waiting == 0


def test_one_that_stays_is_woken_again_and_again():
    loop = Loop()
    wheel = Wheel(loop)
    timed = Timed(loop, loop.now + 1, again=[5.0, 0.0, 70.0])
    wheel.add(timed)
    loop.run_until(loop.now + 100)
    assert len(timed.woken) == 4
    assert all(0 <= now - deadline <= 2 * GRAIN for deadline, now in timed.woken)


def test_a_loop_that_stood_still_forgets_nobody():
    loop = Loop()
    wheel = Wheel(loop)
    late = [Timed(loop, loop.now + wait) for wait in (0.1, 3.0, 9.9)]
    other = Timed(loop, loop.now + 50.0)
    for timed in [*late, other]:
        wheel.add(timed)
    hastened = late[0].expired

    def hasten(now):
        other.deadline = now - 5.0
        wheel.hasten(other)
        return hastened(now)

    late[0].expired = hasten
    loop.now += 10.0
    loop.run_until(loop.now + 1.0)
    assert [len(timed.woken) for timed in [*late, other]] == [1, 1, 1, 1]


def test_rel_24_many_that_are_due_at_once_are_woken_in_slices(monkeypatch):
    monkeypatch.setattr(module, "SLICE", 10)
    loop = Loop()
    wheel = Wheel(loop)
    many = [Timed(loop, loop.now + 1.0) for _ in range(95)]
    for timed in many:
        wheel.add(timed)
    gone = many[-1]
    first = many[0].expired
    many[0].expired = lambda now: wheel.discard(gone) or first(now)
    calls = []
    wake = wheel._wake
    wheel._wake = lambda: (calls.append(sum(len(timed.woken) for timed in many)), wake())
    loop.run_until(loop.now + 5.0)
    woken = [len(timed.woken) for timed in many]
    assert {after - before for before, after in itertools.pairwise([*calls, sum(woken)])} <= {0, 4, 5, 9, 10}
    assert sum(woken) in {94, 95}
    assert max(woken) == 1


def test_one_that_fails_stops_nobody_else(caplog):
    loop = Loop()
    wheel = Wheel(loop)
    bad, good = Timed(loop, loop.now + 1.0), Timed(loop, loop.now + 1.0, again=[1.0])

    def fail(_):
        raise RuntimeError("broken")

    bad.expired = fail
    wheel.add(bad)
    wheel.add(good)
    loop.run_until(loop.now + 10.0)
    assert len(good.woken) == 2
    assert "broken" in caplog.text


@pytest.mark.parametrize("passed", [0.0, 2.0])
def test_a_closed_wheel_holds_nothing(passed):
    loop = Loop()
    wheel = Wheel(loop)
    timed = [Timed(loop, loop.now + wait) for wait in (1.0, 60.0)]
    for one in timed:
        wheel.add(one)
    loop.run_until(loop.now + passed)
    wheel.close()
    assert (len(wheel), loop.waiting) == (0, 0)
    wheel.discard(timed[1])
    wheel.hasten(timed[1])
    assert len(wheel) == 0


def test_rel_24_what_came_while_the_loop_stood_still_is_read_before_anybody_is_woken():
    async def stand_still():
        loop = asyncio.get_running_loop()
        wheel, pairs = Wheel(loop, 0.01), [socket.socketpair() for _ in range(2)]
        (near, far), (busy, poke) = pairs
        for one in (near, busy):
            one.setblocking(False)  # noqa: FBT003  # the library's form
        timed, later, over = Timed(loop, loop.time() + 0.05), Timed(loop, loop.time() + 0.4), asyncio.Event()
        later.expired = lambda _: over.set()

        def read():
            near.recv(1)
            timed.deadline = loop.time() + 60.0

        def stall():
            busy.recv(1)
            far.send(b"x")
            while time.monotonic() < timed.deadline + 0.1:
                """Let nothing else run."""

        loop.add_reader(near, read)
        loop.add_reader(busy, stall)
        wheel.add(timed)
        wheel.add(later)
        poke.send(b"x")
        await over.wait()
        loop.remove_reader(near)
        loop.remove_reader(busy)
        wheel.close()
        for pair in pairs:
            for one in pair:
                one.close()
        return timed.woken

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(stand_still()) == []
