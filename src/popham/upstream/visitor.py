"""Who is visited when: the schedule of an upstream that dials.

Rules:

1. Visits of one agent are one interval apart, at a phase that is the agent's own and that a start of this
   upstream does not move; so a fleet is spread evenly, and nobody waits for longer.
2. At most :data:`LANE` visits run at once, and :data:`SLOW_LANE` more of agents whose last visit failed, or took
   long: a dead or slow host delays nobody but others like it.
3. An agent that came another way within its interval is not visited, unless it says that it waits for it; where
   its data are to be read by visits all the same, nothing else is asked of it then.
4. One task runs the schedule; a visit and a held link have a task each, which it owns.
5. A link is let go for visits after one that succeeded, and for the agent's own dial by the agent; so
   who is not to be visited any more is left as it is.

Source: design 4 and 5; Systemwalker SQC's interval of about ten minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from popham.clock import Clock
from popham.errors import LinkError, PophamError, VisitError
from popham.link.visits import KEPT
from popham.model.communication import Dialer, Mode
from popham.model.status import Outcome
from popham.net.seam import Limits, Service
from popham.net.websocket import note_failure
from popham.upstream.beside import Beside
from popham.upstream.book import Book
from popham.upstream.calling import Calling, Lacks
from popham.upstream.dialled import FAREWELL, DialledLink
from popham.upstream.due import Due
from popham.upstream.moving import STEADY, let_go
from popham.upstream.outputs import Outputs
from popham.upstream.record import Record
from popham.upstream.relay_door import RelayDoor
from popham.upstream.rota import Rota
from popham.upstream.sighting import Seen, Sight
from popham.upstream.streams import Streams
from popham.upstream.targets import Target, Targets
from popham.upstream.visits import Dials, Signer

_log = logging.getLogger(__name__)
LANE, SLOW_LANE = 128, 64
"""Visits at once of agents that answered quickly last time, or were never asked; and of the others."""
VISIT_TIME = 90.0
"""Seconds of one visit, whatever happens in it."""
SLICE = 500
"""Agents that are looked at in one turn of the loop."""
AGAIN = (5.0, 15.0, 60.0)
"""Seconds after which an agent that is applying is asked again. Source: design 4."""


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
        lacks: Lacks = lambda _record: {},
        outputs: Outputs | None = None,
        streams: Streams | None = None,
        relaying: RelayDoor | None = None,
        brought: Callable[[str], None] = lambda _uid: None,
        unreached: Callable[[str, PophamError], None] = lambda _uid, _error: None,
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
            outputs: What operations of agents put out; None if nothing is ordered here.
            streams: Takes streams; None if none are taken here.
            relaying: Has what exchanges with Proxy Managers; None where nothing is relayed.
            brought: Told the uid of an agent on a held link, once what it lacked was brought beside it.
            unreached: Told the uid of an agent that could not be visited, and why.
            lanes: Visits at once; and of agents whose last visit failed.
        """
        self._service = service
        self._book, self._targets, self._dial = book, targets, dial
        self._calling = Calling(service, book, signer, documents, clock, lacks, outputs, streams, relaying)
        self._bringing = Beside(self._calling.bring, brought, self._own, VISIT_TIME)
        self._reading = Beside(self._calling.read, lambda _uid: None, self._own, VISIT_TIME)
        self._relaying = Beside(self._calling.relay, lambda _uid: None, self._own, VISIT_TIME)
        self._rota, self._unreached = Rota(*lanes), unreached
        self._clock, self._due = clock, Due(clock, draw)
        self._limits = limits or Limits()
        self._seen: dict[str, Seen] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._stale = True
        self._changed: dict[str, None] = {}
        self._links = self.visits = self.failures = 0  # the first: agents to which a link is to be held

    def changed(self, keys: Iterable[str] | None = None) -> None:
        """Take note that who is to be visited, or how, may be another: of these keys, or of any (None)."""
        if keys is None:
            self._stale = True
        else:
            self._changed.update(dict.fromkeys(keys))
        self._woken.set()

    def lacking(self, key: str) -> None:
        """Bring an agent, to which a link is held, what it says that it lacks, and fetch its outputs: beside the link."""
        self._bringing.begin(self._seen.get(key))

    def ready(self, key: str) -> None:
        """Read from an agent, to which a link is held, what it says that waits of its streams: beside the link."""
        self._reading.begin(self._seen.get(key))

    def relay(self, key: str) -> bool:
        """Exchange with a Proxy Manager, to which a link is held, what there is to relay: beside it; False if none is."""
        return self._relaying.begin(self._seen.get(key))

    def waited_for(self, key: str) -> None:
        """Have an agent visited soon that says that it waits for that, or missed it."""
        seen = self._seen.get(key)
        if seen is not None and seen.task is None and not seen.asked and not seen.dropped:
            seen.asked = True
            self._plan(key, seen, self._due.shortly(seen))

    def sight(self, key: str) -> Sight | None:
        """Return what came of the visits of an agent, by its key; None if it is not visited."""
        seen = self._seen.get(key)
        if seen is not None and seen.link is not None:
            self._note_alive(seen)
        return seen.sight if seen else None

    def hasten(self, key: str) -> bool:
        """Have an agent visited now, or again if that is under way; False if it is not to be visited."""
        seen = self._seen.get(key)
        if seen is not None and not seen.dropped and seen.link is None:
            seen.asked = True
            self._plan(key, seen, 0.0)
        return seen is not None and not seen.dropped

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
                for key, slow in self._rota.enter(
                    self._clock.monotonic(), lambda key: self._seen[key].is_slow
                ):
                    self._start(key, self._seen[key], slow=slow)
                    await asyncio.sleep(0)  # a turn each: each signs its request, which takes its time
                wait = self._rota.next - self._clock.monotonic()
                await self._rota.pause(self._woken, wait)
                self._woken.clear()
        finally:
            tasks = set(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for seen in self._seen.values():
                await seen.dials.aclose()
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _refresh(self) -> None:
        """Look at those that changed, in slices: of a large fleet they may be all."""
        targets, keys, first = self._targets.read(), self._changed, not self._seen
        if self._stale:
            keys = dict.fromkeys([*self._seen, *targets])
        self._stale, self._changed = False, {}
        self._links = sum(target.mode is Mode.PUSH for target in targets.values())
        for number, key in enumerate(keys, 1):
            self._update(key, targets.get(key), first=first)
            if number % SLICE == 0:
                await asyncio.sleep(0)

    def _update(self, key: str, target: Target | None, *, first: bool) -> None:
        seen = self._seen.get(key)
        if target is None:
            if seen is not None:
                self._drop(key, seen)
        elif seen is None:
            seen = self._seen[key] = Seen(target, Sight(self._clock.now()), self._dial(target))
            record = self._book.record(target.uid)
            seen.asked = record is not None and record.awaits_visit
            wait = self._due.shortly(seen)  # whoever waits, such as to be born, has waited long enough
            if first and target.uid and not seen.asked:
                wait = self._due.first(key, seen, record, self._links)
            self._plan(key, seen, wait)
        else:
            self._renew(key, seen, target)

    def _renew(self, key: str, seen: Seen, target: Target) -> None:
        seen.dropped, seen.wanted = False, None
        record = self._book.record(target.uid)
        if record is not None and record.state is not None and record.state.fallback == KEPT:
            # It is about to dial: until that works it is visited as it was.
            target = replace(target, mode=seen.target.mode, interval=seen.target.interval)
        if seen.target == target:
            return
        if seen.task is not None and seen.link is None:
            seen.wanted = target  # what is under way comes to its end first
        else:
            self._change(key, seen, target)

    def _change(self, key: str, seen: Seen, target: Target) -> None:
        # Who was found there is expected there from now on.
        moved = (seen.target.place, seen.target.uid) != (target.place, target.uid)
        former, seen.target = seen.target, target
        if moved:
            self._close_later(seen.dials)
            seen.dials = self._dial(target)
        if moved or former.mode is not target.mode:
            seen.sight.begin_anew(self._clock.now())
            seen.asked = True
            self._plan(key, seen, self._due.shortly(seen))
        elif (self._rota.due(key) or 0.0) > self._clock.monotonic() + target.interval:
            self._plan(key, seen, self._due.on_grid(key, seen))
        if seen.link is None:
            return
        if moved:
            seen.link.close(1000, "its address is another")
        elif target.mode is Mode.PULL and seen.moving is None:
            seen.moving = asyncio.ensure_future(self._move(seen, seen.link))
            self._own(seen.moving)

    async def _move(self, seen: Seen, link: DialledLink) -> None:
        try:
            self.visits += await let_go(seen, link, self._calling.visit, within=VISIT_TIME)
        finally:
            seen.moving = None

    def _drop(self, key: str, seen: Seen) -> None:
        """Forget an agent; what is under way comes to its end first, and a link is the agent's to end."""
        self._rota.drop(key)
        seen.dropped = True
        if seen.task is None:
            del self._seen[key]
            self._close_later(seen.dials)

    def _close_later(self, dials: Dials) -> None:
        task = asyncio.ensure_future(dials.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(note_failure)

    def _plan(self, key: str, seen: Seen, wait: float) -> None:
        if seen.task is not None:
            seen.soon = wait if seen.soon is None else min(wait, seen.soon)
            return
        self._rota.plan(key, self._clock.monotonic() + wait)
        seen.sight.next = self._clock.now() + wait
        self._woken.set()

    def _start(self, key: str, seen: Seen, *, slow: bool) -> None:
        target = self._targets.one(key)
        record = self._book.record(seen.target.uid)
        wait = 0.0 if seen.asked else self._due.after_dial(seen, record)
        linked = record is not None and record.link is not None
        seen.only_reads = target is not None and target.reads and (linked or wait > 0)
        if target is None or (wait > 0 and not seen.only_reads):
            self._rota.leave(slow=slow)
            changed = seen.asked and key in self._changed  # then it is visited as it is to be now
            self._plan(key, seen, wait or (0.0 if changed else seen.target.interval))
            return
        seen.asked = False
        seen.begin(self._clock.now())
        seen.task = asyncio.ensure_future(self._keep(key, seen, slow=slow))
        self._own(seen.task)

    # One agent.

    async def _keep(self, key: str, seen: Seen, *, slow: bool) -> None:
        """Visit once, or hold a link until it ends; then plan what comes next."""
        lane, wait = [slow], seen.target.interval

        def leave() -> None:
            if lane:
                self._rota.leave(slow=lane.pop())
                self._woken.set()
            if seen.wanted is not None:
                self.changed([key])

        try:
            try:
                await self._dial_once(seen, leave)
            except (PophamError, TimeoutError) as error:
                wait = self._failed(key, seen, error)
            except Exception:  # noqa: BLE001  # whatever it is, the others are visited, and the log says it
                _log.exception("%s could not be visited", seen.target.name)
                wait = self._failed(key, seen, VisitError("failed", "a fault of this Manager", "See its log"))
            else:
                wait = self._succeeded(key, seen)
            if not 0 < seen.again < len(AGAIN):
                await seen.dials.aclose()  # many may be applying; and its name is looked up anew
        finally:
            seen.task = seen.link = None
            leave()
            if seen.dropped:
                self._drop(key, seen)
            else:
                self._plan(key, seen, wait if seen.soon is None else min(wait, seen.soon))

    async def _dial_once(self, seen: Seen, leave: Callable[[], None]) -> None:
        async with asyncio.timeout(VISIT_TIME):
            if not seen.target.uid:
                await self._calling.find(seen, self._targets)
                return
            if seen.target.mode is Mode.PULL:
                await self._calling.visit(seen)
                return
            link = await self._calling.hold(seen, self._limits)
            if link is None:
                return
        seen.link = link
        leave()
        seen.note_well(self._clock.now())
        if self._calling.relays_with(seen):
            self._relaying.begin(seen)
        began = self._clock.monotonic()
        try:
            await link.run(self._service)
        except LinkError as error:
            if error.status != FAREWELL:
                raise
        finally:
            record = self._note_alive(seen)
            if self._clock.monotonic() - began > STEADY:
                seen.backoff = None
        state = record.state if record else None
        # Who is to dial ended it because that works.
        if not link.let_go and (state is None or state.dialer == Dialer.MANAGER):
            raise VisitError("closed", "the agent closed the link", "It is dialled again by itself")

    def _note_alive(self, seen: Seen) -> Record | None:
        record = self._book.record(seen.target.uid)
        if record is not None and record.last_contact is not None:
            seen.sight.last = max(seen.sight.last or 0.0, record.last_contact)
        return record

    def _succeeded(self, key: str, seen: Seen) -> float:
        """Take note of a visit, or of a link that was let go; return seconds to the next."""
        self.visits += 1
        seen.note_well(self._clock.now())
        record = self._book.record(seen.target.uid) if seen.target.uid else None
        state = record.state if record is not None else None
        if seen.target.mode is Mode.PUSH and seen.target.uid and seen.unheld is None:
            dials = state is not None and state.fallback == KEPT  # and holds a link of its own by now
            return self._due.on_grid(key, seen) if dials else self._due.shortly(seen)
        applying = state is not None and state.outcome is Outcome.APPLYING and not seen.only_reads
        if applying and seen.again < len(AGAIN):
            seen.asked = True
            seen.again += 1
            return AGAIN[seen.again - 1]
        seen.again = 0
        return self._due.on_grid(key, seen)

    def _failed(self, key: str, seen: Seen, error: PophamError | TimeoutError) -> float:
        """Take note of why it failed; return seconds to the next attempt."""
        self.failures += 1
        found = error if isinstance(error, PophamError) else seen.late(VISIT_TIME)
        if seen.note_failure(found, self._clock.now()):
            _log.info("%s was not visited: %s", seen.target.name, found)
        if not seen.only_reads:
            self._unreached(seen.target.uid, found)
        if seen.target.mode is Mode.PULL and seen.target.uid:
            return self._due.after_failure(key, seen)
        if seen.link is not None:
            seen.sight.failures = 0
        seen.asked = True
        return self._due.after_loss(seen, self._links)
