"""How much later than their heartbeat agents are to come, while there is too much to do.

Rules:

1. Never sooner than the heartbeat that was signed, and at most four times later.
2. It is said with each answer and holds for the next round only; nobody keeps
   it, so it ends by itself when the load does.
3. It rises quicker than it falls, and stays while neither is called for.
4. Only rounds are steered: a heartbeat on a held link costs memory only, a
   stock agent has no word for it, and who is visited does not choose when; all
   are answered as ever.

Source: guarantees REL-21; CoDel, which acts on a delay that stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from popham.link.cadence import STRETCH_MOST, bound_stretch
from popham.model.fleet import AgentKind
from popham.upstream.directive import Plan
from popham.upstream.record import Record
from popham.upstream.shedding import LAG, QUEUE, Load

EVERY = 5.0
"""Seconds between two looks at the load."""
MORE, LESS = 1.25, 0.9
"""Steps of the factor: from 1 to 4 takes 35 s, back 70 s."""
TIGHT, EASY = 0.95, 0.7
"""Parts of the rounds allowed: above the first is too many, below the second leaves room.

What is over the rate is turned away at the door, so nobody here counts more than what is allowed.
"""
_CALM = 1.02
"""A factor below this is none."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What there is to do, and how many rounds there were.

    Attributes:
        load: Lag and queue.
        rounds: Rounds a second.
        allowed: Rounds a second that are admitted; 0 for no limit.
    """

    load: Load = field(default_factory=Load)
    rounds: float = 0.0
    allowed: float = 0.0


def steer(factor: float, demand: Demand) -> float:
    """Return the next factor by which heartbeats are stretched, 1 to :data:`STRETCH_MOST`; pure."""
    load, part = demand.load, demand.rounds / demand.allowed if demand.allowed > 0 else 0.0
    if load.lag > LAG or load.queue > QUEUE or part > TIGHT:
        return min(STRETCH_MOST, factor * MORE)
    if load.lag <= LAG / 2 and load.queue <= QUEUE / 2 and part < EASY:
        less = factor * LESS
        return less if less >= _CALM else 1.0
    return factor


class Steering:
    """Looks at the load, and says in each answer to a round how much later to come.

    Attributes:
        factor: Of the heartbeat; 1 while there is no load.
        stretched: Answers that said so, since the start.
    """

    def __init__(
        self,
        load: Callable[[], Load] = Load,
        *,
        rounds: Callable[[], int] = lambda: 0,
        allowed: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Keep where to look.

        Args:
            load: Returns the load now.
            rounds: Returns the rounds answered since the start.
            allowed: Returns the rounds a second that are admitted; 0 for no limit.
        """
        self._load = load
        self._rounds = rounds
        self._allowed = allowed
        self._counted = 0
        self.factor = 1.0
        self.stretched = 0

    async def run(self) -> None:
        """Look until cancelled."""
        self._counted = self._rounds()
        while True:
            await asyncio.sleep(EVERY)
            self.look()

    def look(self) -> None:
        """Look once, :data:`EVERY` seconds after the last time."""
        counted, self._counted = self._counted, self._rounds()
        demand = Demand(self._load(), (self._counted - counted) / EVERY, self._allowed())
        self.factor = steer(self.factor, demand)

    def direct(self, what: Plan, record: Record, *, held: bool) -> Plan:
        """Return ``what`` with the stretch of the agent's next round, and expect it that much later.

        Who holds a link, or is visited (``held`` as well), is expected at its heartbeat, as ever.

        The agent's signed promise stays as it is: signing and writing another one for each
        change of the load would be the greater load.
        """
        state = record.state
        if record.kind is not AgentKind.OWN or state is None:
            return what
        factor = 1.0 if held or record.link is not None else self.factor
        stretch = bound_stretch(state.promise, (factor - 1.0) * state.promise)
        record.promise = state.promise + stretch
        if not stretch:
            return what
        self.stretched += 1
        return replace(what, stretch=stretch)
