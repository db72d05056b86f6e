"""A batch of one stream, as it will be once it is durable; nothing of it holds before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from popham.errors import StreamError
from popham.manager.intake.appends import Piece
from popham.manager.intake.made import MAKER, place
from popham.manager.intake.stamp import encode_stamp
from popham.manager.intake.standings import Held, Standings
from popham.streams.frame import HEAD
from popham.streams.receiving import Verdict
from popham.upstream.checking import Verifier


@dataclass(slots=True)
class _Open:
    """An epoch that the batch changes, if any frame of it is taken; and what it had before."""

    held: Held
    stored: int
    lost: Counter[str]
    is_heard: bool = False


class Trial:
    """What becomes of the pieces of a batch that are of one stream.

    Attributes:
        chunks: What is to be written: stamps and frames.
        size: Bytes of them.
        records: Records in them.
    """

    def __init__(self, standings: Standings, verifier: Verifier, mark: bytes) -> None:
        """Look at pieces; ``mark`` is what their stamps begin with."""
        self._mark = mark
        self._standings = standings
        self._verifier = verifier
        self._open: dict[tuple[bytes, int], _Open] = {}
        self._pieces: list[Piece] = []
        self._new: list[Piece] = []
        self.chunks: list[bytes | memoryview] = []
        self.size = 0
        self.records = 0

    def add(self, pieces: Iterable[Piece]) -> None:
        """Verify frames and see which are new; those that are refused say so in their append."""
        for piece in pieces:
            if piece.append.is_refused:
                continue
            self._pieces.append(piece)
            try:
                self._add(piece)
            except StreamError as error:
                piece.append.error = error

    def keep(self) -> None:
        """Have it hold: it is durable."""
        total = self._standings.total
        for (uid, _epoch), one in self._open.items():
            if not one.is_heard:
                continue
            receiving = one.held.receiving
            taken = receiving.stored - one.stored
            dropped = receiving.lost - one.lost
            total.stored += taken
            total.taken += taken
            total.lost.update(dropped)
            total.dropped.update(dropped)
            self._standings.keep(uid, one.held)
        for piece in self._new:
            piece.append.taken += piece.records

    def refuse(self) -> None:
        """Note that the disk is full; what seemed to be here already may be so by this batch alone."""
        for piece in self._pieces:
            piece.append.full = True

    def _add(self, piece: Piece) -> None:
        append, head = piece.append, piece.head
        if append.is_made:
            self._add_made(piece)
            return
        self._verifier.verify(head, piece.frame, append.keys)
        found = self._find(piece.uid, head.epoch)
        held = found.held
        verdict = held.receiving.offer(head)
        found.is_heard = True
        held.note_skew(append.skew)
        if verdict is not Verdict.HAVE:
            held.receiving.take(head)
            self._new.append(piece)
            self.chunks += (encode_stamp(self._mark, append.received, held.skew), piece.frame)
            self.records += piece.records
        held.received, held.waiting = append.received, append.waiting

    def _add_made(self, piece: Piece) -> None:
        """Give a frame of the Manager's own its place behind the one before it."""
        append = piece.append
        found = self._find(MAKER, self._standings.newest(MAKER) or max(1, round(append.received * 1000)))
        receiving = found.held.receiving
        head = place(piece.head, receiving)
        receiving.take(head)
        found.is_heard, found.held.received = True, append.received
        self._new.append(piece)
        self.chunks += (encode_stamp(self._mark, append.received, None), head.encode(), piece.frame[HEAD:])
        self.records += piece.records

    def _find(self, uid: bytes, epoch: int) -> _Open:
        found = self._open.get((uid, epoch))
        if found is None:
            held = self._standings.find(uid, epoch) or self._standings.begin(uid, epoch)
            found = _Open(held, held.receiving.stored, Counter(held.receiving.lost))
            self._open[uid, epoch] = found
        return found
