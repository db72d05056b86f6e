"""The agent's process: enrolls if it still has to, then keeps in touch until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from popham import __version__
from popham.agent.apply import Applier
from popham.agent.birth import waits_for_birth
from popham.agent.circumstances import Circumstances
from popham.agent.collect.collection import Collection, Premises, begin_collection
from popham.agent.contact import ContactNote
from popham.agent.credentials import Credentials
from popham.agent.drift import DriftWatch
from popham.agent.end import AgentEnd
from popham.agent.enforcer import Enforcer
from popham.agent.extension import Extend, Extension, Parts, extend_nothing
from popham.agent.facts import find_facts
from popham.agent.health import Health
from popham.agent.joining import Joining
from popham.agent.local import LocalDoor
from popham.agent.location import Locator
from popham.agent.operations.runner import Operations
from popham.agent.operations.work import Work
from popham.agent.probation import Trials
from popham.agent.schedule import Schedule
from popham.agent.serving import Serving
from popham.agent.settings import AgentSettings
from popham.agent.sight import Sight
from popham.agent.state import AgentState
from popham.agent.status import Status
from popham.agent.streams.making import make_streams
from popham.agent.surroundings import Machine
from popham.agent.transports import Transports
from popham.agent.visited import AgentWorld
from popham.agent.ways import UpstreamWays
from popham.clock import Clock
from popham.errors import StateError
from popham.link.cadence import phase_of
from popham.link.driver import Driver
from popham.posix import time_asleep
from popham.statedir import StateDir
from popham.trust.tuf import TrustedTuf

_log = logging.getLogger(__name__)
_GOODBYE = 5.0
"""Seconds to say goodbye and end."""


@asynccontextmanager
async def open_agent(
    settings: AgentSettings, source: Path, clock: Clock, rng: random.Random
) -> AsyncIterator[Agent]:
    """Open an agent's state directory, and close it at the end.

    Raises:
        StateError: It cannot be used, or another process uses it.
    """
    with StateDir.open(Path(settings.state), settings.kind, create=False) as state:
        yield Agent(settings, source, state, clock, rng)


class Agent:
    """One machine's agent, enrolled or not yet.

    Attributes:
        journal: Returns the newest lines of this process's log.
        extend: Says what runs beside it.
    """

    def __init__(
        self, settings: AgentSettings, source: Path, state_dir: StateDir, clock: Clock, rng: random.Random
    ) -> None:
        """Read what is kept; :meth:`run` begins.

        Args:
            settings: What this machine permits.
            source: The file they came from, for hints.
            state_dir: The locked state directory.
            clock: Wall time.
            rng: Draws jitter.
        """
        self._settings = settings
        self._source = source
        self._dir = state_dir
        self._clock = clock
        self._rng = rng
        self.state = AgentState(state_dir)
        self.status = Status(self.state, clock, ContactNote(state_dir, self.state.room, clock))
        self._ways: UpstreamWays | None = None
        self._locator: Locator | None = None
        self._health: Health | None = None
        self._serving = Serving(settings, source, self.state, state_dir.root, clock=clock, rng=rng)
        self._extension = Extension()
        self._end: AgentEnd | None = None
        self._again = asyncio.Event()
        self.journal: Callable[[], Sequence[str]] = list
        self.extend: Extend = extend_nothing

    async def run(self, ready: asyncio.Event, stopping: asyncio.Event) -> bool:
        """Keep this machine on its orders until ``stopping`` is set.

        Returns:
            Whether the program is to begin anew, because that was ordered.

        Raises:
            StateError: It never began to enroll, or what it keeps is damaged.
        """
        self._join_urls()
        door = LocalDoor(self._settings.socket_path, self.status)
        await door.open()
        ready.set()
        try:
            if waits_for_birth(self.state):
                joined = await self._serving.be_born(door, self.status, stopping)
            else:
                joining = Joining(self.state, self._clock, self._settings, self.status.say)
                joined = self.state.certificate() is not None or await joining.wait(door.news, stopping)
            if joined:
                await self._serve(door, stopping)
        finally:
            await door.close()
            await self._serving.aclose()
            if self._ways is not None:
                await self._ways.aclose()
            self.status.end()
        return self._again.is_set()

    def _join_urls(self) -> tuple[str, ...]:
        join = self.state.join()
        if join is None:
            raise StateError(
                "not_enrolled", "this machine has not joined a fleet", "Run 'popham agent enroll JOIN' first"
            )
        return tuple(join.urls)

    async def _serve(self, door: LocalDoor, stopping: asyncio.Event) -> None:
        tuf = self._read_trust()
        applier = Applier(self._settings, self._dir.path("applier"), source=self._source, facts=find_facts)
        self.state.room.make_room(first=True)
        trials = Trials(self.state, self._clock, self._settings.health.window)
        enforcer, drift = await self._begin_enforcing(applier, tuf, trials, door.news.set)
        credentials = Credentials(self.state, self._clock, self._rng.random, self._renewed)
        uid = uuid.UUID(self.state.uid).bytes
        schedule = Schedule(self._clock, phase=phase_of(uid), changed=door.news.set)
        operations = self._make_operations(tuf, enforcer, door.news.set)
        end = self._end = self._serving.end = self._make_end(
            enforcer, credentials, schedule, operations, door.news
        )
        ways = self._ways = self._make_ways(end, uid)
        health = self._health = self._make_health(enforcer, applier, ways)
        door.check_in = end.check_in
        driver = Driver(end, ways, draw=self._rng.random, said=self._said, rounded=self._rounded)
        end.fetch.dials = lambda: driver.dials
        spools, sending = make_streams(
            self._dir, self.state, self._clock, self._rng.random, end, driver, ways
        )
        premises = Premises(self._settings, self._source, self.state, applier, self._clock)
        collection = await begin_collection(premises, enforcer.find_held(), spools, sending, operations)
        machine, locator = self._look_around(enforcer, end, door.news.set)
        circumstances = self._make_circumstances(machine, schedule, driver, health)
        parts = Parts(
            state=self.state,
            directory=self._dir,
            tuf=tuf,
            end=end,
            driver=driver,
            ways=ways,
            renew=credentials.hasten,
        )
        service = self._serving.begin(await self._make_world(parts))
        door.service = service.do
        self.status.attend(
            end,
            driver,
            ways=ways,
            schedule=schedule,
            locator=locator,
            left=applier.left,
            lacking=lambda: [ref.name for ref in enforcer.lacking],
            service=service.describe,
            streams=sending.describe,
        )
        work = self._make_work(parts, enforcer, applier, drift, locator, collection)
        operations.attend(work.means(rotate=credentials.rotate, restart=self._again.set))
        beside = (locator, circumstances, drift, health, operations, sending, collection)
        try:
            await self._drive(
                driver,
                [*(one.run() for one in beside), *(begin() for begin in self._extension.work)],
                stopping,
            )
            trials.end_process()
        finally:
            schedule.close()
            await spools.close()

    async def _make_world(self, parts: Parts) -> AgentWorld:
        extension = self._extension = await self.extend(parts)
        self.status.more = extension.describe
        return AgentWorld(parts.state, parts.tuf, parts.driver, parts.end, relay=extension.relay)

    def _make_work(
        self,
        parts: Parts,
        enforcer: Enforcer,
        applier: Applier,
        drift: DriftWatch,
        locator: Locator,
        collection: Collection,
    ) -> Work:
        return Work(
            self._settings,
            self._source,
            self.state,
            self._clock,
            end=parts.end,
            enforcer=enforcer,
            applier=applier,
            drift=drift,
            locator=locator,
            ways=parts.ways,
            facts=find_facts,
            status=self.status.describe,
            journal=lambda: self.journal(),  # noqa: PLW0108  # it may be set later
            collection=collection,
        )

    async def _begin_enforcing(
        self, applier: Applier, tuf: TrustedTuf, trials: Trials, news: Callable[[], None]
    ) -> tuple[Enforcer, DriftWatch]:
        enforcer = Enforcer(self.state, applier, tuf, self._clock, news, trials)
        await enforcer.begin_process()
        drift = DriftWatch(enforcer, applier, self._clock)
        applier.placed = drift.wake
        await drift.begin()
        return enforcer, drift

    def _read_trust(self) -> TrustedTuf:
        documents = self.state.documents()
        if documents is None:
            raise StateError("not_enrolled", "this machine has no trust documents", "Enroll it again")
        return TrustedTuf.from_bytes(documents.root, documents.targets)

    def _make_operations(self, tuf: TrustedTuf, enforcer: Enforcer, news: Callable[[], None]) -> Operations:
        permits = self._settings.operations
        return Operations(self.state, tuf, self._clock, enforcer, settings=permits, news=news)

    def _make_end(
        self,
        enforcer: Enforcer,
        credentials: Credentials,
        schedule: Schedule,
        operations: Operations,
        news: asyncio.Event,
    ) -> AgentEnd:
        return AgentEnd(
            self.state,
            enforcer,
            credentials,
            facts=find_facts(),
            fetch=self._fetch,
            version=__version__,
            news=news,
            hold_now=schedule.at,
            draw=self._rng.random,
            operations=operations,
        )

    def _make_health(self, enforcer: Enforcer, applier: Applier, ways: UpstreamWays) -> Health:
        return Health(
            enforcer,
            reach=ways.reach,
            check=applier.programs.look,
            draw=self._rng.random,
            asleep=time_asleep,
        )

    async def _drive(
        self, driver: Driver, beside: Sequence[Coroutine[Any, Any, None]], stopping: asyncio.Event
    ) -> None:
        """Run the driver, and beside it what never ends by itself, until ``stopping`` is set, or a restart is ordered."""
        driving = asyncio.ensure_future(driver.run())
        others: list[asyncio.Future[Any]] = [asyncio.ensure_future(one) for one in beside]
        others += self._serving.tasks
        stop: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
        again: asyncio.Future[Any] = asyncio.ensure_future(self._again.wait())
        ends: set[asyncio.Future[Any]] = {driving, *others, stop, again}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for other in others:
                if other.done():
                    await other
            driver.stop()
            async with asyncio.timeout(_GOODBYE):
                await driving
        except TimeoutError:
            _log.warning("ended without goodbye")
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    # Ways to the upstream.

    def _make_ways(self, end: AgentEnd, uid: bytes) -> UpstreamWays:
        return UpstreamWays(
            Transports(self.state, self._dir, self._clock, http_proxy=self._settings.http_proxy).make,
            uid=uid,
            join=self._join_urls(),
            ordered=lambda: end.ordered,
            draw=self._rng.random,
            dialled=end.dialled,
            now=self._clock.now,
            location=lambda: end.standing.location,
        )

    def _look_around(
        self, enforcer: Enforcer, end: AgentEnd, news: Callable[[], None]
    ) -> tuple[Machine, Locator]:
        sight = Sight(self._settings.location)
        machine = Machine(sight.choose(os.environ))
        locator = self._locator = Locator(enforcer, machine, end.settle, news, allows=sight.allows)
        return machine, locator

    def _make_circumstances(
        self, machine: Machine, schedule: Schedule, driver: Driver, health: Health
    ) -> Circumstances:
        def happened(*, network: bool, since: float) -> None:
            if network:
                health.network_changed(connected=circumstances.connected)
            driver.hurry(network=network, since=since)

        circumstances = Circumstances(
            machine,
            schedule,
            self._clock,
            metered=None if self._settings.metered == "auto" else self._settings.metered,
            happened=happened,
            asleep=time_asleep,
        )
        return circumstances

    def _renewed(self) -> None:
        """Show the new certificate from the next connection on; a held link stays."""
        _log.info("the certificate was renewed")
        if self._ways is not None:
            self._ways.renewed()
        self._serving.renewed()
        self._extension.renewed()

    def _rounded(self) -> None:
        if self._end is not None:
            self._end.release()
        self._extension.rounded()

    def _said(self, text: str, wait: float | None) -> None:
        """Note what the driver says."""
        if self._health is not None and text and wait is not None:
            self._health.lost()
        if self._locator is not None and (wait is not None or not text):
            self._locator.heard(reachable=not text)
        self.status.say(text, wait)

    async def _fetch(self, sha256: str, limit: int) -> bytes:
        if self._ways is None:
            raise StateError("not_enrolled", "this machine has no upstream yet")
        brought = self.state.blob(sha256)
        if brought is not None and len(brought) <= limit:
            return brought  # a visitor brought it before the bundle that names it
        return await self._ways.dial().fetch(f"/v1/content/sha256/{sha256}", limit=limit)
