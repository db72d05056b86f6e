"""A network in memory: delay, loss, duplicates, reordering, half-open links, partitions.

It fills both sides of the seam, so that hub and driver run as they do over
sockets.  What it cannot show is what bytes on a real wire can do; the tests of
``net`` are for that.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from popham.errors import LinkError, PophamError
from popham.net.seam import FULL, HeldLink, Limits, LinkHandler, Peer, Refusal, Refused, Request, Service


@dataclass(slots=True)
class Weather:
    """How the network treats messages.

    Attributes:
        delay: Seconds one way, at most; each message draws its own.
        loss: Probability that a message is lost.
        duplicate: Probability that a message of a held link arrives twice.
        reorder: Probability that a message of a held link changes places with the next.
    """

    delay: float = 0.02
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0


class Network:
    """Upstreams by name, and the ways to them.

    Attributes:
        services: Name → what answers there.
        cut: Names of whom nobody reaches, and who reaches nobody.
        apart: Pairs of names between which nothing passes.
    """

    def __init__(self, seed: int, limits: Limits | None = None) -> None:
        """Begin with fair weather; ``seed`` decides every draw."""
        self.random = random.Random(seed)  # noqa: S311  # a simulation, not a secret
        self.weather = Weather()
        self.limits = limits or Limits()
        self.services: dict[str, Service] = {}
        self.cut: set[str] = set()
        self.apart: set[frozenset[str]] = set()
        self.pipes: list[Pipe] = []

    def reachable(self, peer: str, upstream: str) -> bool:
        """Return whether bytes pass between the two, and somebody serves."""
        apart = frozenset((peer, upstream)) in self.apart
        return upstream in self.services and not apart and not {peer, upstream} & self.cut

    async def travel(self) -> None:
        """Wait as long as one message takes, or raise LinkError if it is lost."""
        await asyncio.sleep(self.weather.delay * self.random.random())
        if self.random.random() < self.weather.loss:
            await asyncio.sleep(10.0)
            raise LinkError("timeout", "no answer within 10 s")

    def pipe(self, name: str, upstream: str, peer: Peer) -> Pipe:
        """Return a held link between agent ``name`` and ``upstream``, taken by its service.

        Raises:
            LinkError: It refuses.
        """
        service = self.services[upstream]
        refusal = service.admit(peer, held=True, uid=b"")
        if refusal is not None:
            raise _denied(refusal)
        pipe = Pipe(self, name, upstream, peer)
        self.pipes.append(pipe)
        pipe.handler = service.opened(pipe.upper)
        return pipe

    def reverse(
        self, name: str, upstream: str, peer: Peer, opened: Callable[[HeldLink], LinkHandler]
    ) -> Pipe:
        """Return a held link that ``upstream`` opened into the service of agent ``name``, taken by that."""
        pipe = Pipe(self, name, upstream, peer)
        pipe.reversed = True
        self.pipes.append(pipe)
        pipe.handler = opened(pipe.upper)
        return pipe

    def half_open(self, name: str) -> None:
        """Let an agent's held links swallow everything; keepalive finds out after two silent ones."""
        for pipe in self.pipes:
            if pipe.name == name:
                pipe.swallow()

    def stop(self, upstream: str) -> None:
        """Let an upstream die: nobody serves, and its links break."""
        self.services.pop(upstream, None)
        for pipe in list(self.pipes):
            if pipe.upstream == upstream:
                pipe.end(1006)


