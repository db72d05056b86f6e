"""A proxy's intake that takes frames of an agent by hop, and says what it has acknowledged; it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.manager.intake.child import split
from tests.manager.intake.rig import record

from popham.clock import SystemClock
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.carrying import HOP, ProxyIntake
from popham.proxy.spool.bounds import Limits
from popham.streams.frame import Stream
from popham.upstream.intake import Sent


async def begin(folder: Path) -> ProxyIntake:
    """Return an intake below somebody who has nothing, and takes nothing."""

    async def ask(_kind: str, _key: bytes, body: bytes) -> bytes:
        call = wire.StandingCall.FromString(body)
        said = wire.Standing(stream=call.stream, epoch=call.epoch, newest=call.epoch)
        return said.SerializeToString()

    limits = Limits(reserve=0, segment=4000)
    intake = ProxyIntake(folder / "spool", SystemClock(), ask=ask, draw=lambda: 0.0, limits=limits)
    intake.custody = {Stream.LOGS: HOP}
    await intake.begin()
    return intake


async def run(folder: Path, key: bytes) -> None:
    """Take the frames of a file, one after the other and again from where it is, until killed."""
    intake = await begin(folder)
    who = record()
    who.public_key = key
    frames = split((folder / "frames").read_bytes())
    standing = await intake.standing(who, Stream.LOGS, 1)
    for frame in frames[standing.next :]:
        standing = await intake.append(who, Stream.LOGS, frame, Sent())
        sys.stdout.write(f"{standing.next}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), bytes.fromhex(sys.argv[2])))
