"""A spool at work, to be killed: prints a line for each record that is durable, and for each that upstream has.

For each line on standard input it forks a process that appends and sends until it is killed, and then says so.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from popham.clock import SystemClock
from popham.streams.disk import SystemDisk
from popham.streams.frame import Frame, Stream
from popham.streams.limits import Limits
from popham.streams.packing import unpack
from popham.streams.spool import Spool
from popham.streams.standing import Standing

UID = bytes(16)


def open_spool(folder: Path) -> Spool:
    """Open the spool of this test; few records are kept, so that there are losses to count."""
    return Spool.open(
        folder,
        Stream.LOGS,
        UID,
        disk=SystemDisk(),
        clock=SystemClock(),
        boot=os.urandom(8),
        limits=Limits(records=400),
    )


def run(folder: Path, number: int, rng: random.Random) -> None:
    """Append numbers from ``number`` on for ever; acknowledge about as much as comes, as upstream would."""
    spool = open_spool(folder)
    while True:
        batch = range(number, number + rng.randrange(1, 40))
        number = batch.stop
        for one in batch:
            spool.append(f"{one} ".encode() + b"x" * rng.randrange(2000), 1)
        spool.commit()
        os.write(1, f"kept {batch.start} {batch.stop} {spool.next}\n".encode())
        if rng.random() < 0.5:
            continue
        frames = spool.read(spool.first, limit=rng.randrange(1, 30_000))
        # What upstream has must be said before it is forgotten here.
        os.write(1, b"".join(_line(frame) for frame in frames))
        last = frames[-1].head
        spool.heard(
            Standing(stream=Stream.LOGS, epoch=last.epoch, newest=last.epoch, next=last.end, last=last.tail)
        )


def _line(frame: Frame) -> bytes:
    """Return what is said of a frame that upstream has."""
    head = frame.head
    text = "" if head.cause else unpack(frame).split()[0].decode()
    return f"sent {head.first} {head.end} {head.cause or text}\n".encode()


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(Path(sys.argv[1]), int(line), random.Random(int(line)))
        _child, status = os.waitpid(child, 0)
        os.write(1, b"killed\n" if os.WIFSIGNALED(status) else b"failed\n")
