"""A spool, a receiver, and what must be true of both whatever happens to disk and wire."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

from popham.errors import StreamError
from popham.streams.frame import Stream, decode_all
from popham.streams.limits import Limits
from popham.streams.packing import unpack
from popham.streams.receiving import Receiving, Verdict
from popham.streams.spool import Spool
from popham.streams.standing import Standing
from popham.testing.disk import LazyDisk
from popham.testing.virtual import VirtualClock

FOLDER = Path("/spool")
UID = bytes(range(16))


class Machine:
    """One stream from end to end.

    Attributes:
        durable: Records that a commit said to be durable.
        maybe: Records of commits that failed or were cut off: they may be there, once.
        copied: Whether the directory was copied back from earlier; what was written since may be gone.
        disowned: Lost records that were never said to be durable.
    """

    def __init__(self, seed=0, limits=None):
        self.rng = random.Random(seed)
        self.disk = LazyDisk()
        self.clock = VirtualClock()
        self.limits = limits or Limits()
        self.number = 0
        self.durable = []
        self.maybe = set()
        self.disowned = 0
        self.copied = False
        self.epochs = {}
        self.received = Counter()
        self.boots = 0
        self.open()

    def open(self):
        self.boots += 1
        boot = self.boots.to_bytes(8, "big")
        self.spool = Spool.open(
            FOLDER, Stream.LOGS, UID, disk=self.disk, clock=self.clock, boot=boot, limits=self.limits
        )

    def write(self, *counts):
        """Append frames of so many records each, and commit; the records are numbers."""
        batch = []
        for count in counts:
            records = [self.number + n for n in range(count)]
            self.number += count
            batch += records
            self.spool.append(" ".join(map(str, records)).encode(), count)
        self.maybe |= set(batch)
        try:
            self.spool.commit()
        except StreamError:
            return False
        self.maybe -= set(batch)
        self.durable += batch
        return True

    # The receiver.

    def standing(self, epoch=None):
        newest = max(self.epochs, default=0)
        found = self.epochs.get(newest if epoch is None else epoch)
        if found is None:
            return Standing(stream=Stream.LOGS, newest=newest)
        return found.standing(newest)

    def deliver(self, frames):
        """Take frames as a receiver does; return how far it is."""
        data = b"".join(frame.encode() for frame in frames)
        for frame in decode_all(data, most=10_000):
            head = frame.head
            receiving = self.epochs.setdefault(head.epoch, Receiving(Stream.LOGS, head.epoch))
            try:
                verdict = receiving.offer(head)
            except StreamError:
                return replace(self.standing(head.epoch), refused=True)
            if verdict is Verdict.HAVE:
                continue
            if head.cause is None:
                self.received.update(int(word) for word in unpack(frame).split())
            receiving.take(head)
        return self.standing(frames[-1].head.epoch if frames else None)

    def send(self, *, limit=1 << 20, keep=lambda _frame: True, answer=True):
        """Send once what there is, as an agent that was told how far upstream is."""
        found = self.spool.heard(self.standing(self.spool.epoch))
        frames = [frame for frame in self.spool.read(found.first, limit=limit) if keep(frame)]
        if not frames:
            return False
        standing = self.deliver(frames)
        if answer or standing.refused:
            self.spool.heard(standing)
        return True

    def drain(self):
        for _ in range(1000):
            if not self.send():
                return
        raise AssertionError("it never comes to an end")

    # What must be true.

    @property
    def lost(self):
        found = Counter()
        for one in self.epochs.values():
            found.update(one.lost)
        return found

    def check(self):
        """Everything that was durable is there once, or counted as lost; nothing is there twice."""
        doubled = [record for record, times in self.received.items() if times > 1]
        assert not doubled, f"doubled: {doubled}"
        for one in self.epochs.values():
            assert one.stored + sum(one.lost.values()) == one.next + sum(
                r.end - r.first for r in one.standing().ranges
            )
        assert sum(one.stored for one in self.epochs.values()) == sum(self.received.values())
        missing = [record for record in self.durable if not self.received[record]]
        counted = sum(self.lost.values())
        unowed = counted - self.disowned
        if self.copied:
            assert len(missing) <= counted, f"missing: {missing}, lost: {self.lost}"
            return
        uncertain = sum(not self.received[record] for record in self.maybe)
        assert 0 <= unowed - len(missing) <= uncertain, f"missing: {missing[:10]}, lost: {self.lost}"

    def check_counts(self):
        """What upstream was told to be lost is counted here too; what it has may be, where a crash forgot that."""
        assert self.lost <= Counter({str(cause): count for cause, count in self.spool.lost.items()})
