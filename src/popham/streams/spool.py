"""The spool: what one stream of one agent keeps on disk until upstream has it.

Rules:

1. Records are kept once :meth:`Spool.commit` returned, and in the offset order in which they were appended.  What a
   commit could not write is as if it had never been appended.
2. Limits drop the oldest.  What is dropped becomes a gap at once, so no offset is ever without a frame; until that is
   noted, a start finds the records again.
3. A segment is deleted only once a note says, durably, that nothing in it is needed.
4. Age counts while the agent runs: by the monotonic clock for what this process saw, and before that by the order of
   the frames' own times.  So neither a clock that jumps nor a machine that was off drops anything (REL-4).
5. Where upstream's history of this stream is another one than this, what upstream does not have is written again
   under a new epoch; until that is durable the old one stands.
6. A history that cannot be read is a new epoch, too: above the last that is known, and no lower than the time in ms.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from popham.clock import Clock
from popham.errors import StreamError
from popham.streams.disk import Disk
from popham.streams.files import Files
from popham.streams.fork import fits, known_to, rewrite
from popham.streams.found import Found, find
from popham.streams.frame import START, Cause, Frame, Head, Kind, Stream
from popham.streams.kept import Kept, Maker
from popham.streams.limits import Limits, find_surplus, gap_for, join_gaps
from popham.streams.note import Note
from popham.streams.standing import Standing


@dataclass(frozen=True, slots=True)
class Continue:
    """Where to go on sending: the offset, and whether the stream has a new epoch since now."""

    first: int
    forked: bool = False


class Spool:
    """One stream on disk. One thread at a time may use it.

    Attributes:
        stream: Which.
        epoch: Its history.
        first: Offset of the first record that upstream is not known to have.
    """

    def __init__(
        self,
        files: Files,
        stream: Stream,
        uid: bytes,
        *,
        clock: Clock,
        boot: bytes,
        limits: Limits,
    ) -> None:
        """Begin with nothing; :meth:`open` reads what there is."""
        self.stream = stream
        self.epoch = self.first = 0
        self._files = files
        self._uid = uid
        self._clock = clock
        self._boot = boot
        self._limits = limits
        self._before = b""
        self._kept: list[Kept] = []
        self._pending: list[Frame] = []
        self._losses: Counter[Cause] = Counter()
        self._lost: Counter[Cause] = Counter()

    @classmethod
    def open(
        cls,
        folder: Path,
        stream: Stream,
        uid: bytes,
        *,
        disk: Disk,
        clock: Clock,
        boot: bytes,
        limits: Limits | None = None,
    ) -> Spool:
        """Read a spool, or begin one; what is damaged is set aside, and counted.

        Args:
            folder: Where it is; nothing else is kept there.
            stream: Which stream.
            uid: The agent's instance_uid; 16 bytes.
            disk: The disk.
            clock: Wall time for records, monotonic time for their age.
            boot: Drawn by this process; 8 bytes.
            limits: What it may keep.

        Raises:
            StreamError: ``stream.full``: the disk takes nothing, or cannot be read.
        """
        try:
            disk.make_folder(folder)
            found = find(disk, folder, stream, uid)
            files = Files(disk, folder, found.segments, found.oldest)
            spool = cls(files, stream, uid, clock=clock, boot=boot, limits=limits or Limits())
            spool._load(found)
        except OSError as error:
            raise _full(error) from error
        return spool

    def _load(self, found: Found) -> None:
        """Take what is on disk. Raises OSError."""
        now = self._clock.monotonic()
        self.epoch = found.epoch or self._new_epoch(0)
        self.first, self._before = found.first, found.before
        self._lost = Counter(found.lost)
        newest = max((one.head.written for one in found.kept), default=0)
        self._kept = [replace(one, since=now - max(newest - one.head.written, 0) / 1e9) for one in found.kept]
        for one in self._kept:
            if one.is_missing:
                self._lost[Cause.DAMAGED] += one.head.count
        self._kept = join_gaps(self._kept)
        if found.is_changed or not found.epoch:
            self._note()
        self.enforce()

    def close(self) -> None:
        """Note how far upstream is, so that the next process sends little twice; if that fails, more is sent twice."""
        try:
            self._note()
        except OSError:
            return

    # What there is.

    @property
    def next(self) -> int:
        """Offset after the last record that is durable."""
        return self._kept[-1].head.end if self._kept else self.first

    @property
    def waiting(self) -> int:
        """Records that upstream is not known to have."""
        return sum(one.head.count for one in self._kept if one.head.kind is Kind.RECORDS)

    @property
    def size(self) -> int:
        """Bytes of their frames."""
        return sum(one.head.total for one in self._kept if one.head.kind is Kind.RECORDS)

    @property
    def lost(self) -> Mapping[Cause, int]:
        """Cause → records that were lost here, since the stream began."""
        return dict(self._lost)

    @property
    def oldest(self) -> float | None:
        """When the oldest record that waits was appended, unix seconds; None if none waits."""
        return next((one.head.written / 1e9 for one in self._kept if one.head.kind is Kind.RECORDS), None)

    # What comes.

    def append(self, payload: bytes, count: int) -> None:
        """Append records, which are durable after :meth:`commit`.

        Args:
            payload: What they are.
            count: How many.

        Raises:
            StreamError: ``stream.large``: they do not fit into one frame; then nothing stays of what was appended since
                the last commit.
        """
        self._add_losses()
        try:
            frame = self._maker().records(payload, count)
        except StreamError:
            self._revoke(self._pending)
            raise
        self._pending.append(frame)

    def _revoke(self, frames: Sequence[Frame]) -> None:
        """Have frames not appended; what they count as lost is counted by the next commit."""
        self._pending = []
        for frame in frames:
            if frame.head.cause is not None:
                self._losses[frame.head.cause] += frame.head.count

    def lose(self, count: int, cause: Cause) -> None:
        """Count records that could not be appended; they stand after those that were."""
        if count > 0:
            self._losses[cause] += count

    def commit(self) -> None:
        """Have everything durable that was appended.

        Raises:
            StreamError: ``stream.full``: the disk takes nothing; then none of it was appended, and what was lost is
                counted by the next commit.
        """
        self._add_losses()
        frames, self._pending = self._pending, []
        if frames:
            try:
                self._kept += self._files.write(frames, self._clock.monotonic())
            except OSError as error:
                self._revoke(frames)
                raise _full(error) from error
        for frame in frames:
            if frame.head.cause is not None:
                self._lost[frame.head.cause] += frame.head.count
        self.enforce()

    def _add_losses(self) -> None:
        losses, self._losses = self._losses, Counter()
        for cause, count in losses.items():
            self._pending.append(self._maker().gap(cause, count))

    def _maker(self) -> Maker:
        heads = [one.head for one in self._kept[-1:]] + [one.head for one in self._pending[-1:]]
        return Maker(
            stream=self.stream,
            uid=self._uid,
            epoch=self.epoch,
            boot=self._boot,
            written=max(int(self._clock.now() * 1e9), 0),
            first=heads[-1].end if heads else self.first,
            before=heads[-1].tail if heads else self._before,
        )

    # What goes.

    def read(self, first: int, *, limit: int) -> list[Frame]:
        """Return whole frames from an offset on, unsigned: ``limit`` bytes at most, but one if there is any.

        What the disk does not give back becomes a gap.

        Raises:
            StreamError: ``stream.full``: the disk failed.
        """
        found: list[Frame] = []
        for at in range(self._index(first), len(self._kept)):
            limit -= self._kept[at].head.total
            if limit < 0 and found:
                break
            try:
                found.append(self._files.read(self._kept[at]))
            except OSError as error:
                raise _full(error) from error
            except StreamError:
                self._drop(at, Cause.DAMAGED)
                found.append(Frame(self._kept[at].head, b""))
        return found

    def _index(self, offset: int) -> int:
        """Return the place of the frame with an offset, or of the first after it."""
        at = bisect_right(self._kept, offset, key=lambda one: one.head.first) - 1
        return at if at >= 0 and self._kept[at].head.end > offset else at + 1

    def heard(self, standing: Standing) -> Continue:
        """Take note of how far upstream is; return where to go on.

        Raises:
            StreamError: ``stream.full``: the disk takes nothing, so that no new epoch could begin; nothing changed.
        """
        if standing.epoch != self.epoch:
            if standing.newest > self.epoch:
                return self._fork(standing)
            if standing.newest == self.epoch or not self.first:
                return Continue(self.first)
            # Upstream knows nothing of this epoch, though somebody did: it was restored, or is another one.
            nothing = Standing(stream=self.stream, epoch=self.epoch)
            return self.heard(replace(nothing, newest=standing.newest))
        if not self._agrees(standing):
            return self._fork(standing)
        if standing.next < self.first:
            self._owe(standing)
        elif standing.next > self.first:
            self._trim(standing)
        return Continue(self.first)

    def _agrees(self, standing: Standing) -> bool:
        """Return whether upstream's history up to ``next`` is this one, as far as can be seen here."""
        if standing.next == self.first and standing.last != self._before:
            return False
        ends = [(standing.next, standing.last), *((one.end, one.last) for one in standing.ranges)]
        return all(end <= self.first or fits(end, tail, self._ending) for end, tail in ends)

    def _ending(self, offset: int) -> Head | None:
        """Return the head of the frame that has the record before an offset; None if there is none."""
        at = self._index(offset - 1)
        return self._kept[at].head if at < len(self._kept) and self._kept[at].head.first < offset else None

    def _owe(self, standing: Standing) -> None:
        """Have a gap stand for what upstream had, and does not have any more."""
        maker = replace(self._maker(), first=standing.next, before=standing.last)
        gap = maker.gap(Cause.DAMAGED, self.first - standing.next, tail=self._before)
        self._kept.insert(0, Kept(gap.head, None, 0, self._clock.monotonic()))
        self.first, self._before = standing.next, standing.last

    def _trim(self, standing: Standing) -> None:
        """Forget what upstream has."""
        self._kept = self._kept[self._index(standing.next) :]
        if self._kept and self._kept[0].head.first < standing.next:
            head = self._kept[0].head
            rest = replace(head, first=standing.next, count=head.end - standing.next, before=standing.last)
            self._kept[0] = replace(self._kept[0], head=rest, segment=None)
        self.first, self._before = standing.next, standing.last
        self._remove_segments()

    # A new epoch.

    def _new_epoch(self, above: int) -> int:
        return max(above + 1, int(self._clock.now() * 1000))

    def _fork(self, standing: Standing) -> Continue:
        """Write what upstream does not have under a new epoch. Raises StreamError."""
        epoch = self._new_epoch(max(self.epoch, standing.newest))
        known = known_to(standing if standing.epoch == self.epoch else None, self._ending)
        left = [one for one in self._kept if not known.has(one.head)]
        maker = replace(self._maker(), epoch=epoch, first=0, before=START)
        begins, lost = self._files.begin(), Counter(self._lost)
        try:
            kept = rewrite(self._files, left, maker, self._clock.monotonic())
            for one in kept:
                lost[Cause.DAMAGED] += one.head.count if one.is_missing else 0
            self._files.note(Note(epoch=epoch, segment=begins, lost=lost))
        except OSError as error:
            self._files.forget(begins)
            raise _full(error) from error
        self.epoch, self.first, self._before = epoch, 0, START
        self._kept, self._lost = kept, lost
        return Continue(0, forked=True)

    # Limits.

    def set_limits(self, limits: Limits) -> None:
        """Keep no more than this from now on."""
        self._limits = limits
        self.enforce()

    def enforce(self) -> None:
        """Drop the oldest of what is too much, or too old."""
        surplus = list(find_surplus(self._kept, self._limits, self._clock.monotonic()))
        for at, cause in surplus:
            self._drop(at, cause)
        if surplus:
            self._kept = join_gaps(self._kept)
            self._remove_segments()

    def _drop(self, at: int, cause: Cause) -> None:
        """Have a gap stand for a frame."""
        kept = self._kept[at]
        self._lost[cause] += kept.head.count
        self._kept[at] = replace(kept, head=gap_for(kept.head, cause, self._boot), segment=None)

    # The note.

    def _remove_segments(self) -> None:
        """Delete the segments of which nothing is needed; what cannot be done now is done the next time."""
        if self._files.lowest_needed(self._kept) > self._files.oldest:
            try:
                self._note()
            except OSError:
                return

    def _note(self) -> None:
        """Note what cannot be read from the segments. Raises OSError."""
        self._files.note(
            Note(
                epoch=self.epoch,
                first=self.first,
                before=self._before,
                segment=self._files.lowest_needed(self._kept),
                gaps=tuple(one.head for one in self._kept if one.segment is None),
                lost=dict(self._lost),
            )
        )


def _full(error: OSError) -> StreamError:
    problem = f"the disk does not take or give the records of this stream: {error.strerror or error}"
    return StreamError("full", problem, "Make room on the disk; collecting goes on by itself then")
