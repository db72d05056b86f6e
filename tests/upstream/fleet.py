"""A fleet that is made up, and a visitor over it in virtual time."""

import asyncio
import random
from dataclasses import dataclass, field, replace
from itertools import pairwise

from popham.errors import LinkError, VisitError
from popham.model.communication import Mode
from popham.model.status import Outcome, StateRecord
from popham.net.visiting import Place
from popham.testing.virtual import VirtualClock, run_virtual
from popham.upstream.record import Record
from popham.upstream.targets import Target
from popham.upstream.visitor import Visitor

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
        self.slow = {}
        self.visits = {}
        self.order, self.reads = [], []
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
            await asyncio.sleep(DEAD if dead else self.slow.get(uid, self.latency))
        finally:
            self.running -= not dead
            self.running_dead -= dead
        self.order.append((self.clock.elapsed, uid, seen.dials.place.host))
        if dead:
            raise VisitError("unreachable", f"{uid} swallows everything")
        self.visits.setdefault(uid, []).append(self.clock.elapsed)
        if seen.only_reads:
            self.reads.append(uid)
        else:
            self.records[uid].last_contact = self.clock.now()

    def relays_with(self, seen):
        return False

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
