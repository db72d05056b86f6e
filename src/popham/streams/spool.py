"""The spool: what one stream of one agent keeps on disk until upstream has it.

Rules:

1. Records are kept once :meth:`Spool.commit` returned, and in the offset order in which they were appended.  What a
   commit could not write is as if it had never been appended.
2. Limits drop the oldest.  What is dropped becomes a gap at once, so no offset is ever without a frame; until that is
   noted, a start finds the records again.
3. A segment is deleted only once a note says, durably, that nothing in it is needed.
4. Age counts while the agent runs: by the monotonic clock for what this process saw, and before that by the frames'
   own times, of which a step back counts nothing and one forward an hour at most.  So neither a clock that jumps nor a
   machine that was off drops anything (REL-4).
5. Where upstream's history of this stream is another one than this, what upstream does not have is written again
   under a new epoch, gaps too; until that is durable the old one stands.
6. A history that cannot be read is a new epoch, too: above the last that is known, and no lower than the time in ms.
7. What was lost is noted before upstream hears of it, so both count the same.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from popham.clock import Clock
from popham.errors import StreamError
from popham.streams.backlog import Backlog
from popham.streams.disk import Disk
from popham.streams.files import Files
from popham.streams.fork import Known, rewrite
from popham.streams.found import Found, find
from popham.streams.frame import OFFSET_LIMIT, START, Cause, Frame, Stream
from popham.streams.kept import Maker
from popham.streams.limits import Limits, find_surplus, with_ages
from popham.streams.note import Note
from popham.streams.standing import Standing

_EPOCHS: Final = OFFSET_LIMIT // 2
"""Epochs from which a spool begins none, whatever upstream says: there have to be some left above."""


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
        self.epoch = 0
        self._files = files
        self._uid = uid
        self._clock = clock
        self._boot = boot
        self._limits = limits
        self._backlog = Backlog()
        self._pending: list[Frame] = []
        self._losses: Counter[Cause] = Counter()
        self._lost: Counter[Cause] = Counter()
        self._is_noted = False

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
            files = Files(disk, folder, uid, found.segments, found.oldest)
            spool = cls(files, stream, uid, clock=clock, boot=boot, limits=limits or Limits())
            spool._load(found)
        except OSError as error:
            raise _full(error) from error
        return spool

    def _load(self, found: Found) -> None:
        """Take what is on disk."""
        self.epoch = found.epoch or self._new_epoch(0)
        self._backlog = Backlog(found.first, found.before, with_ages(found.kept, self._clock.monotonic()))
        self._backlog.join(len(found.kept))
        self._backlog.lent = found.lent
        self._lost = found.lost
        self._is_noted = not found.is_changed and found.epoch > 0
        self._note_if_possible()
        self.enforce()

    def close(self) -> None:
        """Note how far upstream is, so that the next process sends little twice; if that fails, more is sent twice."""
        self._is_noted = False
        self._note_if_possible()

    # What there is.

    @property
    def first(self) -> int:
        """Offset of the first record that upstream is not known to have."""
        return self._backlog.first

    @property
    def next(self) -> int:
        """Offset after the last record that is durable."""
        return self._backlog.next

    @property
    def waiting(self) -> int:
        """Records that upstream is not known to have."""
        return self._backlog.records

    @property
    def size(self) -> int:
        """Bytes of their frames."""
        return self._backlog.size

    @property
    def lost(self) -> Mapping[Cause, int]:
        """Cause → records that were lost here, since the stream began."""
        return dict(self._lost)

    @property
    def oldest(self) -> float | None:
        """When the oldest record that waits was appended, unix seconds; None if none waits."""
        head = self._backlog.oldest
        return None if head is None else head.written / 1e9

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
                self._backlog.extend(self._files.write(frames, self._clock.monotonic()))
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
        """Return what makes the next frame."""
        maker = Maker(
            stream=self.stream,
            uid=self._uid,
            epoch=self.epoch,
            boot=self._boot,
            written=max(int(self._clock.now() * 1e9), 0),
            first=self._backlog.next,
            before=self._backlog.last,
        )
        return maker.after(self._pending[-1].head) if self._pending else maker

    # What goes.

    def read(self, first: int, *, limit: int) -> list[Frame]:
        """Return whole frames from an offset on, unsigned: ``limit`` bytes at most, but one if there is any.

        What the disk does not give back becomes a gap.

        Raises:
            StreamError: ``stream.full``: the disk failed.
        """
        kept = self._backlog.kept
        found: list[Frame] = []
        for at in range(self._backlog.index(first), len(kept)):
            limit -= kept[at].head.total
            if limit < 0 and found:
                break
            try:
                found.append(self._files.read(kept[at]))
            except OSError as error:
                raise _full(error) from error
            except StreamError:
                self._drop(at, Cause.DAMAGED)
                found.append(Frame(kept[at].head, b""))
        if any(frame.head.cause for frame in found):
            self._note_if_possible()
        return found

    def heard(self, standing: Standing) -> Continue:
        """Take note of how far upstream is; return where to go on.

        Raises:
            StreamError: ``stream.full``: the disk takes nothing, so that no new epoch could begin; nothing changed.
                ``stream.overlap``: upstream knows an epoch that nobody can go beyond.
        """
        if standing.newest > max(self.epoch, _EPOCHS):
            problem = f"upstream knows an epoch of {self.stream}, {standing.newest}, that no agent began"
            raise StreamError("overlap", problem, "Look who answers for upstream")
        if standing.newest > self.epoch:
            return self._fork(standing)
        if standing.epoch != self.epoch:
            if standing.newest == self.epoch or not self.first:
                return Continue(self.first)
            # Upstream knows nothing of this epoch, though somebody did: it was restored, or is another one.
            standing = Standing(stream=self.stream, epoch=self.epoch, newest=self.epoch)
        if standing.refused or not self._agrees(standing):
            return self._fork(standing)
        if standing.next > self.first:
            self._backlog.trim(standing.next, standing.last)
        elif not self._backlog.goes_on(standing.next, standing.ranges):
            self._owe(standing)
        self._remove_segments()
        self._backlog.lend(standing.next, standing.above)
        return Continue(self.first)

    def _agrees(self, standing: Standing) -> bool:
        """Return whether upstream's history up to ``next`` is this one, as far as can be seen here."""
        if standing.next == self.first and standing.last != self._backlog.before:
            return False
        known = Known.of(standing)
        ends = [(standing.next, standing.last), *((one.end, one.last) for one in standing.ranges)]
        return all(
            end <= self.first or known.fits(end, tail, self._backlog.ending(end)) for end, tail in ends
        )

    def _owe(self, standing: Standing) -> None:
        """Have a gap stand for what upstream had, and does not have any more."""
        maker = replace(self._maker(), first=standing.next, before=standing.last)
        gap = maker.gap(Cause.DAMAGED, self.first - standing.next, tail=self._backlog.before)
        self._backlog.owe(gap.head)
        self._is_noted = False

    # A new epoch.

    def _new_epoch(self, above: int) -> int:
        return max(above + 1, int(self._clock.now() * 1000))

    def _fork(self, standing: Standing) -> Continue:
        """Write what upstream does not have under a new epoch. Raises StreamError."""
        epoch = self._new_epoch(max(self.epoch, standing.newest))
        left = self._backlog.kept
        if standing.epoch == self.epoch:
            left = list(Known.of(standing).lacks(left))
        begins, lost = self._files.begin(), Counter(self._lost)
        try:
            kept = rewrite(self._files, left, replace(self._maker(), epoch=epoch, first=0, before=START))
            backlog = Backlog(kept=kept)
            lost.update({Cause.DAMAGED: sum(one.head.count for one in kept if one.is_missing)})
            lost += Counter()  # without what is zero
            self._files.note(
                Note(epoch=epoch, segment=begins, next=backlog.next, last=backlog.last, lost=lost)
            )
        except OSError as error:
            self._files.forget(begins)
            raise _full(error) from error
        self.epoch, self._backlog, self._lost, self._is_noted = epoch, backlog, lost, True
        pending, self._pending = self._pending, []
        for frame in pending:
            self._pending.append(self._maker().again(frame))
        return Continue(0, forked=True)

    # Limits.

    def set_limits(self, limits: Limits) -> None:
        """Keep no more than this from now on."""
        self._limits = limits
        self.enforce()

    def enforce(self) -> None:
        """Drop the oldest of what is too much, or too old."""
        last = None
        for at, cause in list(find_surplus(self._backlog, self._limits, self._clock.monotonic())):
            self._drop(at, cause)
            last = at
        if last is not None:
            self._backlog.join(last)
            self._remove_segments()

    def _drop(self, at: int, cause: Cause) -> None:
        """Have a gap stand for a frame."""
        self._lost[cause] += self._backlog.drop(at, cause)
        self._is_noted = False

    # The note.

    def _remove_segments(self) -> None:
        """Delete the segments of which nothing is needed; what cannot be done now is done the next time."""
        if self._files.lowest_needed(self._backlog.segment) > self._files.oldest:
            self._is_noted = False
            self._note_if_possible()

    def _note_if_possible(self) -> None:
        """Note what cannot be read from the segments, if it is not; a disk that takes nothing is tried again later."""
        if self._is_noted:
            return
        note = Note(
            epoch=self.epoch,
            first=self.first,
            before=self._backlog.before,
            next=self._backlog.next,
            last=self._backlog.last,
            segment=self._files.lowest_needed(self._backlog.segment),
            gaps=self._backlog.gaps,
            lent=self._backlog.lent,
            lost=self._lost,
        )
        with contextlib.suppress(OSError):
            try:
                self._files.note(note)
            except OSError:
                # On a full disk the room for it is where nothing is needed any more.
                if not self._files.remove_below(note.segment):
                    raise
                self._files.note(note)
            self._is_noted = True


def _full(error: OSError) -> StreamError:
    problem = f"the disk does not take or give the records of this stream: {error.strerror or error}"
    return StreamError("full", problem, "Make room on the disk; collecting goes on by itself then")
