"""An agent in virtual time: the real end and driver, a disk in memory, and an applier that notes."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from popham import __version__
from popham.agent.apply import Applied, at_once
from popham.agent.circumstances import Circumstances
from popham.agent.commands import Ended, Kept
from popham.agent.credentials import Credentials
from popham.agent.end import AgentEnd
from popham.agent.enforcer import Enforcer
from popham.agent.health import Health
from popham.agent.location import Locator
from popham.agent.operations.kinds import Means
from popham.agent.operations.runner import Operations
from popham.agent.probation import Trials
from popham.agent.schedule import Schedule
from popham.agent.settings import COMMAND_TIMEOUT, OperationsSettings
from popham.agent.state import MemoryAgentState
from popham.agent.streams.sending import Sending
from popham.agent.streams.spools import Spools
from popham.agent.visited import AgentWorld
from popham.agent.ways import UpstreamWays
from popham.downstream.enroll import ask, find_anchors
from popham.downstream.service import VisitService
from popham.errors import PolicyError
from popham.link.cadence import phase_of
from popham.link.driver import Driver
from popham.net.route import OUTPUTS
from popham.streams.frame import BOOT
from popham.testing.host import SimHost
from popham.testing.network import MemoryDialer
from popham.trust.identity import load_certificate
from popham.trust.join import EnrollmentKey, JoinString
from popham.trust.keys import IdentityKey
from popham.trust.tuf import TrustedTuf

if TYPE_CHECKING:
    from popham.testing.simulation import Simulation

MANAGER = "manager"
URL = f"https://{MANAGER}:4320"
SERVICE = "https://*:23440"


class SimApplier:
    """Applies nothing, and remembers what it was asked to.

    Attributes:
        applied: Policy names of each set applied, the newest last.
        checked: The same of each candidate that was checked.
        broken: Sentence with which every set fails; empty to succeed.
    """

    supported = frozenset({"files"})

    def __init__(self) -> None:
        self.applied: list[tuple[str, ...]] = []
        self.checked: list[tuple[str, ...]] = []
        self.broken = ""

    async def apply(self, policies: Sequence[Applied]) -> None:
        """Take note of a set."""
        self._refuse()
        self.applied.append(_names(policies))

    async def check(self, policies: Sequence[Applied]) -> None:
        """Take note of a candidate."""
        self._refuse()
        self.checked.append(_names(policies))

    def _refuse(self) -> None:
        if self.broken:
            raise PolicyError("validate", self.broken)


def _names(policies: Sequence[Applied]) -> tuple[str, ...]:
    return tuple(f"{policy.ref.name}@{policy.ref.revision}" for policy in policies)


class SimAgent:
    """One agent; what it keeps survives :meth:`crash`.

    Attributes:
        window: Seconds for which a set is watched, from the next :meth:`start` on; 0 for never.
        serving: Whether its service is on; see :meth:`serve`.
        said_of_service: Where it says that its service is; ``unix`` for behind a web server that nobody knows.
        service: What answers visits; None while it is off, or the agent is.
        permits: What may be ordered of it once, from the next :meth:`start` on.
        programs: Name of a command that may be run → what it does; one that is not here prints its name.
        restarts: How often it began anew because that was ordered.
        urls: Where its join string led, from the next :meth:`start` on.
        dials: How many connections it opened since it was started, or requests it made over one.
        spools, sending: What is in its streams, and what sends it; only where there are some.
    """

    def __init__(self, simulation: Simulation, name: str) -> None:
        self._simulation = simulation
        self.name = name
        self.state = MemoryAgentState()
        self.applier = SimApplier()
        self.host = SimHost()
        self.said: list[str] = []
        self.window = 0.0
        self.stopped = True
        self.end: AgentEnd
        self.driver: Driver
        self.locator: Locator
        self.health: Health
        self.ways: UpstreamWays
        self.credentials: Credentials
        self.operations: Operations
        self.permits = OperationsSettings()
        self.programs: dict[str, Callable[[Kept], Awaitable[Ended]]] = {}
        self.restarts = 0
        self.dials = 0
        self.spools: Spools
        self.sending: Sending
        self.schedule: Schedule | None = None
        self.serving = True
        self.said_of_service = SERVICE
        self.service: VisitService | None = None
        self._task: asyncio.Task[None] | None = None
        self._beside: list[asyncio.Task[None]] = []
        self._closing: list[asyncio.Task[None]] = []
        self.urls: tuple[str, ...] = (URL,)
        self._anew: asyncio.Task[None] | None = None
        self._dialers: dict[str, tuple[bytes, MemoryDialer]] = {}

    async def enroll(self, join: JoinString) -> None:
        """Join by the wire, as a real agent does."""
        key, uid = IdentityKey.create(), str(self._simulation.uuid())
        self.state.create_identity(uid, key)
        self.urls = join.urls
        dialer = self.dialer(urlsplit(join.urls[0]).hostname or "")
        anchor = await find_anchors(join, MANAGER, lambda _url, _ca: dialer)
        asking = partial(
            ask,
            dialer,
            anchor=anchor,
            key=key,
            uid=uid,
            token=EnrollmentKey.from_seed(join.seed),
            name=self.name,
            labels={},
        )
        enrolled = await asking()
        while not enrolled.certificate:
            await asyncio.sleep(enrolled.retry_after)
            enrolled = await asking()
        self.state.save_documents(anchor.root, anchor.targets)
        self.state.save_certificate(enrolled.certificate)
        self.state.save_assignment(enrolled.assignment)

    def start(self) -> None:
        """Begin from what was kept."""
        documents = self.state.documents()
        if documents is None:
            raise LookupError(f"{self.name} is not enrolled")
        clock, news = self._simulation.clock, asyncio.Event()
        draw = random.Random(self.name).random  # noqa: S311  # a simulation, not a secret
        tuf = TrustedTuf.from_bytes(documents.root, documents.targets)
        trials = Trials(self.state, clock, self.window)
        enforcer = Enforcer(self.state, self.applier, tuf, clock, news.set, trials)
        uid = uuid.UUID(self.state.uid).bytes
        schedule = self.schedule = Schedule(clock, phase=phase_of(uid), changed=news.set, zone=UTC)
        self.locator = self._locate(enforcer, news)
        credentials = self.credentials = Credentials(self.state, clock, draw, self._renewed)
        self.operations = Operations(self.state, tuf, clock, enforcer, settings=self.permits, news=news.set)
        self.end = AgentEnd(
            self.state,
            enforcer,
            credentials,
            facts={"host.name": self.name},
            fetch=self._fetch,
            version=__version__,
            news=news,
            hold_now=schedule.at,
            draw=draw,
            operations=self.operations,
        )
        end = self.end
        self.ways = UpstreamWays(
            lambda url: self.dialer(urlsplit(url).hostname or ""),
            uid=uid,
            join=self.urls,
            ordered=lambda: end.ordered,
            draw=draw,
            dialled=end.dialled,
        )
        self.health = Health(enforcer, reach=self.ways.reach, check=self._check, draw=draw)
        self.driver = Driver(end, self.ways, draw=draw, said=self._say, rounded=self._rounded)
        end.fetch.dials = lambda: self.driver.dials
        circumstances = Circumstances(self.host, schedule, clock, metered=None, happened=self.driver.hurry)
        self.operations.attend(self._make_means(credentials))
        if self._simulation.streams_in is not None:
            self._begin_streams(self._simulation.streams_in / self.name, uid)
        self.stopped = False
        self.dials = 0
        self._extend(tuf)
        self.serve(on=self.serving)
        self._beside = [
            asyncio.ensure_future(one)
            for one in (self.locator.run(), circumstances.run(), self.health.run(), self.operations.run())
        ]
        if self._simulation.streams_in is not None:
            self._beside.append(asyncio.ensure_future(self.sending.run()))
        self._task = asyncio.ensure_future(self.driver.run())

    def _locate(self, enforcer: Enforcer, news: asyncio.Event) -> Locator:
        return Locator(
            enforcer,
            self.host,
            lambda: self.end.settle(),  # noqa: PLW0108  # there is none yet
            news.set,
            # What is around it is made up, so there is nothing to be spied out.
            allows=lambda _: True,
        )

    def _begin_streams(self, folder: Path, uid: bytes) -> None:
        clock, boot = self._simulation.clock, self._simulation.uuid().bytes[:BOOT]
        self.spools = Spools(folder, uid, clock, boot=boot, offload=at_once)
        self.sending = self.end.streams = Sending(
            self.spools,
            self.end,
            self.driver,
            self.ways,
            key=self.state.identity_key,
            clock=clock,
            draw=random.Random(self.name).random,  # noqa: S311  # a simulation, not a secret
        )

    def _make_means(self, credentials: Credentials) -> Means:
        async def collect() -> None:
            await self.locator.look_now()
            self.end.release()

        async def diagnose() -> bytes:
            return f"diagnosis of {self.name}".encode()

        async def run(name: str, kept: Kept) -> Ended:
            if name in self.programs:
                return await self.programs[name](kept)
            kept.data_received(name.encode())
            return Ended(0, name)

        async def upload(sha256: str, body: bytes) -> None:
            await self.ways.dial().upload(f"{OUTPUTS}{sha256}", body)

        def restart() -> None:
            self._anew = asyncio.ensure_future(self._begin_anew())

        return Means(
            check_in=self.end.check_in,
            collect=collect,
            restart=restart,
            diagnose=diagnose,
            rotate=credentials.rotate,
            keyid=lambda: self.state.identity_key().keyid,
            run=run,
            seconds=COMMAND_TIMEOUT,
            upload=upload,
            dials=lambda: self.driver.dials,
            paused=lambda: None,
        )

    async def _begin_anew(self) -> None:
        await self.stop()
        self.restarts += 1
        self.start()

    async def _check(self, name: str, secrets: Sequence[str]) -> None:
        """Find every check command well."""

    def _renewed(self) -> None:
        self.ways.renewed()

    def _rounded(self) -> None:
        self.end.release()

    async def _fetch(self, sha256: str, limit: int) -> bytes:
        return await self.ways.dial().fetch(f"/v1/content/sha256/{sha256}", limit=limit)

    def _say(self, text: str, wait: float | None) -> None:
        self.said.append(text)
        if text and wait is not None:
            self.health.lost()
        if wait is not None or not text:
            self.locator.heard(reachable=not text)

    def serve(self, *, on: bool) -> None:
        """Start or stop the service, as the machine's people do; held links of it end."""
        self.serving = on
        if on and self.service is None:
            documents = self.state.documents()
            tuf = TrustedTuf.from_bytes(documents.root, documents.targets) if documents else None
            if tuf is None:
                raise LookupError(f"{self.name} is not enrolled")
            world = self._make_world(tuf)
            draw = random.Random(f"{self.name} {self.dials} {self._simulation.clock.elapsed}")  # noqa: S311  # a simulation, not a secret
            self.service = VisitService(
                world, clock=self._simulation.clock, nonce=lambda: f"{draw.getrandbits(128):032x}"
            )
        elif not on:
            self._end_service()
        self.end.serves(self.said_of_service if on else "")

    def _extend(self, tuf: TrustedTuf) -> None:
        """Make what is beside the agent: nothing."""

    def _make_world(self, tuf: TrustedTuf) -> AgentWorld:
        return AgentWorld(self.state, tuf, self.driver, self.end)

    def _end_service(self) -> None:
        service, self.service = self.service, None
        for pipe in [pipe for pipe in self._simulation.network.pipes if pipe.name == self.name]:
            if pipe.reversed:
                pipe.end(1006)
        if service is not None:
            self._closing = [one for one in self._closing if not one.done()]
            self._closing.append(asyncio.ensure_future(service.aclose()))

    async def stop(self) -> None:
        """Say goodbye and end."""
        self.stopped = True
        self.driver.stop()
        if self._task is not None:
            await self._task
        self._end_service()
        await self._end_beside()

    async def crash(self) -> None:
        """Die without a word."""
        self.stopped = True
        if self._anew is not None:
            self._anew.cancel()
            await asyncio.gather(self._anew, return_exceptions=True)
        self._end_service()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._end_beside()
        for pipe in [pipe for pipe in self._simulation.network.pipes if pipe.name == self.name]:
            pipe.end(1006)

    async def _end_beside(self) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, *self._closing, return_exceptions=True)
        self._beside, self._closing = [], []
        if self._simulation.streams_in is not None:
            await self.spools.close()
        if self.schedule is not None:
            self.schedule.close()

    def dialer(self, upstream: str = MANAGER) -> MemoryDialer:
        """Return the way to an upstream, showing the certificate there is."""
        pem = self.state.certificate() or b""
        known = self._dialers.get(upstream)
        if known is None or known[0] != pem:
            dialer = MemoryDialer(
                self._simulation.network, self.name, upstream, self._certificate(), self._count
            )
            known = self._dialers[upstream] = pem, dialer
        return known[1]

    def _count(self) -> None:
        self.dials += 1

    def _certificate(self) -> bytes:
        pem = self.state.certificate()
        return load_certificate(pem).public_bytes(Encoding.DER) if pem else b""

    @property
    def applied(self) -> tuple[str, ...]:
        """The policies that are in force, as name@revision; empty before the first set."""
        return self.applier.applied[-1] if self.applier.applied else ()
