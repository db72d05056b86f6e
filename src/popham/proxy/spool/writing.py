"""Writes batches of frames to the log: verified, appended, synced; all on one thread."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from popham.errors import StreamError
from popham.proxy.spool.held import COST
from popham.proxy.spool.log import Log, Place
from popham.proxy.spool.stamp import Stamp
from popham.streams.frame import Head
from popham.upstream.checking import Verifier

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Append:
    """Frames that came together; whoever brought them waits for all.

    Attributes:
        uid: Whose they are.
        keys: Public keys as DER, of which one has to have signed each frame.
        answer: Ended once they are durable, or refused.
        pieces: Frames that are not through yet.
        error: Why the rest is not taken; None as long as all is well.
        failed: Whether that is because the disk took nothing.
    """

    uid: bytes
    keys: tuple[bytes, ...]
    answer: asyncio.Future[None]
    pieces: int = 0
    error: StreamError | None = None
    failed: bool = False


@dataclass(slots=True, eq=False)
class Piece:
    """One frame of an append; ``place`` says where it stands once it is durable."""

    append: Append
    head: Head
    frame: memoryview
    stamp: Stamp
    place: Place | None = None
    uid: bytes = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        """Note what the queue asks for most."""
        self.uid = self.append.uid
        self.size = max(COST, len(self.frame))


class Writing:
    """Writes to a log."""

    def __init__(self, log: Log) -> None:
        """Write to ``log``."""
        self._log: Final = log
        self._verifier = Verifier()

    def write(self, batch: list[Piece]) -> None:
        """Have a batch durable; what is refused says so in its append."""
        good: list[Piece] = []
        for piece in batch:
            append = piece.append
            if append.failed or append.error is not None:
                continue
            try:
                self._verifier.verify(piece.head, piece.frame, append.keys)
            except StreamError as error:
                append.error = error
            else:
                good.append(piece)
        if not good:
            return
        try:
            places = self._log.write([(piece.stamp, piece.frame) for piece in good])
        except OSError as error:
            _log.warning("frames of agents cannot be written: %s", error)
            for piece in good:
                piece.append.failed = True
            return
        for piece, place in zip(good, places, strict=True):
            piece.place = place
