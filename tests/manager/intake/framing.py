"""Agents as the intake sees them: frames of one stream, signed, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from popham.streams.frame import START, Codec, Frame, Head, Kind, Stream, tail_of
from popham.trust.keys import IdentityKey

KEY = IdentityKey.create()


def sign(key, data):
    """Return the signature of a P-256 key as frames have it."""
    r, s = decode_dss_signature(key.sign(data))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass
class Sender:
    """One stream of one agent.

    Attributes:
        next: Offset of the next record.
        before: Tail of the frame before.
    """

    uid: bytes = b"u" * 16
    stream: Stream = Stream.LOGS
    key: IdentityKey = KEY
    epoch: int = 1
    boot: bytes = b"boot-one"
    next: int = 0
    before: bytes = START
    written: int = field(default=1_700_000_000_000_000_000)

    def frame(self, payload: bytes = b"line", count: int = 1) -> Frame:
        """Return the next frame, of ``count`` records."""
        digest = sha256(payload).digest()
        head = Head(
            kind=Kind.RECORDS,
            stream=self.stream,
            codec=Codec.PLAIN,
            uid=self.uid,
            epoch=self.epoch,
            first=self.next,
            count=count,
            boot=self.boot,
            written=self.written,
            before=self.before,
            tail=tail_of(digest),
            digest=digest,
            length=len(payload),
            size=len(payload),
        )
        self.next, self.before = head.end, head.tail
        return Frame(head, payload).sign(lambda data: sign(self.key, data))

    def frames(self, number: int, *, count: int = 1, payload: bytes = b"line") -> list[Frame]:
        """Return the next ``number`` frames; no two have the same payload."""
        return [self.frame(b"%s %d" % (payload, self.next), count) for _ in range(number)]


def join(frames):
    """Return frames as they are sent."""
    return b"".join(frame.encode() for frame in frames)
