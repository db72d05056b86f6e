"""Many lean agents in one process: opens their links, keeps their heartbeat, comes back after a loss.

Rules:

1. Only so many connections are being opened at a time, whatever is asked for.
2. No task per agent: a fixed number of openers, and one timer for each that waits.
3. After a loss the first retry is drawn from the window that was named, then full jitter.
4. When a message came is noted before anything is made of it.  It is read, obeyed and answered once
   nothing more is there to be received; where many agents are told at once, once none was for
   :data:`QUIET` seconds.  Real agents have a machine each and do not take the processor from one
   another, nor from their upstream; here they would, and the time at which the last is told would be
   the time these need to obey.  What agents do is the same, and all of it is in the time until
   outcomes are durable.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from popham.testing.load.agents import HeldAgent, RoundAgent
from popham.testing.load.histogram import Histogram
from popham.testing.load.identity import LoadIdentity, make_context
from popham.testing.load.messages import Speech

UNREAD = 40_000
"""Messages that may wait to be read."""
READ = 16
"""Messages that are read between two looks for others: a millisecond or so."""
QUIET = 0.02
"""Seconds without a message after which reading begins, if more than :data:`READ` came at once: what an agent
on a machine of its own needs at least to write a file and have it on disk."""
OPENERS = 64
"""Connections being opened at a time."""
ADDRESSES = 250
"""Source addresses, used in turn: the kernel has some 28,000 ports for each, and keeps them for a minute."""
PATIENCE = 20.0
"""Seconds that rounds may take longer than they were meant to."""
_BIND_ADDRESS_NO_PORT = 24
"""The kernel chooses the port when it connects. Source: ip(7), IP_BIND_ADDRESS_NO_PORT."""
RETRY_MAX = 30.0
"""Seconds of the longest wait between two attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where agents dial.

    Attributes:
        host: A loopback address.
        port: Port of the agents' listener.
        ca: PEM of the CA to believe; empty for no TLS.
        name: Name that its certificate has to have.
        resumes: Whether TLS sessions are resumed.
    """

    host: str
    port: int
    ca: str = ""
    name: str = "localhost"
    resumes: bool = True


@dataclass(slots=True)
class Tally:
    """What was seen so far.

    Attributes:
        since: When it began, on the machine's monotonic clock, as all times here.
        offers, asked: Offers, and questions for a round, that came unasked.
        applied: Reports of either that upstream has made durable.
        first, last: When the first and the last of them came: their bytes, not what was made of them.
        told: Seconds from ``since`` to each.
    """

    opened: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    since: float = 0.0
    offers: int = 0
    asked: int = 0
    applied: int = 0
    first: float = 0.0
    last: float = 0.0
    last_applied: float = 0.0
    opening: Histogram = field(default_factory=Histogram)
    rounds: Histogram = field(default_factory=Histogram)
    told: Histogram = field(default_factory=Histogram)


class Fleet:
    """The agents of one process.

    Attributes:
        tally: What was seen; replace it to begin anew.
        held: Links that are open and were answered.
    """

    def __init__(self, target: Target, identities: Sequence[LoadIdentity], rng: random.Random) -> None:
        """Begin with nothing open."""
        self.tally = Tally()
        self.held: set[HeldAgent] = set()
        self._target = target
        self._speeches = [Speech(identity) for identity in identities]
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._waiting: deque[HeldAgent] = deque()
        self._due = asyncio.Semaphore(0)
        self._failures: dict[HeldAgent, int] = {}
        self._openers: list[asyncio.Task[None]] = []
        self._sources = itertools.count()
        self._heartbeat = 0.0
        self._closing = False
        self._timers: dict[HeldAgent, asyncio.TimerHandle] = {}
        self._unread: deque[tuple[HeldAgent, bytes, float]] = deque()
        self._busy = False
        self._reading: asyncio.Handle | None = None

    # Held links.

    def hold(self, heartbeat: float, openers: int = OPENERS) -> None:
        """Open a held link for every agent, and keep it; :attr:`held` fills up.

        Args:
            heartbeat: Seconds between messages on a quiet link; 0 for none.
            openers: Connections being opened at a time.
        """
        self._heartbeat = heartbeat
        host = f"{self._target.name}:{self._target.port}"
        for speech in self._speeches:
            self._wait_for(HeldAgent(speech, host, self), 0.0)
        self._openers = [self._loop.create_task(self._open_links()) for _ in range(openers)]

    async def _open_links(self) -> None:
        while True:
            await self._due.acquire()
            agent = self._waiting.popleft()
            try:
                await self._connect(partial(lambda found: found, agent), agent.speech.identity)
            except (OSError, TimeoutError) as error:
                self._retry(agent, _reason(error), None)

    async def _connect(self, factory: Callable[[], asyncio.Protocol], identity: LoadIdentity) -> None:
        target = self._target
        context = self._context(identity) if target.ca else None
        name = target.name if context else None
        sock = _open_socket(target.host, next(self._sources))
        try:
            async with asyncio.timeout(30.0):
                await self._loop.sock_connect(sock, (target.host, target.port))
                await self._loop.create_connection(factory, sock=sock, ssl=context, server_hostname=name)
        except BaseException:
            sock.close()
            raise

    def _context(self, identity: LoadIdentity) -> ssl.SSLContext:
        """Return the context of one agent; agents without a certificate share one."""
        whose = identity.uid if identity.own else ""
        if whose not in self._contexts:
            self._contexts[whose] = make_context(self._target.ca, identity, resumes=self._target.resumes)
        return self._contexts[whose]

    def opened(self, agent: HeldAgent, took: float) -> None:
        """Count an open link, and plan its heartbeat."""
        self.held.add(agent)
        self._failures.pop(agent, None)
        self.tally.opened += 1
        self.tally.opening.add(took)
        if self._heartbeat:
            self._beat(agent, self._rng.random() * self._heartbeat)

    def _beat(self, agent: HeldAgent, wait: float) -> None:
        self._timers[agent] = self._loop.call_later(wait, self._due_beat, agent)

    def _due_beat(self, agent: HeldAgent) -> None:
        agent.heartbeat()
        self._beat(agent, self._heartbeat)

    def received(self, agent: HeldAgent, data: bytes) -> None:
        """Keep a message until nothing more can be read; past :data:`UNREAD` the oldest is read at once."""
        self._unread.append((agent, data, time.monotonic()))
        agent.unread += 1
        self._busy = True
        if len(self._unread) > UNREAD:
            self._read(1)
        elif self._reading is None:
            self._reading = self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Read some, if nothing came since the last time; while many come, wait until it is quiet."""
        came, self._busy = self._busy, False
        if not came:
            self._read(READ)
        if not self._unread:
            self._reading = None
        elif came and len(self._unread) > READ:
            self._reading = self._loop.call_later(QUIET, self._read_on)
        else:
            self._reading = self._loop.call_soon(self._read_on)

    def _read(self, count: int) -> None:
        for _ in range(min(count, len(self._unread))):
            agent, data, at = self._unread.popleft()
            agent.unread -= 1
            agent.hear(data, at)

    def told(self, agent: HeldAgent, at: float, *, offer: bool) -> None:  # noqa: ARG002  # the watcher's form
        """Count an offer or a question, and when it came."""
        tally = self.tally
        tally.first = min(tally.first or at, at)
        tally.last = max(tally.last, at)
        tally.offers += offer
        tally.asked += not offer
        tally.told.add(at - tally.since)

    def applied(self, agent: HeldAgent) -> None:  # noqa: ARG002  # the watcher's form
        """Count an outcome that upstream keeps."""
        self.tally.applied += 1
        self.tally.last_applied = time.monotonic()

    def answered(self, took: float) -> None:
        """Count a heartbeat."""
        self.tally.rounds.add(took)

    def ended(self, agent: HeldAgent, why: str, wait: float | None) -> None:
        """Count the end, and come back."""
        self.held.discard(agent)
        timer = self._timers.pop(agent, None)
        if timer is not None:
            timer.cancel()
        if not self._closing:
            self._retry(agent, why, wait)

    def _retry(self, agent: HeldAgent, why: str, wait: float | None) -> None:
        self.tally.failed[why] += 1
        failures = self._failures[agent] = self._failures.get(agent, 0) + 1
        window = max(agent.window, 1.0) if failures == 1 else min(RETRY_MAX, 2.0**failures)
        self._wait_for(agent, wait if wait is not None else self._rng.random() * window)

    def _wait_for(self, agent: HeldAgent, wait: float) -> None:
        def due() -> None:
            self._waiting.append(agent)
            self._due.release()

        if wait:
            self._loop.call_later(wait, due)
        else:
            due()

    # Rounds.

    async def beat(self, seconds: float, *, keep: bool, flights: int) -> None:
        """Make rounds as fast as they are answered, for so many seconds.

        Args:
            seconds: How long.
            keep: One connection for many rounds, or a new one for each.
            flights: Rounds on their way at a time, each of another agent.

        Raises:
            TimeoutError: The last rounds were not answered in time.
        """
        until = time.monotonic() + seconds
        chosen = [self._speeches[number % len(self._speeches)] for number in range(flights)]
        async with asyncio.timeout(seconds + PATIENCE):
            await asyncio.gather(*(self._rounds(speech, until, keep=keep) for speech in chosen))

    async def _rounds(self, speech: Speech, until: float, *, keep: bool) -> None:
        while time.monotonic() < until:
            await self.round(speech, (lambda: time.monotonic() < until) if keep else _never)

    async def round(self, speech: Speech, again: Callable[[], bool] | None = None) -> None:
        """Make one round on a connection of its own; more as long as ``again`` says so."""
        over: asyncio.Future[None] = self._loop.create_future()

        def done(what: str, took: float, last: bool) -> None:
            if what == "200":
                self.tally.rounds.add(took)
            else:
                self.tally.failed[what] += 1
            if last and not over.done():
                over.set_result(None)

        host = f"{self._target.name}:{self._target.port}"
        began = time.monotonic()
        try:
            await self._connect(partial(RoundAgent, speech, host, done, again or _never), speech.identity)
        except (OSError, TimeoutError) as error:
            self.tally.failed[_reason(error)] += 1
            await asyncio.sleep(0.05)
            return
        self.tally.opening.add(time.monotonic() - began)
        await over

    async def pull(self, heartbeat: float) -> None:
        """Make a round for every agent each ``heartbeat`` seconds, spread evenly, until cancelled."""
        running: set[asyncio.Task[None]] = set()
        order = list(self._speeches)
        self._rng.shuffle(order)
        step = heartbeat / max(1, len(order))
        begin = time.monotonic()
        for number in itertools.count():
            late = begin + number * step - time.monotonic()
            if late > 0:
                await asyncio.sleep(late)
            while len(running) >= OPENERS:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running = {task for task in running if not task.done()}
            task = self._loop.create_task(self.round(order[number % len(order)]))
            running.add(task)
            task.add_done_callback(running.discard)

    async def close(self) -> None:
        """Cut every link."""
        self._closing = True
        for task in self._openers:
            task.cancel()
        if self._reading is not None:
            self._reading.cancel()
        await asyncio.gather(*self._openers, return_exceptions=True)
        for agent in list(self.held):
            agent.close()
        await asyncio.sleep(0)


def _open_socket(host: str, number: int) -> socket.socket:
    """Return a socket to dial loopback with; IPv4 has many addresses to dial from."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(0)
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.0.{2 + number % ADDRESSES}", 0))
    return sock


def _never() -> bool:
    return False


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return f"tls {error.reason or error}"
    return type(error).__name__
