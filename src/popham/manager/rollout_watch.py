"""Watches the rollouts that go on, and takes their steps: widens, halts, promotes.

Rules:

1. What it decides on is what agents said, in memory; what it decides is stored before anybody is told.
2. It counts in slices, so that links are served meanwhile, and looks only at agents that can be in the cohort.
3. Everything it knows but the counts is in the store: after a restart it goes on where it was.
4. Nobody fell silent while this Manager was away: each promise begins anew when it is back.  Nor does that
   time count for a soak, and nothing widens before those who had applied were heard again.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import insort
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from popham.clock import Clock
from popham.errors import ConflictError, StateError
from popham.manager.book import ManagerBook
from popham.manager.bundles import Bundles, open_row
from popham.manager.candidates import forget_names
from popham.manager.cohort import Member
from popham.manager.grant import Grant, Role
from popham.manager.members import find_members, is_member
from popham.manager.rollout_look import Followed, Look, Seen
from popham.manager.rollout_telling import Progress
from popham.manager.rollout_views import Troubled
from popham.manager.rollouts import StoredRollout, open_rollout, step
from popham.model.bundle import Bundle
from popham.model.fleet import Admission, AgentKind
from popham.model.rollout import Action, Rollout, RolloutState, Tally
from popham.model.status import Downtime
from popham.store.rows import BundleRow, RolloutRow
from popham.store.seam import Reading, Store, Writing
from popham.upstream.record import Record

_log = logging.getLogger(__name__)
EVERY = 1.0
"""Seconds between two looks."""
AGAIN = 15.0
"""Seconds until the cohort is gathered anew: agents join, leave and move."""
SLICE = 0.003
"""Seconds of counting between two rests."""
REST = 0.015
"""Seconds of rest: a count takes a quarter of the loop at most."""
ERRORS, STUCK = 10, 20
"""Agents that are named."""
MYSELF = Grant(actor="popham", role=Role.ADMIN, source="local")
"""As whom it takes steps."""
_GOING = {RolloutState.HELD, RolloutState.RUNNING, RolloutState.PAUSED}
_LOOK = 64
"""Agents between two looks at the clock."""


@dataclass(slots=True)
class _Watched:
    """A rollout that goes on.

    Attributes:
        row: As it is stored.
        stored: The same, opened.
        groups: What its cohorts are to have.
        agents: All that could be in it.
        cohort: Those that are.
        gathered: When these were found.
        seen: Since when these have the candidate.
        troubled: Who failed or fell silent in this wave, the first first.
    """

    row: RolloutRow
    stored: StoredRollout
    groups: dict[str, Followed]
    seen: Seen
    agents: int = 0
    cohort: list[Record] = field(default_factory=list)
    gathered: float = float("-inf")
    troubled: dict[str, Troubled] = field(default_factory=dict)


class RolloutWatch:
    """Takes the steps of rollouts."""

    def __init__(
        self,
        store: Store,
        book: ManagerBook,
        bundles: Bundles,
        clock: Clock,
        on_groups_changed: Callable[[Iterable[str]], None],
        on_agent_changed: Callable[[str], None] = lambda _uid: None,
    ) -> None:
        """Keep what is needed; :meth:`run` does the work."""
        self._on_agent_changed = on_agent_changed
        self._known: frozenset[str] | None = None
        self._store = store
        self._book = book
        self._bundles = bundles
        self._clock = clock
        self._on_groups_changed = on_groups_changed
        self._woken = asyncio.Event()
        self._opened: dict[int, tuple[RolloutRow, StoredRollout]] = {}
        self._watched: dict[int, _Watched] = {}
        self._progress: dict[int, Progress] = {}

    def groups_changed(self, groups: Iterable[str]) -> None:
        """Pass on which groups have new bundles, and look whether a rollout goes on by it."""
        self._on_groups_changed(groups)
        self._woken.set()

    def members(self, _reading: Reading, groups: Collection[str]) -> Mapping[str, Sequence[Member]]:
        """Return who could be in the cohorts of these groups; on any thread."""
        # A list of them is made at once, so that whoever joins meanwhile does no harm.
        return find_members(list(self._book.records()), groups, self._clock.now(), self._book.downtimes)

    def progress(self, number: int) -> Progress | None:
        """Return how the cohort of a rollout was doing at the last look; None if it does not go on."""
        return self._progress.get(number)

    async def holders(self, stored: StoredRollout) -> int:
        """Return how many agents have what a rollout that was halted brought, by what they said last."""
        found, turn = 0, self._clock.monotonic()
        for number, record in enumerate(list(self._book.records())):
            if number % _LOOK == 0 and self._clock.monotonic() - turn > SLICE:
                await asyncio.sleep(REST)
                turn = self._clock.monotonic()
            place = stored.groups.get(record.group)
            if place is None or record.state is None or not is_member(record):
                continue
            had = stored.had(record.group, record.uid, record.candidate)
            found += record.state.applied_digest in place.digests and had
        return found

    async def run(self) -> None:
        """Look and take steps, until cancelled.

        Raises:
            StateError: The database failed; the process must end.
        """
        while True:
            self._woken.clear()
            try:
                going = await self.look()
            except StateError as error:
                if not error.retryable:
                    raise
                _log.warning("rollouts go on later: %s", error)
                going = True
            if going:
                await asyncio.sleep(EVERY)
            else:
                await self._woken.wait()

    async def look(self) -> bool:
        """Look once at every rollout that goes on, and take the steps that are due; return if there was one."""
        going: dict[int, _Watched] = {}
        self._opened = await self._store.read(self._read)
        await self._forget_names()
        for row, stored in self._opened.values():
            known = self._watched.get(row.number)
            if stored.rollout.state not in _GOING:
                continue
            if known is None or known.row != row or not self._is_current(known):
                fresh = await self._open(row, stored)
                if known is not None:
                    _carry(known, fresh)
                known = fresh
            going[row.number] = known
        self._watched = going
        for number in self._progress.keys() - going.keys():
            del self._progress[number]
        for watched in going.values():
            await self._look_at(watched)
        return bool(going)

    async def _forget_names(self) -> None:
        """Take out of assignments what names rollouts that are over, once one is, and when this Manager begins."""
        opened = frozenset(stored.rollout.id for _, stored in self._opened.values())
        if self._known is not None and self._known <= opened:
            self._known = opened
            return
        director, now = self._bundles.director, self._clock.now()
        for uid in await forget_names(self._store, self._book, director, opened, now=now):
            self._on_agent_changed(uid)
        self._known = opened

    def _read(self, tx: Reading) -> dict[int, tuple[RolloutRow, StoredRollout]]:
        """Return the rollouts that are not over; they can be large, and are taken apart once, where no link waits."""
        found = {}
        for row in tx.rollouts(open_only=True):
            known = self._opened.get(row.number)
            found[row.number] = known if known and known[0] == row else (row, open_rollout(row))
        return found

    async def _look_at(self, watched: _Watched) -> None:
        if self._clock.monotonic() - watched.gathered >= AGAIN:
            await self._gather(watched)
        found, unheard = await self._count(watched)
        self._progress[watched.stored.number] = found
        now = self._clock.now()
        was = watched.stored.rollout
        noted = was.note(found.tally, now=now)
        away = time_away(self._book.downtimes, noted.wave.settled or now, now)
        action, why = noted.decide(found.tally, now=now - away)
        if unheard and action in {Action.WIDEN, Action.PROMOTE}:
            action = Action.WAIT
        if action is Action.WAIT and noted is was:
            return
        try:
            signed = await self._store.write(
                lambda tx: self._take(tx, watched, found, noted, action, why, now)
            )
        except ConflictError as error:
            if error.code != "conflict.bundle":
                raise
            return
        if signed:
            self._on_groups_changed([row.group for row in signed])
        if action is not Action.WAIT:
            _log.info("rollout %s: %s, since %s", was.id, action, why)

    def _take(
        self,
        tx: Writing,
        watched: _Watched,
        found: Progress,
        rollout: Rollout,
        action: Action,
        why: str,
        now: float,
    ) -> Sequence[BundleRow]:
        """Store what was noted, and take the step; nothing if somebody took one meanwhile."""
        if tx.rollout(watched.stored.number) != watched.row:
            return ()
        kept = replace(watched.stored, tally=found.tally, errors=found.errors)
        if action is Action.WAIT:
            tx.put_rollout(replace(kept, rollout=rollout).row())
            return ()
        if action is Action.WIDEN:
            after = rollout.widened(now=now)
        else:
            state = RolloutState.HALTED if action is Action.HALT else RolloutState.PROMOTED
            after = rollout.became(state, why if action is Action.HALT else "", now=now, by=MYSELF.actor)
        was = replace(kept, rollout=rollout)
        return step(tx, self._bundles, MYSELF, f"rollout.{action}", was, after, now=now)[1]

    def _is_current(self, watched: _Watched) -> bool:
        """Return whether the bundles are those that agents are to have."""
        for name, group in watched.groups.items():
            wanted = self._book.wanted(name)
            if wanted is not None and wanted.version > group.bundle.version:
                return False
        return True

    async def _open(self, row: RolloutRow, stored: StoredRollout) -> _Watched:
        def work(tx: Reading) -> list[Bundle]:
            # As rollouts, bundles are taken apart where no link waits for it.
            return [open_row(held) for held in map(tx.bundle, stored.groups) if held is not None]

        groups = {}
        for bundle in await self._store.read(work):
            if bundle.candidate is not None:
                digests = frozenset({*stored.groups[bundle.group].digests, bundle.content_digest})
                groups[bundle.group] = Followed(bundle, bundle.candidate, digests)
        # Who has it by name may have had it before the first wave.
        first = stored.at if stored.rollout.began_held else stored.rollout.waves[0].began
        seen = Seen(begun=min(first, stored.began))
        return _Watched(row=row, stored=stored, groups=groups, seen=seen)

    async def _gather(self, watched: _Watched) -> None:
        """Find who is in the cohort."""
        cohort, agents = [], 0
        began = self._clock.monotonic()
        for number, record in enumerate(list(self._book.records())):
            if number % _LOOK == 0 and self._clock.monotonic() - began > SLICE:
                await asyncio.sleep(REST)
                began = self._clock.monotonic()
            group = watched.groups.get(record.group)
            if group is None or record.kind is not AgentKind.OWN:
                continue
            if record.admission is not Admission.ACCEPTED:
                continue
            agents += 1
            if group.bundle.is_candidate(record.uid, record.candidate) and is_member(record):
                cohort.append(record)
        watched.agents, watched.cohort = agents, cohort
        watched.gathered = self._clock.monotonic()

    async def _count(self, watched: _Watched) -> tuple[Progress, int]:
        """Return how the cohort is doing, and how many had applied and were not heard since this Manager is back."""
        counts = dict.fromkeys(("applied", "failed", "silent", "pending", "away"), 0)
        stuck: list[tuple[str, str, Record, str]] = []
        rollout = watched.stored.rollout
        began, soak = watched.stored.began, rollout.terms.soak
        look = Look(self._clock.now(), began, soak, self._book.downtimes, watched.seen)
        bad: set[str] = set()
        cohort, named, unheard, turn = 0, 0, 0, self._clock.monotonic()
        for number, record in enumerate(watched.cohort):
            if number % _LOOK == 0 and self._clock.monotonic() - turn > SLICE:
                await asyncio.sleep(REST)
                turn = self._clock.monotonic()
            group = watched.groups.get(record.group)
            if group is None or not is_member(record):
                continue
            if not group.bundle.is_candidate(record.uid, record.candidate):
                continue
            cohort += 1
            named += rollout.named and record.candidate == rollout.id
            how = look.judge(record, group)
            counts[how] += 1
            unheard += how == "applied" and look.awaits(record)
            if how in {"failed", "silent"}:
                bad.add(record.uid)
                if len(watched.troubled) < ERRORS:
                    watched.troubled.setdefault(record.uid, look.explain(record, how))
            elif how in {"pending", "away"} and (len(stuck) < STUCK or record.name < stuck[-1][0]):
                insort(stuck, (record.name, record.uid, record, how), key=lambda one: one[:2])
                del stuck[STUCK:]
        for uid in watched.troubled.keys() - bad:
            del watched.troubled[uid]
        watched.seen.counted = True
        found = Progress(
            tally=Tally(agents=watched.agents, cohort=cohort, named=named, **counts),
            errors=tuple(watched.troubled.values()),
            stuck=tuple(look.explain(record, how) for _, _, record, how in stuck),
        )
        return found, unheard


def _carry(known: _Watched, fresh: _Watched) -> None:
    """Keep what is known of a rollout whose row or bundles have changed, unless the clock went back."""
    was, now = known.stored.rollout, fresh.stored.rollout
    if was.wave.began == now.wave.began:
        fresh.troubled = known.troubled
    if was.current < now.current or was.wave.began <= now.wave.began:
        fresh.seen = known.seen


def time_away(downtimes: Sequence[Downtime], begin: float, end: float) -> float:
    """Return for how many seconds of a span this Manager did not serve."""
    return sum(max(0.0, min(down.end, end) - max(down.begin, begin)) for down in downtimes)
