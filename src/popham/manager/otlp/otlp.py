"""Plain OTLP on its way into the intake."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from popham.clock import Clock
from popham.manager.intake.intake import Intake
from popham.manager.intake.made import make_frame
from popham.manager.otlp.dividing import divide
from popham.manager.otlp.pieces import Budget
from popham.manager.otlp.reading import Reading, read
from popham.manager.otlp.signals import SIGNALS
from popham.net.seam import Refusal
from popham.streams.frame import Head, Stream
from popham.upstream.intake import Rejected, Source

WAITING: Final = 8
"""Requests that may be in memory to be read; the others come again."""
AWAY: Final = 2.0
"""Seconds after which they may: those before them are read in less."""

COST: Final = 100
"""Bytes that each record takes of its sender's quota, beside its own: reading one takes as long as writing these."""


class Otlp:
    """Reads requests, one at a time, and has the intake keep what is in them.

    Attributes:
        rejected: Reason → records that were left out since the start.
    """

    def __init__(self, intake: Intake, clock: Clock) -> None:
        """Hand records on to ``intake``, dated by ``clock``."""
        self._intake = intake
        self._clock = clock
        self._turn = asyncio.Lock()
        self._waiting = 0
        self.rejected: Counter[str] = Counter()

    def refusal(self, source: bytes, stream: Stream) -> Refusal | None:
        """Return why nothing of this stream is taken of whoever this is now. None if it is welcome."""
        if self._waiting >= WAITING:
            return Refusal(status=503, retry_after=AWAY, body="Too many requests wait to be read.")
        return self._intake.refusal_of(source, stream)

    async def take(self, source: Source, stream: Stream, body: bytes, *, is_json: bool) -> Rejected:
        """Keep the records of a request; returns once they are durable.

        Raises:
            WireError, LinkError, StateError: As :meth:`popham.upstream.intake.OtlpIntake.take` says.
        """
        budget = Budget()
        self._waiting += 1
        try:
            async with self._turn:
                reading, frames = await asyncio.to_thread(self._read, source, stream, body, is_json, budget)
            await self._intake.take(source.uid, stream, frames)
        finally:
            self._waiting -= 1
            # What was not kept took its time too.
            self._intake.spend(source.uid, len(body) + budget.used * COST)
        self.rejected.update(reading.rejected)
        return Rejected(reading.rejected.total(), reading.why)

    def _read(
        self, source: Source, stream: Stream, body: bytes, is_json: bool, budget: Budget
    ) -> tuple[Reading, list[tuple[Head, memoryview]]]:
        """Return what a request has, and that as frames. Takes a while: call it in a thread."""
        reading = read(body, SIGNALS[stream], source.owner, budget, is_json=is_json)
        received = self._clock.now()
        return reading, [make_frame(stream, portion, received) for portion in divide(reading.items)]
