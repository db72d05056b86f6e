"""Frames: records of one stream as they are kept and carried, the same bytes on every disk and every wire.

A frame is a head of fixed length, a signature of the agent over the head, and a payload.  The head says whose records
these are, where they stand in the stream, and what the payload's digest is; so whoever carries frames can order, count
and verify them without reading a payload.

Rules:

1. A frame is never divided or joined: the offsets where frames begin are the same at both ends.
2. The head names the tail of the frame before it.  So two histories of one stream differ at the first frame that
   differs, and a receiver sees it at the next.
3. What could not be kept stands as a *gap* in the offset space: it has the tail of the last frame that it replaced,
   so the chain holds across it.  A gap may begin anywhere, since it has no records that could be told apart.
4. A frame is signed when it is sent, by the key that is in use then; on the agent's own disk the signature is zeros.
5. Everything is bounded, and looked at in this order: length, form, CRC, digest, signature.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from hashlib import sha256
from typing import Final

from popham.errors import StreamError

PAYLOAD_LIMIT: Final = 512 * 1024
"""Bytes of a payload as it is kept, and as it is once it is decompressed divided by :data:`RATIO`."""
RATIO: Final = 64
"""Times that a payload may grow by decompressing it. Source: guarantees SEC-9, bombs of 1000:1."""
COUNT_LIMIT: Final = 1 << 20
"""Records of one frame; a gap may stand for more."""
OFFSET_LIMIT: Final = 1 << 62
"""Offsets stay below; so no sum of two leaves 63 bits."""
TAIL: Final = 16
"""Bytes of a tail."""
BOOT: Final = 8
"""Bytes of the number of a process that appends."""
NOBODY: Final = bytes(BOOT)
"""Boot of a gap of which nobody knows who wrote what it stands for."""
SIGNATURE: Final = 64
"""Bytes of a signature: P-256 or Ed25519."""
MAGIC: Final = b"PFr1"
"""What each head begins with."""
_HEAD: Final = struct.Struct(">4sBBBB16sQQQ8sQ16s16s32sII")
_CRC: Final = struct.Struct(">I")
HEAD: Final = _HEAD.size + _CRC.size
"""Bytes of a head."""
FRAME_LIMIT: Final = HEAD + SIGNATURE + PAYLOAD_LIMIT
"""Bytes of a whole frame."""
UNSIGNED: Final = bytes(SIGNATURE)
START: Final = bytes(TAIL)
"""The tail before the first frame of an epoch."""


class Stream(StrEnum):
    """The streams of an agent, in the order in which they are sent."""

    EVENTS = "events"
    """What happened: OTLP logs, one record each, with an event name."""
    SUMMARY = "summary"
    """Key metrics of the machine, for the summary window: OTLP metrics."""
    METRICS = "metrics"
    """All other metrics: OTLP metrics."""
    LOGS = "logs"
    """Lines of logs: OTLP logs."""

    @property
    def number(self) -> int:
        """What stands for it in a head."""
        return _NUMBERS[self]


_NUMBERS: Final = {Stream.EVENTS: 1, Stream.SUMMARY: 2, Stream.METRICS: 3, Stream.LOGS: 4}
_STREAMS: Final = {number: stream for stream, number in _NUMBERS.items()}


class Kind(IntEnum):
    """What a frame is."""

    RECORDS = 1
    GAP = 2


class Codec(IntEnum):
    """How a payload is written."""

    PLAIN = 0
    ZSTD = 1


class Cause(StrEnum):
    """Why records could not be kept: what a gap says."""

    COUNT = "count"
    """There were more records than the spool may have."""
    BYTES = "bytes"
    """There were more bytes than the spool may have."""
    AGE = "age"
    """They were too old."""
    DISK = "disk"
    """The disk took nothing."""
    DAMAGED = "damaged"
    """The disk did not give back what was written."""
    UPLOAD = "upload"
    """Their stream was switched off."""


_CAUSES: Final = (None, *Cause)
"""What stands for each in a head is its place here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a frame says of itself.

    Attributes:
        kind: Records, or a gap.
        stream: Of which stream.
        codec: How the payload is written.
        cause: Why there is a gap; None for records.
        uid: Whose; 16 bytes.
        epoch: Of which history of the stream; rises when a spool lost its own. Above 0.
        first: Offset of the first record.
        count: How many records; above 0.
        boot: Drawn by each process that opens the spool; 8 bytes.
        written: When it was appended, unix nanoseconds by the agent's clock.
        before: Tail of the frame before, :data:`START` for the first of an epoch.
        tail: Tail of this frame: the first 16 bytes of its digest; of a gap, the tail of the last frame it stands for.
        digest: SHA-256 of the payload as it stands here.
        length: Bytes of the payload as it stands here.
        size: Bytes of the payload once it is decompressed.
    """

    kind: Kind
    stream: Stream
    codec: Codec
    cause: Cause | None = None
    uid: bytes
    epoch: int
    first: int
    count: int
    boot: bytes
    written: int
    before: bytes
    tail: bytes
    digest: bytes
    length: int
    size: int

    @property
    def end(self) -> int:
        """Offset after the last record."""
        return self.first + self.count

    @property
    def total(self) -> int:
        """Bytes of the whole frame."""
        return HEAD + SIGNATURE + self.length

    def encode(self) -> bytes:
        """Return the head as bytes: what is signed."""
        body = _HEAD.pack(
            MAGIC,
            self.kind,
            self.stream.number,
            self.codec,
            _CAUSES.index(self.cause),
            self.uid,
            self.epoch,
            self.first,
            self.count,
            self.boot,
            self.written,
            self.before,
            self.tail,
            self.digest,
            self.length,
            self.size,
        )
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Head:
        """Return the head that ``data`` begins with.

        Raises:
            StreamError: ``stream.short``: there are not enough bytes. ``stream.damaged``: it is none.
        """
        if len(data) < HEAD:
            raise StreamError("short", f"a frame's head has {HEAD} bytes, and here are {len(data)}")
        body, (crc,) = bytes(data[: _HEAD.size]), _CRC.unpack(data[_HEAD.size : HEAD])
        if zlib.crc32(body) != crc:
            raise damaged("its head does not fit its CRC")
        magic, kind, stream, codec, cause, *rest = _HEAD.unpack(body)
        try:
            kinds = Kind(kind), _STREAMS[stream], Codec(codec), _CAUSES[cause]
        except (ValueError, KeyError, IndexError):
            raise damaged("its kind, stream, codec or cause is not known here") from None
        uid, epoch, first, count, boot, written, before, tail, digest, length, size = rest
        head = cls(
            kind=kinds[0],
            stream=kinds[1],
            codec=kinds[2],
            cause=kinds[3],
            uid=uid,
            epoch=epoch,
            first=first,
            count=count,
            boot=boot,
            written=written,
            before=before,
            tail=tail,
            digest=digest,
            length=length,
            size=size,
        )
        if magic != MAGIC:
            raise damaged("it is of a form that is not known here")
        _check_bounds(head)
        return head


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, whole.

    Attributes:
        head: What it says of itself.
        payload: As it stands on disk.
        signature: Over the encoded head; :data:`UNSIGNED` for none.
    """

    head: Head
    payload: bytes
    signature: bytes = UNSIGNED

    def encode(self) -> bytes:
        """Return it as bytes."""
        return b"".join((self.head.encode(), self.signature, self.payload))

    def sign(self, sign: Callable[[bytes], bytes]) -> Frame:
        """Return it with the signature that ``sign`` makes of its head; 64 bytes."""
        return replace(self, signature=sign(self.head.encode()))

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Frame:
        """Return the frame that ``data`` begins with, its digest verified, its signature not.

        Raises:
            StreamError: ``stream.short``: it does not end here. ``stream.damaged``: it is not what it was.
        """
        head = Head.decode(data)
        if len(data) < head.total:
            raise StreamError("short", f"a frame has {head.total} bytes, and here are {len(data)}")
        payload = bytes(data[HEAD + SIGNATURE : head.total])
        if sha256(payload).digest() != head.digest:
            raise damaged("its payload does not fit its digest")
        return cls(head, payload, bytes(data[HEAD : HEAD + SIGNATURE]))


