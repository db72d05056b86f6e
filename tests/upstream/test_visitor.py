"""Who is visited when: the schedule, in virtual time, over agents that are made up."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from popham.errors import LinkError, VisitError
from popham.model.communication import Mode
from popham.model.status import Outcome, StateRecord
from popham.net.visiting import Place
from popham.testing.virtual import EPOCH, VirtualClock, pass_time, run_virtual
from popham.upstream.due import REDIALS, RETRY, SOON
from popham.upstream.record import Record
from popham.upstream.targets import Target
from popham.upstream.visitor import AGAIN, LANE, SLOW_LANE, VISIT_TIME, Visitor

INTERVAL = 600.0
DEAD = 30.0
"""Seconds until a connection to a host that swallows everything is given up."""


@dataclass
class Link:
    """A held link; ends when a test wants that, or when it is closed."""

    fleet: "Fleet"
    key: str
    over: asyncio.Event = field(default_factory=asyncio.Event)
    error: LinkError | None = None
    let_go: bool = False

    def close(self, code, reason):
        self.let_go = code == 1000
        self.over.set()

    def lose(self):
        self.error = LinkError("closed", "the link ended with 1006", status=1006)
        self.over.set()

    async def run(self, service):
        try:
            await self.over.wait()
        finally:
            self.fleet.links.pop(self.key, None)
        if self.error:
            raise self.error


@dataclass
class Dials:
    """A way to one agent."""

    place: Place
    closed: int = 0

    async def aclose(self):
        self.closed += 1


class Fleet:
    """Agents, and all that a visitor needs of them; times of visits by uid."""

    def __init__(self, clock, number=0, *, mode=Mode.PULL, interval=INTERVAL):
        self.clock = clock
        self.targets = {}
        self.records = {}
        self.dead = set()
        self.latency = 0.05
        self.visits = {}
        self.order = []
        self.links = {}
        self.made = []
        self.running = self.most = self.running_dead = self.most_dead = 0
        draw = random.Random(3).random
        for each in range(number):
            self.add(f"a{each}", mode=mode, interval=interval)
        self.visitor = Visitor(
            None, self, self, dial=self.dial, signer=None, documents=b"", clock=clock, draw=draw
        )
        self.visitor._calling = self

    def add(self, uid, *, mode=Mode.PULL, interval=INTERVAL):
        place = Place(f"https://{uid}:23440")
        self.targets[uid] = Target(uid=uid, name=uid, place=place, mode=mode, interval=interval)
        self.records[uid] = Record(uid=uid, key=uid.encode(), name=uid, group="lab")

    def change(self, uid, **what):
        self.targets[uid] = replace(self.targets[uid], **what)
        self.visitor.changed([uid])

    def drop(self, uid):
        del self.targets[uid]
        self.visitor.changed([uid])

    def said(self, uid, **what):
        state = {"mode": "pull", "dialer": "manager", "outcome": Outcome.APPLIED, "promise": INTERVAL, **what}
        found = StateRecord(uid=uid, revision=1, group="lab", tenant="default", **state)
        self.records[uid].note_state(found, b"x")

    # What the visitor asks.

    def read(self):
        return self.targets

    def one(self, key):
        return self.targets.get(key)

    def record(self, uid):
        return self.records.get(uid)

    def dial(self, target):
        self.made.append(Dials(target.place))
        return self.made[-1]

    async def _reach(self, seen):
        uid = seen.target.uid
        dead = uid in self.dead
        self.running += not dead
        self.running_dead += dead
        self.most, self.most_dead = max(self.most, self.running), max(self.most_dead, self.running_dead)
        try:
            await asyncio.sleep(DEAD if dead else self.latency)
        finally:
            self.running -= not dead
            self.running_dead -= dead
        self.order.append((self.clock.elapsed, uid, seen.dials.place.host))
        if dead:
            raise VisitError("unreachable", f"{uid} swallows everything")
        self.visits.setdefault(uid, []).append(self.clock.elapsed)
        self.records[uid].last_contact = self.clock.now()

    async def visit(self, seen):
        await self._reach(seen)

    async def hold(self, seen, limits):
        await self._reach(seen)
        link = self.links[seen.target.uid] = Link(self, seen.target.uid)
        return link


def run(story, number=0, **settings):
    """Tell a story of a fleet whose visitor runs, and see that it leaves nothing behind."""
    clock = VirtualClock()

    async def tell():
        fleet = Fleet(clock, number, **settings)
        visiting = asyncio.ensure_future(fleet.visitor.run())
        try:
            await story(fleet)
            assert not visiting.done()
        finally:
            visiting.cancel()
            await asyncio.gather(visiting, return_exceptions=True)
        assert not fleet.links
        assert all(dials.closed for dials in fleet.made)
        assert len(asyncio.all_tasks()) == 1, "nothing goes on"

    run_virtual(tell(), clock)


def gaps(fleet):
    return [b - a for times in fleet.visits.values() for a, b in pairwise(times)]


def test_f_l2_ten_thousand_agents_are_visited_every_ten_minutes_evenly_spread_and_dead_ones_delay_nobody():
    async def story(fleet):
        fleet.dead = {f"a{number}" for number in range(0, 10_000, 10)}
        await pass_time(2.5 * INTERVAL)
        healthy = fleet.targets.keys() - fleet.dead
        assert fleet.visits.keys() == healthy
        assert max(times[0] for times in fleet.visits.values()) <= INTERVAL + 1
        assert max(gaps(fleet)) <= 1.2 * INTERVAL
        assert min(gaps(fleet)) >= 0.9 * INTERVAL
        buckets = Counter(int(at / 10) for times in fleet.visits.values() for at in times)
        usual = len(healthy) * 10 / INTERVAL
        assert max(buckets[n] for n in range(120)) <= 1.5 * usual
        assert min(buckets[n] for n in range(120)) >= 0.6 * usual
        assert fleet.most <= LANE
        assert fleet.most_dead <= LANE + SLOW_LANE
        assert fleet.visitor.failures >= 3_000

    run(story, 10_000)


def test_a_start_where_all_are_due_visits_them_within_a_minute_and_never_too_many_at_once():
    async def story(fleet):
        fleet.latency = 1.0
        for record in fleet.records.values():
            record.last_contact = EPOCH - 5 * INTERVAL
        await pass_time(70)
        assert len(fleet.visits) == 3_000
        assert fleet.most <= LANE
        await pass_time(1.1 * INTERVAL)
        assert max(gaps(fleet)) <= INTERVAL + 10
        assert len(fleet.visits) == 3_000

    run(story, 3_000)


def test_a_start_shortly_after_an_end_moves_nobody_beyond_its_interval():
    async def story(fleet):
        ages = {uid: number * INTERVAL / 100 for number, uid in enumerate(fleet.records)}
        for uid, record in fleet.records.items():
            record.last_contact = EPOCH - ages[uid]
            fleet.said(uid)
        await pass_time(INTERVAL)
        assert max(times[0] + ages[uid] for uid, times in fleet.visits.items()) <= INTERVAL + 1
        assert len(fleet.visits) == 100

    run(story, 100)


def test_a_dead_host_is_tried_once_more_soon_and_then_once_per_interval():
    async def story(fleet):
        fleet.dead = {"a0"}
        await pass_time(6 * INTERVAL)
        tried = [at for at, uid, _ in fleet.order]
        waits = [b - a for a, b in pairwise(tried)]
        assert waits[0] <= RETRY + DEAD + 1
        assert all(0.9 * INTERVAL <= wait <= 1.1 * INTERVAL for wait in waits[2:])
        sight = fleet.visitor.sight("a0")
        assert (sight.code, sight.failures) == ("visit.unreachable", len(tried))
        fleet.dead = set()
        await pass_time(1.1 * INTERVAL)
        assert (sight.error, sight.failures) == (None, 0)
        assert sight.last is not None

    run(story, 1)


def test_a_visit_that_takes_for_ever_is_ended_and_told():
    async def story(fleet):
        fleet.latency = 10 * VISIT_TIME
        await pass_time(INTERVAL + VISIT_TIME)
        sight = fleet.visitor.sight("a0")
        assert sight.code == "visit.slow"
        assert "took longer than 90 s" in sight.error.problem

    run(story, 1)


@pytest.mark.parametrize("mode", Mode)
def test_who_is_added_is_visited_soon_and_who_is_dropped_not_any_more(mode):
    async def story(fleet):
        await pass_time(INTERVAL)
        fleet.add("new", mode=mode)
        fleet.visitor.changed(["new"])
        await pass_time(SOON + 1)
        assert len(fleet.visits["new"]) == 1
        for link in list(fleet.links.values()):
            link.close(1000, "gone")
        fleet.drop("new")
        await pass_time(3 * INTERVAL)
        assert len(fleet.visits["new"]) == 1
        assert fleet.visitor.sight("new") is None

    run(story, 5)


def test_what_changes_during_a_visit_holds_after_it():
    async def story(fleet):
        fleet.latency = 20.0
        assert fleet.visitor.hasten("a0") is False, "it has not begun"
        await pass_time(1)
        assert fleet.visitor.hasten("a0")
        await pass_time(5)
        fleet.change("a0", place=Place("https://other:23440"))
        fleet.drop("a1")
        fleet.visitor.hasten("a2")
        await pass_time(5)
        fleet.drop("a2")
        await pass_time(1)
        fleet.add("a2")
        fleet.visitor.changed(["a2"])
        await pass_time(80)
        hosts = [host for _, uid, host in fleet.order if uid == "a0"]
        assert hosts == ["a0", "other"], "it is visited soon where it is now"
        assert "a1" not in fleet.visits
        assert len(fleet.visits["a2"]) == 1, "it was dropped and is back, in the middle of one visit"
        await pass_time(1.1 * INTERVAL)
        assert len(fleet.visits["a2"]) in {2, 3}

    run(story, 3, interval=INTERVAL * 5)


def test_who_is_asked_for_during_a_visit_is_visited_again_after_it():
    async def story(fleet):
        fleet.latency = 20.0
        await pass_time(1)
        fleet.visitor.hasten("a0")
        await pass_time(5)
        fleet.visitor.hasten("a0")
        fleet.visitor.hasten("a0")
        await pass_time(60)
        assert len(fleet.visits["a0"]) == 2
        assert fleet.most == 1
        assert fleet.visitor.hasten("nobody") is False

    run(story, 1, interval=INTERVAL * 100)


def test_who_is_applying_is_asked_again_after_5_15_and_60_seconds_and_then_as_always():
    async def story(fleet):
        fleet.said("a0", outcome=Outcome.APPLYING)
        fleet.visitor.changed()
        await pass_time(4 * INTERVAL)
        waits = [round(wait) for wait in gaps(fleet)]
        assert tuple(waits[:3]) == AGAIN
        assert waits[4:7] == list(AGAIN)
        assert 0.8 * INTERVAL < waits[3] <= INTERVAL
        fleet.said("a0")
        await pass_time(3 * INTERVAL)
        assert gaps(fleet)[-1] == pytest.approx(INTERVAL, abs=1)

    run(story, 1)


def test_who_dials_and_came_within_its_interval_is_not_visited_and_who_fell_silent_is():
    async def story(fleet):
        fleet.said("a0", dialer="agent")
        for _ in range(20):
            fleet.records["a0"].last_contact = fleet.clock.now()
            await pass_time(INTERVAL / 2)
        assert "a0" not in fleet.visits
        await pass_time(INTERVAL)
        assert len(fleet.visits["a0"]) == 1
        await pass_time(SOON)
        fleet.visitor.hasten("a0")
        await pass_time(1)
        assert len(fleet.visits["a0"]) == 2, "somebody asked for it"

    run(story, 1)


def test_who_waits_for_visits_is_visited_soon_once_for_each_time_it_says_so():
    async def story(fleet):
        await pass_time(1)
        for _ in range(50):
            fleet.visitor.waited_for("a0")
        await pass_time(SOON)
        assert len(fleet.visits["a0"]) == 1

    run(story, 1, interval=INTERVAL * 100)


def test_f_p2_links_are_held_and_opened_anew_with_jitter_that_grows_with_the_fleet():
    async def story(fleet):
        number = len(fleet.targets)
        await pass_time(number / REDIALS + 5)
        assert fleet.visitor.held == number
        await pass_time(3 * INTERVAL)
        assert {len(times) for times in fleet.visits.values()} == {1}, "a link that lasts is not opened twice"
        fleet.order.clear()
        for link in list(fleet.links.values()):
            link.lose()
        await pass_time(number / REDIALS + 5)
        assert fleet.visitor.held == number
        seconds = Counter(int(at) for at, _, _ in fleet.order)
        assert max(seconds.values()) <= 2 * REDIALS
        assert fleet.most <= LANE

    run(story, 1_000, mode=Mode.PUSH)


def test_a_link_that_flaps_is_opened_less_and_less_often():
    async def story(fleet):
        for _ in range(5_000):
            await pass_time(1)
            for link in list(fleet.links.values()):
                link.lose()
        tried = [at for at, _, _ in fleet.order]
        assert len(tried) <= 60
        assert max(b - a for a, b in pairwise(tried)) <= 305

    run(story, 1, mode=Mode.PUSH)


def test_f_c3_a_link_is_let_go_for_visits_only_after_one_that_succeeded():
    async def story(fleet):
        await pass_time(5)
        assert fleet.visitor.held == 1
        fleet.dead = {"a0"}
        fleet.change("a0", mode=Mode.PULL)
        await pass_time(INTERVAL)
        assert fleet.visitor.held == 1, "no visit worked yet"
        fleet.dead = set()
        await pass_time(100)
        assert fleet.visitor.held == 0
        before = len(fleet.visits["a0"])
        await pass_time(3 * INTERVAL)
        assert len(fleet.visits["a0"]) - before in {3, 4}
        fleet.change("a0", mode=Mode.PUSH)
        await pass_time(SOON + 1)
        assert fleet.visitor.held == 1

    run(story, 1, mode=Mode.PUSH)


def test_f_c3_who_is_not_to_be_visited_any_more_keeps_its_link_until_it_ends_it():
    async def story(fleet):
        await pass_time(5)
        fleet.drop("a0")
        await pass_time(5 * INTERVAL)
        assert "a0" in fleet.links
        fleet.add("a0", mode=Mode.PUSH)
        fleet.visitor.changed()
        await pass_time(INTERVAL)
        assert len(fleet.visits["a0"]) == 1, "it is the same link"
        fleet.drop("a0")
        await pass_time(1)
        fleet.links["a0"].over.set()
        await pass_time(5 * INTERVAL)
        assert fleet.visitor.sight("a0") is None
        assert len(fleet.visits["a0"]) == 1

    run(story, 1, mode=Mode.PUSH)


def test_many_wishes_make_no_heap():
    async def story(fleet):
        await pass_time(1)
        for _ in range(5_000):
            fleet.visitor.hasten("a0")
        assert len(fleet.visitor._rota._heap) <= 100
        await pass_time(5)
        assert len(fleet.visits["a0"]) == 1

    run(story, 5, interval=INTERVAL * 100)


def test_a_fault_with_one_agent_stops_no_visits_and_is_logged(caplog):
    async def story(fleet):
        visit = fleet.visit

        async def faulty(seen):
            if seen.target.uid == "a0":
                raise RuntimeError("a fault of ours")
            await visit(seen)

        fleet.visit = faulty
        await pass_time(3 * INTERVAL)
        assert {len(times) for times in fleet.visits.values()} == {3}
        assert "a0" not in fleet.visits

    run(story, 10)
    assert "a0 could not be visited" in caplog.text