class Pipe:
    """Both directions of one held link."""

    def __init__(self, network: Network, name: str, upstream: str, peer: Peer) -> None:
        self.network = network
        self.name = name
        self.upstream = upstream
        self.handler: LinkHandler | None = None
        self.upper: HeldLink = _Upper(self, peer)
        self.lower = Lower(self)
        self.code = 0
        self.reversed = False
        self.swallowing = False
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._down = _Lane(network, self.lower.arrived)
        self._up = _Lane(network, self._arrived)

    def down(self, data: bytes) -> bool:
        """Carry a message to the end that dialled; False if it reads too slowly."""
        if self.code:
            return False
        if self.lower.waiting + len(data) > self.network.limits.queue:
            self.end(1013)
            return False
        if not self._lost():
            self._down.put(data)
        return True

    def stall(self) -> None:
        """Have the agent read nothing any more."""
        if self.reversed:
            self.flowing.clear()
        else:
            self.lower.stalled = True

    def up(self, data: bytes) -> None:
        """Carry a message to the end that serves."""
        if not self._lost():
            self._up.put(data)

    def swallow(self) -> None:
        """Become half-open."""
        self.swallowing = True
        limit = 2 * self.network.limits.keepalive
        self._timer = asyncio.get_running_loop().call_later(limit, self.end, 1006)

    def end(self, code: int) -> None:
        """End the link on both sides."""
        if self.code:
            return
        self.code = code
        if self._timer is not None:
            self._timer.cancel()
        self.flowing.set()
        if self in self.network.pipes:
            self.network.pipes.remove(self)
        self.lower.ended()
        if self.handler is not None:
            self.handler.closed(code)

    def _lost(self) -> bool:
        unreachable = not self.network.reachable(self.name, self.upstream)
        if unreachable and not self.swallowing:
            self.swallow()
        return self.swallowing or self.network.random.random() < self.network.weather.loss

    def _arrived(self, data: bytes) -> None:
        if self.code or self.handler is None or self.swallowing:
            return
        try:
            answer = self.handler.message(data)
        except PophamError:
            self.end(1008)
            return
        if isinstance(answer, bytes):
            self.down(answer)
        elif answer is not None:
            task = asyncio.ensure_future(self._answer_later(answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer_later(self, answer: object) -> None:
        data = await answer  # type: ignore[misc]  # an awaitable, by the seam
        if data:
            self.down(data)


class _Lane:
    """One direction: keeps order but for what the weather does."""

    def __init__(self, network: Network, arrive: Callable[[bytes], None]) -> None:
        self._network = network
        self._arrive = arrive
        self._last = 0.0

    def put(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        weather, draw = self._network.weather, self._network.random.random
        when = loop.time() + weather.delay * draw()
        if draw() >= weather.reorder:
            when = max(when, self._last)
        self._last = max(when, self._last)
        loop.call_at(when, self._arrive, data)
        if draw() < weather.duplicate:
            loop.call_at(when + weather.delay * draw(), self._arrive, data)


class _Upper:
    """The serving end's view of a pipe."""

    def __init__(self, pipe: Pipe, peer: Peer) -> None:
        self._pipe = pipe
        self.peer = peer

    def send(self, data: bytes) -> bool:
        return self._pipe.down(data)

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002  # the seam's form
        asyncio.get_running_loop().call_soon(self._pipe.end, code)


class Lower:
    """The dialling end's view of a pipe; a :class:`~popham.net.seam.HeldConnection`."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._queue: deque[bytes] = deque()
        self._something = asyncio.Event()
        self.waiting = 0
        self.stalled = False

    def arrived(self, data: bytes) -> None:
        """Take one message from the wire."""
        if not self._pipe.code and not self._pipe.swallowing:
            self._queue.append(data)
            self.waiting += len(data)
            self._something.set()

    def ended(self) -> None:
        """Take note that the link is over."""
        self._something.set()

    async def send(self, data: bytes) -> None:
        """Send one message. Raises LinkError when the link is gone."""
        await self._pipe.flowing.wait()
        if self._pipe.code:
            raise LinkError("closed", "the link is closed", status=self._pipe.code)
        self._pipe.up(data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield messages until the link ends."""
        while True:
            while self._queue and not self.stalled:
                data = self._queue.popleft()
                self.waiting -= len(data)
                yield data
            if self._pipe.code:
                raise LinkError("closed", f"the link ended with {self._pipe.code}", status=self._pipe.code)
            self._something.clear()
            await self._something.wait()

    async def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002  # the seam's form
        """Close the link."""
        self._pipe.end(code)


class MemoryDialer:
    """An agent's way to one upstream; a :class:`~popham.net.seam.Dialer`."""

    def __init__(
        self,
        network: Network,
        name: str,
        upstream: str,
        certificate: bytes,
        count: Callable[[], None] = lambda: None,
    ) -> None:
        """Dial ``upstream`` as agent ``name``, showing ``certificate``, as over one connection kept alive.

        ``count`` is called for each request that leaves.
        """
        self._count = count
        self._network = network
        self._name = name
        self._upstream = upstream
        self._peer = Peer(address=name, certificate=certificate or None)

    async def _reach(self) -> Service:
        self._count()
        await self._network.travel()
        if not self._network.reachable(self._name, self._upstream):
            raise LinkError("unreachable", f"{self._upstream} does not answer")
        return self._network.services[self._upstream]

    async def exchange(self, body: bytes) -> bytes:
        """Carry one message there and the answer back."""
        service, peer = await self._reach(), self._peer
        refusal = service.admit(peer, held=False, uid=b"")
        if refusal is not None:
            raise _denied(refusal)
        try:
            answer = service.round(peer, body)
            data = answer if isinstance(answer, bytes) else await answer
        except Refused as error:
            raise _denied(error.refusal) from error
        await self._network.travel()
        return data

    async def hold(self) -> Lower:
        """Open a held link."""
        await self._reach()
        return self._network.pipe(self._name, self._upstream, self._peer).lower

    async def fetch(self, path: str, *, limit: int) -> bytes:
        """Fetch another path, at most ``limit`` bytes."""
        return await self._other("GET", path, b"", limit)

    async def upload(self, path: str, body: bytes, *, limit: int = 0) -> bytes:
        """Carry a body to another path, and its answer back, at most ``limit`` bytes."""
        return await self._other("POST", path, body, limit)

    async def _other(self, method: str, target: str, body: bytes, limit: int) -> bytes:
        service = await self._reach()
        refusal = service.admit(self._peer, held=False, uid=b"")
        if refusal is not None:
            raise _denied(refusal)
        try:
            response = await service.other(request_for(method, target, self._peer, body))
        except Refused as error:
            raise _denied(error.refusal) from error
        await self._network.travel()
        if response.status not in {200, 204} or len(response.body) > limit:
            raise LinkError("status", f"{target} was answered {response.status}", status=response.status)
        return response.body

    async def aclose(self) -> None:
        """Nothing is kept open."""


def request_for(method: str, target: str, peer: Peer, body: bytes = b"") -> Request:
    """Return a request for another path, and the query behind it."""
    path, _, query = target.partition("?")
    return Request(
        method=method, path=path, peer=peer, query=dict(parse_qsl(query)), raw_query=query, body=body
    )


def _denied(refusal: Refusal) -> LinkError:
    wait, status = refusal.retry_after, refusal.status
    if FULL in refusal.body:
        return LinkError("full", refusal.body, retry_after=wait, status=status)
    return LinkError("denied", refusal.body, retry_after=wait, status=status)