def decode_all(data: bytes | memoryview, *, most: int) -> Iterator[Frame]:
    """Yield the frames that ``data`` consists of, ``most`` at most.

    Raises:
        StreamError: As :meth:`Frame.decode`; ``stream.many``: there are more.
    """
    view, at, number = memoryview(data), 0, 0
    while at < len(view):
        number += 1
        if number > most:
            raise StreamError("many", f"there are more than {most} frames at once", "Send fewer")
        frame = Frame.decode(view[at:])
        yield frame
        at += frame.head.total


def damaged(why: str) -> StreamError:
    """Return the error for a frame that is not what it was written as."""
    return StreamError("damaged", f"a frame is damaged: {why}")


def tail_of(digest: bytes) -> bytes:
    """Return the tail of a frame of records with this digest."""
    return digest[:TAIL]


def _check_bounds(head: Head) -> None:
    """Refuse what no frame of ours says.

    Raises:
        StreamError: ``stream.damaged``.
    """
    if not 0 < head.count <= (COUNT_LIMIT if head.kind is Kind.RECORDS else OFFSET_LIMIT):
        raise damaged("its count is out of bounds")
    if head.end > OFFSET_LIMIT or not 0 < head.epoch <= OFFSET_LIMIT:
        raise damaged("its offsets or its epoch are out of bounds")
    if head.length > PAYLOAD_LIMIT or head.size > max(head.length, 1024) * RATIO:
        raise damaged("its payload is out of bounds")
    if (head.kind is Kind.GAP) is (head.cause is None):
        raise damaged("it does not say why it is a gap, or is none and says so")
    if head.kind is Kind.GAP and (head.codec, head.length, head.size) != (Codec.PLAIN, 0, 0):
        raise damaged("it is a gap, and has a payload")
    if head.kind is Kind.RECORDS and head.tail != tail_of(head.digest):
        raise damaged("its tail is not that of its digest")
