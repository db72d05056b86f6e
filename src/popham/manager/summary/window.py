"""The summary window: what is known of agents and groups, put together when somebody asks.

Rules:

1. Agents come a page at a time; of a page nothing is read but names, alerts and, of one agent alone, its values.
2. Groups are counted in memory, in slices, so that links are served meanwhile; who asks again at once is given the
   same answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Final, Protocol

from popham.clock import Clock
from popham.manager.intake.views import Known
from popham.manager.judgement import judge_record
from popham.manager.summary.bounds import newest_bound
from popham.manager.summary.grouping import GroupCount
from popham.manager.summary.items import KeyMetrics
from popham.manager.summary.newest import Brief, Newest, items_of
from popham.manager.summary.plans import Plan, Plans
from popham.manager.summary.views import Flow, GroupSummaryView, SummaryView, ValueView
from popham.manager.views import AgentView
from popham.model.fleet import Admission, AgentKind
from popham.model.generation import STREAMS
from popham.model.status import Downtime, Presence, presence
from popham.model.types.collect_schema import INTERVAL
from popham.store.data_rows import AlertRow, SummaryRow
from popham.streams.frame import Stream
from popham.upstream.record import Record, Wanted

SLICE: Final = 0.005
"""Seconds of counting between two rests."""
REST: Final = 0.005
"""Seconds of rest."""
SAME: Final = 2.0
"""Seconds for which a count of groups is given again."""
KEEPALIVE: Final = 45.0
"""Seconds between pings on a held link, where nobody says otherwise."""
_LOOK: Final = 64
"""Agents between two looks at the clock."""


class Fleet(Protocol):
    """What is in memory of all agents."""

    @property
    def downtimes(self) -> Sequence[Downtime]:
        """Return the spans in which this Manager did not serve."""
        ...

    def record(self, uid: str) -> Record | None:
        """Return what is known of one agent."""
        ...

    def records(self) -> Iterable[Record]:
        """Return all that is known."""
        ...

    def wanted(self, group: str) -> Wanted | None:
        """Return what a group is to have."""
        ...


class NoFleet:
    """Nobody is in memory: for commands that run beside a stopped Manager, and for tests."""

    downtimes: Sequence[Downtime] = ()

    def record(self, uid: str) -> Record | None:  # noqa: ARG002  # the form of Fleet
        """Return None."""
        return None

    def records(self) -> Iterable[Record]:
        """Return nobody."""
        return ()

    def wanted(self, group: str) -> Wanted | None:  # noqa: ARG002  # the form of Fleet
        """Return None."""
        return None


class Window:
    """Puts rows of the summary window together. Used on the loop's thread."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        newest: Newest,
        known: Callable[[str], Mapping[Stream, Known]] = lambda _uid: {},
        *,
        keepalive: float = KEEPALIVE,
    ) -> None:
        """Show what these know.

        Args:
            fleet: All agents.
            clock: Says how old something is.
            newest: The key metrics of all agents.
            known: Returns what the intake knows of the streams of one agent.
            keepalive: Seconds between pings on a held link.
        """
        self._fleet = fleet
        self._clock = clock
        self._newest = newest
        self._known = known
        self._keepalive = keepalive
        self._plans = Plans()
        self._counted: tuple[float, tuple[GroupSummaryView, ...]] = float("-inf"), ()
        self._counting = asyncio.Lock()

    async def rows(
        self, agents: Sequence[AgentView], alerts: Iterable[AlertRow], row: SummaryRow | None = None
    ) -> tuple[SummaryView, ...]:
        """Return the rows of some agents, in slices; ``row`` has the values of the only one."""
        states = worst_states(alerts)
        found, began = [], self._clock.monotonic()
        for number, agent in enumerate(agents):
            if number % _LOOK == 0:
                began = await self._rest(began)
            found.append(self._row(agent, states.get(agent.uid, {}), row))
        return tuple(found)

    async def groups(self, alerts: Iterable[AlertRow]) -> tuple[GroupSummaryView, ...]:
        """Return a row for each group that has agents, by name."""
        async with self._counting:
            at, found = self._counted
            if self._clock.monotonic() - at >= SAME:
                found = await self._count(worst_states(alerts))
                self._counted = self._clock.monotonic(), found
        return found

    async def intervals(self) -> dict[str, float]:
        """Return agent → seconds between two samples of its summary, where that is not the default."""
        found, began = {}, self._clock.monotonic()
        for number, record in enumerate(list(self._fleet.records())):
            if number % _LOOK == 0:
                began = await self._rest(began)
            interval = self._plan(record).interval
            if interval is not None and interval != INTERVAL:
                found[record.uid] = interval
        return found

    def skew(self, uid: str) -> float | None:
        """Return the seconds that an agent's clock is ahead of ours, by what came last; None if that is not known."""
        heard = max(self._known(uid).values(), key=lambda one: one.received, default=None)
        return heard.skew if heard else None

    def waiting(self, uid: str) -> int:
        """Return the records that wait at an agent, as it said last."""
        return sum(one.waiting or 0 for one in self._known(uid).values())

    def is_late(self, record: Record, here: Presence, now: float) -> bool:
        """Return whether the summary of an agent is older than it should be; arguments as of :meth:`flow`.

        One that never came has no age.
        """
        return self._newest.of(record.uid) is not None and self.flow(record, here, now)[0] is Flow.LATE

    def flow(self, record: Record, here: Presence, now: float) -> tuple[Flow, Plan, float | None]:
        """Return how the summary of an agent comes in, what is to come, and the bound of its age, if it has one.

        Args:
            record: The agent.
            here: Whether it is on time.
            now: Unix seconds.
        """
        plan, state, brief = self._plan(record), record.state, self._newest.of(record.uid)
        if plan.interval is None or state is None:
            return Flow.NONE, plan, None
        if state.paused_at:
            return Flow.PAUSED, plan, None
        if not plan.sends:
            return Flow.KEPT, plan, None
        age = inf if brief is None else now - brief.at
        bound = self._bound(record, plan, plan.interval, age, now)
        late = here is not Presence.ON_TIME or age > bound
        return (Flow.LATE, plan, None) if late else (Flow.IN_TIME, plan, bound)

    def _plan(self, record: Record) -> Plan:
        state = record.state
        own = record.kind is AgentKind.OWN and record.admission is Admission.ACCEPTED
        if not own or state is None or state.generation < STREAMS:
            return Plan()
        return self._plans.of(record, self._fleet.wanted(record.group))

    def _bound(self, record: Record, plan: Plan, interval: float, age: float, now: float) -> float:
        state, last = record.state, record.last_contact or now
        mode = str(plan.data.mode) if plan.data else state.mode if state else ""
        away = sum(max(0.0, min(down.end, now) - max(down.begin, last)) for down in self._fleet.downtimes)
        return newest_bound(
            age,
            interval,
            mode,
            record.promise,
            connected=record.link is not None,
            keepalive=self._keepalive,
            away=away,
        )

    def _row(self, agent: AgentView, states: Mapping[str, str], row: SummaryRow | None) -> SummaryView:
        now, record = self._clock.now(), self._fleet.record(agent.uid)
        brief, known = self._newest.of(agent.uid), self._known(agent.uid)
        flow, plan, bound = Flow.NONE, Plan(), None
        if record is not None:
            flow, plan, bound = self.flow(record, Presence(agent.presence), now)
        metrics = brief.metrics if brief else KeyMetrics()
        return SummaryView(
            uid=agent.uid,
            name=agent.name,
            group=agent.group,
            kind=agent.kind,
            admission=agent.admission,
            presence=agent.presence,
            connected=agent.connected,
            last_contact=agent.last_contact,
            mode=agent.mode,
            dialer=agent.dialer,
            fallback=agent.fallback,
            server=record.state.server if record and record.state else "",
            wanted=agent.wanted,
            applied=agent.applied,
            sync=agent.sync,
            flow=flow,
            interval=plan.interval,
            at=brief.at if brief else None,
            age=_age(brief, now),
            bound=bound,
            **metrics._asdict(),
            skew=self.skew(agent.uid),
            states=states,
            stored={str(stream): one.stored for stream, one in known.items()},
            waiting={str(stream): one.waiting for stream, one in known.items() if one.waiting is not None},
            lost=lost_of(known.values()),
            values=values_of(row) if row else (),
        )

    async def _count(self, states: Mapping[str, Mapping[str, str]]) -> tuple[GroupSummaryView, ...]:
        groups: dict[str, GroupCount] = {}
        now, began = self._clock.now(), self._clock.monotonic()
        for number, record in enumerate(list(self._fleet.records())):
            if number % _LOOK == 0:
                began = await self._rest(began)
            here = presence(record.last_contact, record.promise, now, self._fleet.downtimes)
            sync = judge_record(record, self._fleet.wanted(record.group))
            brief, known = self._newest.of(record.uid), self._known(record.uid).values()
            count = groups.setdefault(record.group, GroupCount())
            count.add(here, sync, states.get(record.uid, {}).values())
            count.add_data(
                brief.metrics if brief else KeyMetrics(),
                _age(brief, now) if here is Presence.ON_TIME else None,
                sum(one.waiting or 0 for one in known),
                lost_of(known),
            )
        return tuple(groups[name].view(name) for name in sorted(groups))

    async def _rest(self, began: float) -> float:
        """Let others have the loop, if this has had it for a slice; return since when it has it."""
        if self._clock.monotonic() - began <= SLICE:
            return began
        await asyncio.sleep(REST)
        return self._clock.monotonic()


def worst_states(alerts: Iterable[AlertRow]) -> dict[str, dict[str, str]]:
    """Return agent → item → warning or error, the worst of its resources."""
    found: dict[str, dict[str, str]] = {}
    for alert in alerts:
        states = found.setdefault(alert.uid, {})
        if states.get(alert.item) != "error":
            states[alert.item] = alert.state
    return found


def lost_of(known: Iterable[Known]) -> dict[str, int]:
    """Return cause → records that were lost, of some streams together."""
    found: dict[str, int] = {}
    for one in known:
        for cause, count in one.lost.items():
            found[cause] = found.get(cause, 0) + count
    return found


def values_of(row: SummaryRow) -> tuple[ValueView, ...]:
    """Return every value of a summary, by item and resource."""
    return tuple(
        ValueView(item=item, resource=name, value=one["value"], unit=one["unit"], at=one["at"])
        for item, resources in sorted(items_of(row).items())
        for name, one in sorted(resources.items())
    )


def _age(brief: Brief | None, now: float) -> float | None:
    return None if brief is None else max(0.0, now - brief.at)
