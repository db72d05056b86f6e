"""Somebody who takes frames, as simply as can be, and frames to be taken."""

import asyncio
from dataclasses import replace
from hashlib import sha256

from popham.streams.frame import START, Codec, Frame, Head, Kind, Stream, decode_all, tail_of
from popham.streams.standing import Standing
from popham.upstream.intake import APPEND_FRAMES


def chain(uid, stream=Stream.LOGS, *, number=3, size=100, epoch=1, first=0):
    """Return frames of ten records each, the one behind the other."""
    found, before = [], START
    for each in range(first, first + number):
        payload = bytes([each % 256]) * size
        digest = sha256(payload).digest()
        head = Head(
            kind=Kind.RECORDS,
            stream=Stream(stream),
            codec=Codec.PLAIN,
            uid=uid,
            epoch=epoch,
            first=10 * each,
            count=10,
            boot=bytes(8),
            written=1,
            before=before,
            tail=tail_of(digest),
            digest=digest,
            length=size,
            size=size,
        )
        found.append(Frame(head, payload, bytes(64)))
        before = head.tail
    return found


def joined(frames):
    return b"".join(frame.encode() for frame in frames)


class Taking:
    """Takes what comes next of each stream; ``sent`` has what was said beside."""

    def __init__(self):
        self.standings, self.frames, self.sent = {}, [], []
        self.full, self.fault, self.slow = {}, None, None
        self.working, self.most = 0, 0

    def refusal(self, record, stream):
        return self.full.get(stream)

    async def standing(self, record, stream, epoch=0):
        known = self.standings.get((record.uid, stream), Standing(stream=stream))
        return known if epoch in {0, known.epoch} else Standing(stream=stream, newest=known.epoch)

    async def append(self, record, stream, frames, sent):
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            if self.slow is not None:
                await self.slow.wait()
            await asyncio.sleep(0)
            if self.fault is not None:
                raise self.fault
            return self._take(record, stream, frames, sent)
        finally:
            self.working -= 1

    def _take(self, record, stream, frames, sent):
        found = self.standings.get((record.uid, stream), Standing(stream=stream))
        for frame in decode_all(frames, most=APPEND_FRAMES):
            head = frame.head
            if head.epoch != found.epoch:
                found = Standing(stream=stream, epoch=head.epoch, newest=head.epoch)
            if head.first == found.next:
                self.frames.append((stream, head.first))
                found = replace(found, next=head.end, last=head.tail)
        self.sent.append(sent)
        self.standings[record.uid, stream] = found
        return found
