"""Asks above how far a stream is, where nobody has said so yet."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

from popham.clock import Clock
from popham.downstream.standings import decode
from popham.errors import LinkError, PophamError
from popham.net.seam import Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream
from popham.streams.standing import Standing

_log = logging.getLogger(__name__)
ASK: Final = 3.0
"""Seconds in which somebody above has to say how far it is."""
PAUSE: Final = 10.0
"""Seconds in which nobody is asked again after that failed."""
Ask = Callable[[str, bytes, bytes], Awaitable[bytes]]
"""Asks above: a kind of call, an agent's uid of 16 bytes, and a body."""


class Asking:
    """Asks, as long as somebody answers."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        """Ask by ``ask``, which raises PophamError or Refused."""
        self._ask = ask
        self._clock = clock
        self._asked = -math.inf

    async def find(self, uid: bytes, stream: Stream, epoch: int) -> Standing | None:
        """Return how far those above are with an epoch, 0 for the newest; None if nobody says so now."""
        if self._clock.monotonic() < self._asked + PAUSE:
            return None
        body = wire.StandingCall(stream=stream, epoch=epoch).SerializeToString()
        try:
            async with asyncio.timeout(ASK):
                return decode(await self._ask("standing", uid, body), stream)
        except (PophamError, Refused, TimeoutError) as error:
            _log.info("nobody says how far %s of %s is above: %s", stream, uid.hex(), error or "no answer")
            if isinstance(error, LinkError | TimeoutError):
                self._asked = self._clock.monotonic()
            return None
