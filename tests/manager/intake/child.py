"""A process that takes appends, and says what it has acknowledged; it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.manager.intake.rig import record

from popham.clock import SystemClock
from popham.manager.intake.intake import Intake
from popham.manager.intake.limits import Limits
from popham.store.memory import MemoryStore
from popham.streams.disk import SystemDisk
from popham.streams.frame import HEAD, Head, Stream
from popham.upstream.intake import Sent


async def run(folder: Path, key: bytes) -> None:
    """Take the frames of a file, one after the other and again from where it is, until killed."""
    intake = Intake(
        folder / "intake", MemoryStore(), SystemClock(), limits=Limits(reserve=0, bytes_per_second=0.0),
        draw=lambda: 0.0, disk=SystemDisk(),
    )  # fmt: skip
    await intake.load()
    who = record()
    who.public_key = key
    frames = split((folder / "frames").read_bytes())
    standing = await intake.standing(who, Stream.LOGS)
    for frame in frames[standing.next :]:
        standing = await intake.append(who, Stream.LOGS, frame, Sent())
        sys.stdout.write(f"{standing.next}\n")
        sys.stdout.flush()


def split(data: bytes) -> list[bytes]:
    """Return the frames in a file, each of one record."""
    found, at = [], 0
    while at < len(data):
        size = Head.decode(data[at : at + HEAD]).total
        found.append(data[at : at + size])
        at += size
    return found


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), bytes.fromhex(sys.argv[2])))
