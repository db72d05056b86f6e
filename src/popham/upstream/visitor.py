"""Who is visited when: the schedule of an upstream that dials.

Rules:

1. Visits of one agent are one interval apart, at a phase that is the agent's own; so a fleet is spread
   evenly, also after a start of this upstream.
2. At most :data:`LANE` visits run at once, and :data:`SLOW_LANE` more of agents whose last visit failed: a dead
   host delays nobody but other dead ones.
3. An agent that came another way within its interval is not visited, unless it says that it waits for it.
4. One task runs the schedule; a visit and a held link have a task each, which it owns.

Source: design 4 and 5; Systemwalker SQC's interval of about ten minutes.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Callable, Iterable, Mapping

from popham.clock import Clock
from popham.errors import PophamError, VisitError
from popham.link.backoff import Backoff
from popham.link.cadence import phase_of
from popham.model.communication import Mode
from popham.model.status import Outcome
from popham.net.seam import Limits, Service
from popham.upstream.book import Book
from popham.upstream.calling import Calling
from popham.upstream.record import Record
from popham.upstream.sighting import Seen, Sight
from popham.upstream.targets import Target, Targets
from popham.upstream.visits import Dials, Signer

_log = logging.getLogger(__name__)
LANE, SLOW_LANE = 128, 64
"""Visits at once of agents that answered last time, or were never asked; and of the others."""
VISIT_TIME = 90.0
"""Seconds of one visit, whatever happens in it."""
SLICE = 500
"""Agents that are looked at in one turn of the loop."""
AGAIN = (5.0, 15.0, 60.0)
"""Seconds after which an agent that is applying is asked again. Source: design 4."""
SOON = 10.0
"""Seconds over which first visits are spread, where somebody waits for them."""
STEADY = 60.0
"""Seconds that a held link has to last, before the next loss of it is a first one."""
_WAITS = "visit."


class Visitor:
    """Visits agents, and holds links into the services of others."""

    def __init__(
        self,
        service: Service,
        book: Book,
        targets: Targets,
        *,
        dial: Callable[[Target], Dials],
        signer: Signer,
        documents: bytes,
        clock: Clock,
        draw: Callable[[], float],
        limits: Limits | None = None,
        lacks: Callable[[Record], Mapping[str, bytes]] = lambda _record: {},
        brought: Callable[[str], None] = lambda _uid: None,
        lanes: tuple[int, int] = (LANE, SLOW_LANE),
    ) -> None:
        """Keep what is needed; :meth:`run` begins.

        Args:
            service: The hub.
            book: Who is known.
            targets: Who is to be visited.
            dial: Returns the way to one of them.
            signer: Signs what is asked.
            documents: Trust documents, for whoever waits to be born.
            clock: Wall time, and the time of the schedule.
            draw: Random number in [0, 1).
            limits: Bounds of held links.
            lacks: Returns digest → body of what an agent lacks, and may have.
            brought: Told the uid of an agent on a held link, once what it lacked was brought beside it.
            lanes: Visits at once; and of agents whose last visit failed.
        """
        self._service = service
        self._book = book
        self._targets = targets
        self._dial = dial
        self._calling = Calling(service, book, signer, documents, clock, lacks)
        self._lanes = {False: lanes[0], True: lanes[1]}
        self._brought = brought
        self._clock = clock
        self._draw = draw
        self._limits = limits or Limits()
        self._seen: dict[str, Seen] = {}
        self._heap: list[tuple[float, str]] = []
        self._parked: dict[bool, dict[str, None]] = {False: {}, True: {}}
        self._running = {False: 0, True: 0}
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._stale = True
        self._changed: dict[str, None] = {}
        self._later: set[str] = set()
        self.visits = self.failures = 0

    # What others ask.

    def changed(self, keys: Iterable[str] | None = None) -> None:
        """Take note that who is to be visited, or how, may be another: of these keys, or of any (None)."""
        if keys is None:
            self._stale = True
        else:
            self._changed.update(dict.fromkeys(keys))
        self._woken.set()

    def lacking(self, key: str) -> None:
        """Bring an agent, to which a link is held, what it says that it lacks: by requests beside the link."""
        seen = self._seen.get(key)
        if seen is not None and seen.link is not None and not seen.bringing:
            seen.bringing = True
            self._own(asyncio.ensure_future(self._bring(seen)))

    def sight(self, key: str) -> Sight | None:
        """Return what came of the visits of an agent, by uid or name of a definition; None if it is not visited."""
        seen = self._seen.get(key)
        return seen.sight if seen else None

    def hasten(self, key: str) -> bool:
        """Have an agent visited now; False if it is not to be visited."""
        seen = self._seen.get(key)
        if seen is None:
            return False
        seen.asked = True
        self._plan(key, seen, 0.0)
        return True

    @property
    def held(self) -> int:
        """Links held now."""
        return sum(seen.link is not None for seen in self._seen.values())

    # The schedule.

    async def run(self) -> None:
        """Visit until cancelled."""
        try:
            while True:
                if self._stale or self._changed:
                    await self._refresh()
                self._start_due()
                wait = self._heap[0][0] - self._clock.monotonic() if self._heap else math.inf
                self._woken.clear()
                if wait > 0:
                    await _wait(self._woken, wait)
        finally:
            tasks = set(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for seen in self._seen.values():
                await seen.dials.aclose()

    async def _refresh(self) -> None:
        """Look at those that changed, in slices: of a large fleet they may be all."""
        targets, keys, first = self._targets.read(), self._changed, not self._seen
        if self._stale:
            keys = dict.fromkeys([*self._seen, *targets])
        self._stale, self._changed = False, {}
        for number, key in enumerate(keys, 1):
            self._update(key, targets.get(key), first=first)
            if number % SLICE == 0:
                await asyncio.sleep(0)

    def _update(self, key: str, target: Target | None, *, first: bool) -> None:
        seen = self._seen.get(key)
        if target is None:
            if seen is not None:
                self._drop(key)
        elif seen is None:
            seen = self._seen[key] = Seen(target, Sight(self._clock.now()), self._dial(target))
            phase = phase_of(key.encode())
            wait = target.interval * phase if first else min(SOON, target.interval) * self._draw()
            self._plan(key, seen, wait)
        elif seen.target != target:
            if seen.task is not None and seen.link is None:
                self._later.add(key)  # what is under way comes to its end first
            else:
                self._change(key, seen, target, self._clock.monotonic())

    def _change(self, key: str, seen: Seen, target: Target, now: float) -> None:
        # Who was found there is expected there from now on.
        moved = (seen.target.place, seen.target.uid) != (target.place, target.uid)
        former, seen.target = seen.target, target
        if moved:
            self._close_later(seen.dials)
            seen.dials = self._dial(target)
        if moved or former.mode is not target.mode:
            seen.sight.error, seen.sight.failures, seen.sight.since = None, 0, self._clock.now()
            seen.asked = True
            self._plan(key, seen, min(SOON, target.interval) * self._draw())
        elif seen.due > now + target.interval:
            self._plan(key, seen, target.interval * self._draw())
        if moved and seen.link is not None:
            seen.link.close(1000, "the address is another")

    def _drop(self, key: str) -> None:
        seen = self._seen.pop(key)
        for parked in self._parked.values():
            parked.pop(key, None)
        if seen.link is not None:
            seen.link.close(1000, "this agent is not dialled any more")
        elif seen.task is not None:
            seen.task.cancel()
        self._close_later(seen.dials)

    def _close_later(self, dials: Dials) -> None:
        self._own(asyncio.ensure_future(dials.aclose()))

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _plan(self, key: str, seen: Seen, wait: float) -> None:
        seen.due = self._clock.monotonic() + wait
        seen.sight.next = self._clock.now() + wait
        heapq.heappush(self._heap, (seen.due, key))
        if len(self._heap) > 4 * len(self._seen) + 64:
            self._heap = [(one.due, name) for name, one in self._seen.items() if one.sight.next is not None]
            heapq.heapify(self._heap)
        self._woken.set()

    def _start_due(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            seen = self._seen.get(key)
            if seen is not None and seen.due == due and seen.task is None:
                self._parked[bool(seen.sight.failures)][key] = None
        for slow, most in self._lanes.items():
            parked = self._parked[slow]
            while parked and self._running[slow] < most:
                key = next(iter(parked))
                del parked[key]
                self._start(key, self._seen[key], slow=slow)

    def _start(self, key: str, seen: Seen, *, slow: bool) -> None:
        target = self._targets.one(key)
        if target is None or (not seen.asked and self._came(seen)):
            self._plan(key, seen, seen.target.interval)
            return
        seen.asked = False
        self._running[slow] += 1
        seen.sight.next = None
        seen.task = asyncio.ensure_future(self._keep(key, seen, slow=slow))
        self._own(seen.task)

    def _came(self, seen: Seen) -> bool:
        """Return whether the agent came another way within its interval, and does not wait for a visit."""
        record = self._book.record(seen.target.uid) if seen.target.uid else None
        if record is None or record.last_contact is None:
            return False
        state = record.state
        if state is not None and state.fallback.startswith(_WAITS):
            return False
        silent = self._clock.now() - record.last_contact
        by_visit = seen.sight.last is not None and record.last_contact <= seen.sight.last
        return silent < seen.target.interval and not by_visit

    # One agent.

    async def _keep(self, key: str, seen: Seen, *, slow: bool) -> None:
        """Visit once, or hold a link until it ends; then plan what comes next."""
        lane: list[bool] = [slow]

        def leave() -> None:
            if lane:
                self._running[lane.pop()] -= 1
                self._woken.set()
            if key in self._later:
                self._later.discard(key)
                self.changed([key])

        try:
            try:
                await self._dial_once(seen, leave)
            except (PophamError, TimeoutError) as error:
                self._failed(key, seen, error)
            else:
                self._succeeded(key, seen)
            if not seen.again:
                await seen.dials.aclose()  # its name is looked up anew for the next
        finally:
            leave()
            seen.task = seen.link = None
            if self._seen.get(key) is seen:
                # It may have been due while the last one was under way.
                wait = seen.target.interval if seen.sight.next is None else seen.due - self._clock.monotonic()
                self._plan(key, seen, wait)

    async def _dial_once(self, seen: Seen, leave: Callable[[], None]) -> None:
        async with asyncio.timeout(VISIT_TIME):
            if not seen.target.uid:
                await self._calling.find(seen, self._targets)
                return
            if seen.target.mode is Mode.PULL:
                await self._calling.visit(seen)
                return
            link = await self._calling.hold(seen, self._limits)
        seen.link = link
        leave()
        self._note_well(seen)
        began = self._clock.monotonic()
        try:
            await link.run(self._service)
        finally:
            record = self._book.record(seen.target.uid)
            seen.sight.last = record.last_contact if record else seen.sight.last
            if self._clock.monotonic() - began > STEADY:
                seen.backoff = None
        raise VisitError("closed", "the agent closed the link", "It is dialled again by itself")

    async def _bring(self, seen: Seen) -> None:
        try:
            async with asyncio.timeout(VISIT_TIME):
                await self._calling.bring(seen)
        except (PophamError, TimeoutError) as error:
            _log.info("%s was not brought what it lacks: %s", seen.target.name, error)
        else:
            self._brought(seen.target.uid)
        finally:
            seen.bringing = False

    def _note_well(self, seen: Seen) -> None:
        sight, now = seen.sight, self._clock.now()
        if sight.error is not None or sight.last is None:
            sight.since = now
        sight.last, sight.error, sight.failures = now, None, 0

    def _succeeded(self, key: str, seen: Seen) -> None:
        self.visits += 1
        self._note_well(seen)
        if self._seen.get(key) is not seen:
            return
        record = self._book.record(seen.target.uid) if seen.target.uid else None
        applying = (
            record is not None and record.state is not None and record.state.outcome is Outcome.APPLYING
        )
        if applying and seen.again < len(AGAIN):
            seen.asked = True
            self._plan(key, seen, AGAIN[seen.again])
            seen.again += 1
            return
        seen.again = 0
        self._plan(key, seen, self._next(seen))

    def _next(self, seen: Seen) -> float:
        """Return seconds to the next visit, on the agent's own grid."""
        interval, now = seen.target.interval, self._clock.monotonic()
        phase = phase_of((seen.target.uid or seen.target.name).encode()) * interval
        wait = (phase - now) % interval
        return wait if wait >= interval / 2 else wait + interval

    def _failed(self, key: str, seen: Seen, error: PophamError | TimeoutError) -> None:
        self.failures += 1
        sight, link = seen.sight, seen.link
        found = error if isinstance(error, PophamError) else _late(seen)
        if sight.error is None or sight.error.code != found.code:
            sight.since = self._clock.now()
            _log.info("%s was not visited: %s", seen.target.name, found)
        sight.error, sight.failures, seen.again = found, sight.failures + 1, 0
        if self._seen.get(key) is not seen:
            return
        if seen.target.mode is Mode.PULL and seen.target.uid:
            self._plan(key, seen, self._next(seen))
            return
        if seen.backoff is None:
            seen.backoff = Backoff(self._draw)
        wait = min(seen.backoff.failed(None), seen.target.interval)
        if link is not None:
            sight.failures = 0
        seen.asked = True
        self._plan(key, seen, wait)


def _late(seen: Seen) -> VisitError:
    problem = f"the visit of {seen.target.place.url} took longer than {VISIT_TIME:g} s"
    return VisitError("slow", problem, "Look at the load of the machine, and at what stands in between")


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds if seconds < math.inf else None):
            await event.wait()
    except TimeoutError:
        return
