"""Frames of a spool as it remembers them, and how new ones are made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from popham.errors import StreamError
from popham.streams.frame import COUNT_LIMIT, Cause, Frame, Head, Kind, Stream, tail_of
from popham.streams.gap import make_gap
from popham.streams.packing import pack

SUFFIX = ".seg"


def segment_name(number: int) -> str:
    """Return the name of a segment's file."""
    return f"{number:016x}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class Kept:
    """One frame that is durable.

    Attributes:
        head: What it says.
        segment: Number of the segment where it stands; None for a gap that is only noted.
        at: Where it begins there.
        since: Monotonic seconds from which its age counts.
        is_missing: Whether the disk did not give it back: only its offsets are known.
    """

    head: Head
    segment: int | None
    at: int
    since: float = 0.0
    is_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes the next frame; attributes as those of a head."""

    stream: Stream
    uid: bytes
    epoch: int
    boot: bytes
    written: int
    first: int
    before: bytes

    def records(self, payload: bytes, count: int) -> Frame:
        """Return a frame of records. Raises StreamError ``stream.large``."""
        if not 0 < count <= COUNT_LIMIT:
            raise StreamError("large", f"a frame has 1 to {COUNT_LIMIT} records, and not {count}")
        codec, packed = pack(payload)
        digest = sha256(packed).digest()
        head = Head(
            kind=Kind.RECORDS,
            stream=self.stream,
            codec=codec,
            uid=self.uid,
            epoch=self.epoch,
            first=self.first,
            count=count,
            boot=self.boot,
            written=self.written,
            before=self.before,
            tail=tail_of(digest),
            digest=digest,
            length=len(packed),
            size=len(payload),
        )
        return Frame(head, packed)

    def gap(self, cause: Cause, count: int, *, tail: bytes = b"") -> Frame:
        """Return a gap; ``tail`` is empty for one that replaces no frame."""
        return make_gap(
            cause,
            stream=self.stream,
            uid=self.uid,
            epoch=self.epoch,
            first=self.first,
            count=count,
            boot=self.boot,
            written=self.written,
            before=self.before,
            tail=tail or self.before,
        )

    def after(self, head: Head) -> Maker:
        """Return what makes the frame after one."""
        return replace(self, first=head.end, before=head.tail)

    def again(self, frame: Frame) -> Frame:
        """Return a frame of another epoch as one of this; it keeps its boot and its time."""
        head = replace(frame.head, epoch=self.epoch, first=self.first, before=self.before)
        return Frame(head, frame.payload)


def gap_for(head: Head, cause: Cause) -> Head:
    """Return the head of a gap that stands for a frame; it is of the process that wrote the frame."""
    return make_gap(
        cause,
        stream=head.stream,
        uid=head.uid,
        epoch=head.epoch,
        first=head.first,
        count=head.count,
        boot=head.boot,
        written=head.written,
        before=head.before,
        tail=head.tail,
    ).head
