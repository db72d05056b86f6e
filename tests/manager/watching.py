"""A group in a rollout with its agents in memory, and the watch over them: what tests of the watch have in common."""

from dataclasses import dataclass, field

from tests.manager.conftest import NOW, VIEWER, policy
from tests.manager.rolling import fill, uid_of

from popham import __version__
from popham.manager.bundles import Bundles
from popham.manager.rollout_watch import RolloutWatch
from popham.model.fleet import Admission, AgentKind
from popham.model.rollout import RolloutTerms
from popham.model.status import Downtime, Outcome, StateRecord
from popham.upstream.record import Record

HALF = RolloutTerms.of([0.5], soak=600.0, halt_on=0.5)


@dataclass
class Book:
    """Records of agents, as a Manager's book has them."""

    held: dict[str, Record] = field(default_factory=dict)
    downtimes: tuple[Downtime, ...] = ()

    def records(self):
        return self.held.values()

    def wanted(self, _group):
        return None


class Crew:
    """The agents of a group in a rollout, and the watch over them."""

    def __init__(self, bench, agents=20):
        self.bench, self.agents = bench, agents
        self.book, self.told = Book(), []
        self.watch = self.fresh()

    def fresh(self):
        bundles = Bundles(self.bench.keys.director)
        return RolloutWatch(self.bench.store, self.book, bundles, self.bench.clock, self.told.append)

    async def begin(self, terms=HALF):
        await fill(self.bench, self.agents)
        self.gather()
        await self.bench.apply(policy(content="two"), rollout=terms)
        self.bundle = await self.bench.bundle("paris")

    def gather(self):
        for number in range(self.agents):
            self.book.held[uid_of(number)] = Record(
                uid=uid_of(number),
                key=bytes(16),
                name=f"a{number}",
                group="paris",
                kind=AgentKind.OWN,
                admission=Admission.ACCEPTED,
                contacted=NOW,
                own_promise=60.0,
            )
            self.say(number, content_digest="", outcome=Outcome.NONE)

    def say(self, number, **said):
        record = self.book.held[uid_of(number)]
        state = StateRecord(
            uid=record.uid,
            revision=1,
            group="paris",
            promise=60.0,
            mode="push",
            dialer="agent",
            agent_version=__version__,
            since=self.bench.clock.at,
            **said,
        )
        record.note_state(state, b"")
        record.last_contact = self.bench.clock.at

    @property
    def first(self):
        return [n for n in range(self.agents) if self.bundle.is_candidate(uid_of(n))]

    def applies(self, *numbers):
        digest = self.bundle.candidate.locations["default"].resolved_digest
        for number in numbers:
            self.say(
                number,
                content_digest=self.bundle.content_digest,
                applied_digest=self.bundle.content_digest,
                resolved=digest,
                applied_resolved=digest,
                outcome=Outcome.APPLIED,
            )

    def fails(self, number, code="policy.undone_contact", **said):
        said.setdefault("content_digest", self.bundle.content_digest)
        said.setdefault("resolved", self.bundle.candidate.locations["default"].resolved_digest)
        self.say(number, outcome=Outcome.FAILED, error_code=code, error="no server answers", **said)

    def here(self, *numbers):
        for number in numbers or range(self.agents):
            self.book.held[uid_of(number)].last_contact = self.bench.clock.at

    async def look(self, later=0.0):
        self.bench.clock.at += later
        await self.watch.look()
        self.bench.service._progress = self.watch.progress
        self.bundle = await self.bench.bundle("paris")
        return await self.bench.service.rollout(VIEWER, "r1")
