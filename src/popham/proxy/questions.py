"""Calls that go on being asked when whoever waits for the answer has gone; it is kept until somebody asks again.

A proxy that is visited each ten minutes hears answers long after the agent that needs them had to go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from popham.clock import Clock
from popham.proxy.calls import PATIENCE, Calls

KEPT: Final = 3600.0
"""Seconds that a question goes on being asked, and that its answer is kept for an agent that comes again."""


@dataclass(slots=True, eq=False)
class _Asked:
    """A question that was asked: of which call, its answer once it came, and until when it is kept."""

    until: float
    number: int = 0
    answer: bytes | Exception | None = None


class Questions:
    """Questions of one kind that agents ask again and again until they hear the answer."""

    def __init__(self, calls: Calls, clock: Clock, *, most: int) -> None:
        """Ask by ``calls``; at ``most`` so many at once."""
        self._calls, self._clock, self._most = calls, clock, most
        self._asked: dict[Hashable, _Asked] = {}

    async def ask(
        self, name: Hashable, kind: str, key: bytes, body: bytes, *, address: str = ""
    ) -> bytes | Exception | None:
        """Return the answer, or why there is none; None if there was none in time, or there is no room to ask.

        Args:
            name: By which the same question is known again.
            kind: As in RelayCall.
            key: instance_uid of the agent that it is about, 16 bytes.
            body: As its kind has it.
            address: Of the agent.
        """
        asked = self._find(name, kind, key, body, address)
        if asked is None:
            return None
        if asked.answer is None:
            await self._wait(asked)
        if asked.answer is not None and self._asked.get(name) is asked:
            # It is said once; whoever asks again is to hear what holds by then.
            del self._asked[name]
        return asked.answer

    def _find(self, name: Hashable, kind: str, key: bytes, body: bytes, address: str) -> _Asked | None:
        """Return the question, which may have been asked before; None if there is no room for it."""
        now = self._clock.monotonic()
        while self._asked and next(iter(self._asked.values())).until <= now:
            del self._asked[next(iter(self._asked))]
        found = self._asked.get(name)
        if found is not None:
            return found
        if len(self._asked) >= self._most and not self._make_room():
            return None
        asked = self._asked[name] = _Asked(now + KEPT)

        def done(said: bytes | Exception) -> None:
            asked.answer = said

        asked.number = self._calls.post(kind, key, body, done, address=address, seconds=KEPT)
        return asked

    def _make_room(self) -> bool:
        """Forget the oldest answer that nobody came for; False if there is none."""
        unheard = next((name for name, one in self._asked.items() if one.answer is not None), None)
        if unheard is None:
            return False
        del self._asked[unheard]
        return True

    async def _wait(self, asked: _Asked) -> None:
        """Return once the answer is here, or the agent has waited long enough."""
        here: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._calls.join(asked.number, lambda _said: None if here.done() else here.set_result(None)):
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await here
        except TimeoutError:
            return
