"""A Proxy Manager in virtual time: the real downlink beside a real agent's end; its door is the network in memory."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from popham.agent.apply import at_once
from popham.agent.extension import Parts
from popham.agent.records import Join
from popham.agent.visited import AgentWorld
from popham.downstream.enroll import ask, find_anchors
from popham.net.hot.admission import LinkRate
from popham.proxy.cache import ProxyCache
from popham.proxy.carrying import ProxyIntake
from popham.proxy.downlink import FOLDER, Downlink
from popham.proxy.settings import ProxySettings
from popham.proxy.spool.keeping import Keeping
from popham.proxy.spool.writing import Piece
from popham.statedir import StateDir
from popham.streams.worker import Worker
from popham.testing.agent import MANAGER, SimAgent
from popham.testing.dials import MemoryDials
from popham.testing.disk import LazyDisk
from popham.trust.join import EnrollmentKey, JoinString
from popham.trust.keys import IdentityKey
from popham.trust.tuf import TrustedTuf
from popham.upstream.lag import Lag
from popham.upstream.targets import Target

if TYPE_CHECKING:
    from popham.testing.simulation import Simulation

T = TypeVar("T")
PORT: Final = 4320
_SPOOL: Final = Path("/relay/streams")


class PromptWorker(Worker[Piece]):
    """A worker without a thread: what it is handed is done before the call returns."""

    _live = False

    def start(self) -> None:
        """Begin."""
        self._live = True

    @property
    def is_running(self) -> bool:
        """Return whether it has begun, and not ended."""
        return self._live

    def hand(self, items: list[Piece]) -> None:
        """Have these done. Raises StateError once it has ended."""
        super().hand(items)
        self._do()

    def ask(self, task: Callable[[], T]) -> Future[T]:
        """Have ``task`` done. Raises StateError once it has ended."""
        answer = super().ask(task)
        self._do()
        return answer

    def close(self) -> None:
        """End. It may be called again."""
        super().close()
        if self._live:
            self._live = False
            self.ended.set_result(None)

    def _do(self) -> None:
        while self._live and (self._queue or self._asked):
            self._step()


class SimDoor:
    """Where agents come in: a name in the network."""

    port = PORT

    def __init__(self, proxy: SimProxy, downlink: SimDownlink, rng: random.Random) -> None:
        self._proxy = proxy
        self._downlink = downlink
        clock = proxy.simulation.clock
        self.link_rate = LinkRate(0, clock=clock, rng=rng, lag=downlink.lag.worst)

    async def start(self, hosts: Sequence[str], port: int) -> None:
        """Let agents in."""
        del hosts, port
        self._proxy.simulation.network.services[self._proxy.name] = self._downlink.hub

    async def stop(self, *, retry_window: float) -> None:
        """Let nobody in any more; links break."""
        del retry_window
        self._proxy.simulation.network.stop(self._proxy.name)


class NoLag(Lag):
    """Virtual time never lags, so nobody looks ten times a second."""

    async def run(self) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()


class SimDownlink(Downlink):
    """A downlink whose disk, door and ways to agents are in memory."""

    def __init__(self, proxy: SimProxy, parts: Parts, rng: random.Random) -> None:
        self._proxy = proxy
        self.dial = self._dial_below
        super().__init__(ProxySettings(), parts, proxy.simulation.clock, rng)
        self.lag = NoLag(self._clock.monotonic)

    def _make_cache(self) -> ProxyCache:
        return ProxyCache(self._folder / "cache", offload=self._proxy.offload)

    def _make_listener(self, rng: random.Random) -> SimDoor:
        return SimDoor(self._proxy, self, rng)

    def _make_carrying(self, rng: random.Random) -> ProxyIntake:
        return ProxyIntake(
            _SPOOL,
            self._clock,
            ask=lambda kind, key, body: self.uplink.call(kind, key, body),  # noqa: PLW0108  # made later
            limits=self._settings.relay.bounds(),
            draw=rng.random,
            disk=self._proxy.disk,
            keeping=partial(Keeping, offload=at_once, worker=PromptWorker),
        )

    def _dial_below(self, target: Target) -> MemoryDials:
        simulation, host = self._proxy.simulation, target.place.host
        return MemoryDials(simulation.network, host, self._proxy.name, lambda: simulation.serves(host))


class SimProxy(SimAgent):
    """One Proxy Manager; what it keeps survives :meth:`crash`, unless its disk is lost.

    Attributes:
        downlink: What it is to agents below.
        disk: Has what it took of their streams.
    """

    def __init__(self, simulation: Simulation, name: str) -> None:
        super().__init__(simulation, name)
        self.simulation = simulation
        self.disk = LazyDisk()
        self.downlink: SimDownlink
        self._temporary = tempfile.TemporaryDirectory()
        self._directory = StateDir.open(Path(self._temporary.name) / "proxy", "proxy", create=True)
        self._dying = False
        self._begun = asyncio.Event()
        self._starts = 0

    async def enroll(self, join: JoinString) -> None:
        """Join by the wire, and be accepted."""
        key, uid = IdentityKey.create(), str(self.simulation.uuid())
        self.state.create_identity(uid, key)
        anchor = await find_anchors(join, MANAGER, lambda _url, _ca: self.dialer())
        asking = partial(
            ask,
            self.dialer(),
            anchor=anchor,
            key=key,
            uid=uid,
            token=EnrollmentKey.from_seed(join.seed),
            name=self.name,
            labels={},
            proxy=True,
        )
        await asking()
        await self.simulation.accept(self.name)
        enrolled = await asking()
        self.state.save_join(Join(urls=join.urls, ca=anchor.ca, ca_sha256=join.ca, root_sha256=join.root))
        self.state.save_documents(anchor.root, anchor.targets)
        self.state.save_certificate(enrolled.certificate)
        self.state.save_assignment(enrolled.assignment)

    def start(self) -> None:
        """Begin from what was kept."""
        self._dying, self._begun = False, asyncio.Event()
        super().start()
        self._beside.append(asyncio.ensure_future(self._run_downlink()))

    def _extend(self, tuf: TrustedTuf) -> None:
        self._starts += 1
        parts = Parts(
            state=self.state,
            directory=self._directory,
            tuf=tuf,
            end=self.end,
            driver=self.driver,
            ways=self.ways,
        )
        rng = random.Random(f"{self.simulation.seed} {self.name} {self._starts}")  # noqa: S311  # a simulation, not a secret
        self.downlink = SimDownlink(self, parts, rng)
        self.end.woken = self.downlink.driving.woken

    def _make_world(self, tuf: TrustedTuf) -> AgentWorld:
        return AgentWorld(self.state, tuf, self.driver, self.end, relay=self._relay)

    async def _run_downlink(self) -> None:
        await self.downlink.begin()
        self._begun.set()
        await self.downlink.run()

    async def _relay(self, body: bytes) -> bytes:
        await self._begun.wait()
        return await self.downlink.driving.relay(body)

    def _rounded(self) -> None:
        super()._rounded()
        self.downlink.driving.rounded()

    def _renewed(self) -> None:
        super()._renewed()
        self.downlink.shown.renewed()

    async def offload(self, function: Callable[[], T]) -> T:
        """Run what waits for the disk here and now; nothing of it happens once the process died."""
        if self._dying:
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        return function()

    async def crash(self) -> None:
        """Die without a word."""
        self._dying = True
        kept = self.disk.copy()
        await super().crash()
        self.simulation.network.stop(self.name)
        self.disk.restore(kept)

    def lose_disk(self) -> None:
        """Lose everything but what makes it the agent that it is; it must not run."""
        self.disk.restore({})
        shutil.rmtree(self._directory.root / FOLDER, ignore_errors=True)

    def close(self) -> None:
        """Let go of what it keeps."""
        self._directory.close()
        self._temporary.cleanup()
