"""An intake in memory: it verifies and counts as a Manager's does, and forgets nothing while it lives."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from popham.errors import StreamError
from popham.net.seam import Refusal
from popham.streams.frame import SIGNATURE, Frame, Kind, Stream, decode_all
from popham.streams.packing import unpack
from popham.streams.receiving import Receiving, Verdict
from popham.streams.standing import CREDIT, Standing
from popham.trust.keys import PublicKey
from popham.upstream.intake import APPEND_FRAMES, Sent
from popham.upstream.record import Record


class MemoryIntake:
    """Takes frames; implements :class:`popham.upstream.intake.Intake`.

    Attributes:
        frames: uid and stream → frames that were new, in the order in which they came.
        times: The same → when each of them came, by the loop.
        repeats: How many frames came that were had already.
        sent: What was said beside each append.
        full: Why nothing is taken; None if there is room.
        credit: Bytes that are taken unasked.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.frames: defaultdict[tuple[str, Stream], list[Frame]] = defaultdict(list)
        self.times: defaultdict[tuple[str, Stream], list[float]] = defaultdict(list)
        self.repeats = 0
        self.sent: list[Sent] = []
        self.full: Refusal | None = None
        self.credit = CREDIT
        self._known: defaultdict[tuple[str, Stream], dict[int, Receiving]] = defaultdict(dict)

    def refusal(self, record: Record, stream: Stream) -> Refusal | None:
        """Return why nothing is taken now."""
        del record, stream
        return self.full

    async def standing(self, record: Record, stream: Stream, epoch: int = 0) -> Standing:
        """Return how far it is."""
        epochs = self._known[record.uid, stream]
        newest = max(epochs, default=0)
        found = epochs.get(epoch or newest)
        if found is None:
            return Standing(stream=stream, newest=newest, credit=self.credit)
        return found.standing(newest=newest, credit=self.credit, retry_after=0.0)

    async def append(self, record: Record, stream: Stream, frames: bytes, sent: Sent) -> Standing:
        """Keep frames."""
        await asyncio.sleep(0)
        found = list(decode_all(frames, most=APPEND_FRAMES))
        for frame in found:
            if not _signed(frame, record):
                raise StreamError("signature", "a frame is not signed by its agent")
        epochs = self._known[record.uid, stream]
        held = {epoch: Receiving.from_dict(one.as_dict()) for epoch, one in epochs.items()}
        new = []
        for frame in found:
            head = frame.head
            one = held.setdefault(head.epoch, Receiving(stream, head.epoch))
            if one.offer(head) is Verdict.HAVE:
                self.repeats += 1
                continue
            one.take(head)
            new.append(frame)
        self._known[record.uid, stream] = held
        self.frames[record.uid, stream] += new
        self.times[record.uid, stream] += [asyncio.get_running_loop().time()] * len(new)
        self.sent.append(sent)
        return await self.standing(record, stream, found[0].head.epoch if found else 0)

    def payloads(self, uid: str, stream: Stream) -> list[bytes]:
        """Return what was appended at the agent, in the order of epochs and offsets."""
        kept = [frame for frame in self.frames[uid, stream] if frame.head.kind is Kind.RECORDS]
        return [unpack(frame) for frame in sorted(kept, key=lambda one: (one.head.epoch, one.head.first))]

    def lost(self, uid: str, stream: Stream) -> dict[str, int]:
        """Return cause → how many records were lost."""
        return dict(sum((one.lost for one in self._known[uid, stream].values()), Counter()))


def _signed(frame: Frame, record: Record) -> bool:
    half = SIGNATURE // 2
    numbers = (int.from_bytes(part, "big") for part in (frame.signature[:half], frame.signature[half:]))
    signature, head = encode_dss_signature(*numbers), frame.head.encode()
    for der in filter(None, (record.public_key, record.former_key)):
        key = PublicKey.from_der(der).crypto
        if not isinstance(key, EllipticCurvePublicKey):
            continue
        try:
            key.verify(signature, head, ECDSA(SHA256()))
        except InvalidSignature:
            continue
        return True
    return False
