"""A fleet that comes back after its Manager was away: the real back-off and the real door, in virtual time.

No bytes, no keys, no event loop: an agent is its :class:`Backoff`, the door is
the bucket that the listener uses, and the kernel between them is a queue of
bounded length.  A hundred thousand agents take seconds.

Source: guarantees REL-10 and GOAL-2.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum

from popham.link.backoff import Backoff
from popham.net.dialer import CONNECT_TIME
from popham.net.hot.admission import LinkRate
from popham.net.hot.entrance import SHORTEST_PAUSE
from popham.net.listener import BACKLOG
from popham.net.rate import RoundRate

SYNS = (1.0, 3.0, 7.0, 15.0)
"""Seconds after which a kernel asks again that heard nothing. Source: Linux, tcp_syn_retries."""
_DIAL, _SYN, _GIVE_UP, _TURN = range(4)
_MANAGER = -1


class Door(Enum):
    """What becomes of a connection over the rate."""

    HOLD = "hold"
    """It waits in the kernel; what the TLS listener does."""
    CLOSE = "close"
    """It is reset."""
    ANSWER = "answer"
    """It is answered 503 with Retry-After; what the rate of rounds does."""


@dataclass(slots=True)
class Moment:
    """A clock that an event sets."""

    time: float = 0.0

    def now(self) -> float:
        """Return the time of the event."""
        return self.time

    def monotonic(self) -> float:
        """Return the same."""
        return self.time


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a storm went; times in seconds from the moment at which the Manager serves again.

    Attributes:
        drained: When the last agent was back.
        ideal: Agents ÷ rate.
        attempts: Dials per agent, on average, from the loss on.
        knocks: Dials per agent, on average, since the Manager serves again.
        most: Dials of the unluckiest agent, since the Manager serves again.
        peak: Dials in the worst second, of which most are in vain after a long outage.
        crowd: Dials in the worst second since the Manager serves again.
        returned: Agents that are back.
    """

    drained: float
    ideal: float
    attempts: float
    knocks: float
    most: int
    peak: int
    crowd: int
    returned: int


@dataclass
class Storm:
    """One storm.

    Attributes:
        agents: How many lose their link at once, at time 0.
        rate: New links that the Manager admits in a second.
        window: Seconds from which they draw their first return, as the Manager named them.
        away: Seconds until it serves again.
        door: What becomes of those over the rate.
        again: Whether they were told their windows while they returned from another storm.
        silent: Whether nobody answers meanwhile, instead of refusing: the machine is off.
        until: Seconds after the return at which the simulation gives up.
    """

    agents: int = 100_000
    rate: float = 400.0
    window: float = 250.0
    away: float = 5.0
    door: Door = Door.HOLD
    again: bool = False
    silent: bool = False
    seed: int = 7
    until: float = 7200.0
    _clock: Moment = field(default_factory=Moment)
    _events: list[tuple[float, int, int, int]] = field(default_factory=list)
    _queue: deque[int] = field(default_factory=deque)
    _waiting: set[int] = field(default_factory=set)
    _turning: bool = False
    _back: int = 0
    _last: float = 0.0
    _links: LinkRate = field(init=False)
    _rounds: RoundRate = field(init=False)
    _fleet: list[Backoff] = field(init=False)
    _dials: list[int] = field(init=False)

    def run(self) -> Outcome:
        """Let it happen."""
        rng = random.Random(self.seed)  # noqa: S311  # a simulation, not a secret
        self._links = LinkRate(self.rate, clock=self._clock, rng=rng, lag=lambda: 0.0)
        self._rounds = RoundRate(self.rate, clock=self._clock, rng=rng)
        self._fleet = [Backoff(rng.random) for _ in range(self.agents)]
        self._dials = [0] * self.agents
        seconds: Counter[int] = Counter()
        for agent, backoff in enumerate(self._fleet):
            # Who returned as the n-th is told a window for n; the order has nothing to do with their numbers.
            backoff.window = max(1.0, self.window * rng.random()) if self.again else self.window
            self._miss(agent, seconds)
        while self._events and self._back < self.agents:
            now, agent, kind, number = heapq.heappop(self._events)
            self._clock.time = now
            if now > self.away + self.until:
                break
            if kind == _TURN:
                self._turn(now)
            elif kind == _GIVE_UP:
                if agent in self._waiting and number == self._dials[agent]:
                    self._waiting.discard(agent)
                    self._fail(now, agent)
            else:
                if kind == _DIAL:
                    self._dials[agent] += 1
                    seconds[int(now)] += 1
                self._arrive(now, agent, number)
        return Outcome(
            drained=self._last - self.away,
            ideal=self.agents / self.rate,
            attempts=sum(seconds.values()) / self.agents,
            knocks=sum(self._dials) / self.agents,
            most=max(self._dials),
            peak=max(seconds.values()),
            crowd=max((n for second, n in seconds.items() if second >= self.away), default=0),
            returned=self._back,
        )

    def _miss(self, agent: int, seconds: Counter[int]) -> None:
        """Dial in vain until the Manager serves: who meets nobody needs no queue of events."""
        failed, away = self._fleet[agent].failed, self.away
        now = failed()
        while now < away:
            seconds[int(now)] += 1  # nearly all of a long storm's time is spent here
            if self.silent:
                number = next((n for n, after in enumerate(SYNS, 1) if now + after >= away), 0)
                if number:
                    self._at(now + SYNS[number - 1], agent, _SYN, number)
                    return
                now += CONNECT_TIME
            now += failed()
        self._at(now, agent, _DIAL)

    def _arrive(self, now: float, agent: int, number: int) -> None:
        """Knock; ``number`` is how often the kernel has repeated its SYN."""
        if self.door is Door.ANSWER:
            again = self._rounds.admit()
            if again is None:
                self._admit(now)
            else:
                self._fail(now, agent, again)
        elif self.door is Door.CLOSE:
            if self._links.take():
                self._fail(now, agent)
            else:
                self._admit(now)
        else:
            self._wait(now, agent, number)

    def _wait(self, now: float, agent: int, number: int) -> None:
        """Stand in the queue, or outside of it while it is full."""
        began = now - (SYNS[number - 1] if number else 0.0)
        if len(self._queue) < BACKLOG:
            self._queue.append(agent)
            self._waiting.add(agent)
            self._at(began + CONNECT_TIME, agent, _GIVE_UP, self._dials[agent])
            if not self._turning:
                self._turning = True
                self._at(now, _MANAGER, _TURN)
        elif number < len(SYNS):
            self._at(began + SYNS[number], agent, _SYN, number + 1)
        else:
            self._fail(began + CONNECT_TIME, agent)

    def _turn(self, now: float) -> None:
        """Admit one of those who wait, or look again when there is a token."""
        while self._queue and self._queue[0] not in self._waiting:
            self._queue.popleft()  # it gave up, and is closed without a handshake
        self._turning = bool(self._queue)
        if self._turning:
            wait = self._links.take()
            if not wait:
                self._waiting.discard(self._queue.popleft())
                self._admit(now)
            self._at(now + max(wait, SHORTEST_PAUSE) if wait else now, _MANAGER, _TURN)

    def _admit(self, now: float) -> None:
        self._back += 1
        self._last = now

    def _fail(self, now: float, agent: int, retry_after: float | None = None) -> None:
        self._at(now + self._fleet[agent].failed(retry_after), agent, _DIAL)

    def _at(self, time: float, agent: int, kind: int, number: int = 0) -> None:
        heapq.heappush(self._events, (time, agent, kind, number))
