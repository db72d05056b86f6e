"""An intake on a disk in memory, and what it is asked."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

from tests.manager.intake.disks import ForgetfulDisk
from tests.manager.intake.framing import KEY, join

from popham.manager.intake.intake import Intake
from popham.manager.intake.limits import Limits
from popham.manager.intake.position import BEGINNING
from popham.store.memory import MemoryStore
from popham.streams.frame import Stream
from popham.upstream.intake import Sent
from popham.upstream.record import Record

NOW = 1_800_000_000.0
FOLDER = Path("/data/intake")
UID = b"u" * 16


class StandingClock:
    """A clock that stands until a test moves it."""

    def __init__(self):
        self.time = NOW

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


def record(uid=UID, key=KEY):
    """Return an agent as an upstream has it."""
    return Record(uid=uid.hex(), key=uid, name="a", group="fleet", public_key=key.public.der)


class Rig:
    """What outlives an intake: disk, database and clock."""

    def __init__(self):
        self.disk, self.store, self.clock = ForgetfulDisk(), MemoryStore(), StandingClock()

    async def begin(self, **limits):
        """Return an intake that has begun."""
        intake = Intake(
            FOLDER, self.store, self.clock, limits=Limits(**limits), draw=lambda: 0.5, disk=self.disk
        )
        await intake.load()
        return intake

    @contextlib.asynccontextmanager
    async def intake(self, **limits):
        """Have an intake from its start to its end."""
        found = await self.begin(**limits)
        try:
            yield found
        finally:
            await found.close()


async def send(intake, frames, *, stream=Stream.LOGS, who=None, now=None, waiting=None):
    """Bring frames; returns how far the intake is."""
    return await intake.append(who or record(), stream, join(frames), Sent(now, waiting))


def entries(intake, stream=Stream.LOGS, after=BEGINNING, limit=1 << 20):
    """Return all that is to be read after a place."""
    found = []
    while part := intake.segments.read(stream, after, limit=limit):
        found += part
        after = part[-1].position_after
    return found


def offsets(intake, stream=Stream.LOGS):
    """Return agent, epoch, offset → how often it is to be read."""
    return Counter(
        (entry.frame.head.uid, entry.frame.head.epoch, offset)
        for entry in entries(intake, stream)
        for offset in range(entry.frame.head.first, entry.frame.head.end)
    )
