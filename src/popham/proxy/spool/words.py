"""What was said above of how far it is with the streams of agents: asked once, kept on the disk, newer as it is said.

Rules:

1. Before a segment of the log is removed, the words are written by which nothing in it is needed.  So what is known after
   a start is never less than what an agent was told.
2. A word of another process is asked for again when it is needed; it serves while nobody answers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from popham.downstream.standings import from_wire
from popham.errors import WireError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.disk import Disk
from popham.streams.frame import Stream
from popham.streams.standing import Standing
from popham.upstream.standings import to_wire

_log = logging.getLogger(__name__)
NAME: Final = "words"
"""Name of the file."""
EPOCHS: Final = 4
"""Epochs of one stream of one agent of which words are kept, the newest."""
_DIGEST: Final = 32


class Words:
    """Words, by agent, stream and epoch.

    Attributes:
        is_changed: Whether there are newer ones than those on the disk.
        is_lost: Whether those on the disk could not be read.
        is_first: Whether among the newer ones is the first of some stream: without it, nothing of that is taken.
    """

    def __init__(self) -> None:
        self.is_changed = self.is_lost = self.is_first = False
        self._found: dict[tuple[bytes, Stream], dict[int, bytes]] = {}
        self._newest: dict[tuple[bytes, Stream], int] = {}
        self._fresh: set[tuple[bytes, Stream, int]] = set()
        # Most agents have no epoch above. Of them there are only bits, one of each stream.
        self._none: dict[bytes, int] = {}  # it was said that there is none
        self._latest: dict[bytes, int] = {}  # this process was told of the newest

    def find(self, uid: bytes, stream: Stream, epoch: int) -> Standing | None:
        """Return what was said of an epoch; None for nothing yet."""
        data = self._found.get((uid, stream), {}).get(epoch)
        return None if data is None else from_wire(wire.Standing.FromString(data))

    def newest(self, uid: bytes, stream: Stream) -> int | None:
        """Return the newest epoch that is known above, 0 for none; None if that was never said."""
        found = self._newest.get((uid, stream))
        return 0 if found is None and self._none.get(uid, 0) & _bit(stream) else found

    def is_fresh(self, uid: bytes, stream: Stream, epoch: int) -> bool:
        """Return whether this process was told of an epoch; of the newest, for 0.

        An epoch that is newer than the newest is not known above.
        """
        if epoch and (uid, stream, epoch) in self._fresh:
            return True
        latest = bool(self._latest.get(uid, 0) & _bit(stream))
        return latest and (not epoch or epoch > self._newest.get((uid, stream), 0))

    def freshen(self, uid: bytes, stream: Stream, epoch: int) -> None:
        """Take note that what is known was said to this process."""
        if epoch:
            self._fresh.add((uid, stream, epoch))
        if not epoch or epoch == self._newest.get((uid, stream)):
            self._latest[uid] = self._latest.get(uid, 0) | _bit(stream)

    def note(self, uid: bytes, word: Standing) -> None:
        """Keep what was said."""
        key = uid, word.stream
        self.is_first = self.is_first or self.newest(uid, word.stream) is None
        newest = max(word.newest, word.epoch)
        if newest:
            self._newest[key] = newest
        else:
            self._newest.pop(key, None)
            self._none[uid] = self._none.get(uid, 0) | _bit(word.stream)
        if word.epoch:
            found = self._found.setdefault(key, {})
            found[word.epoch] = to_wire(word).SerializeToString()
            while len(found) > EPOCHS:
                oldest = min(found)
                del found[oldest]
                self._fresh.discard((*key, oldest))
        self.is_changed = True

    def forget(self, uid: bytes) -> None:
        """Know nothing of an agent: it may be elsewhere, and go on there."""
        self._none.pop(uid, None)
        self._latest.pop(uid, None)
        for stream in Stream:
            for epoch in self._found.pop((uid, stream), ()):
                self._fresh.discard((uid, stream, epoch))
            self._newest.pop((uid, stream), None)
        self.is_changed = True

    # On the disk.

    def encode(self) -> bytes:
        """Return all as bytes; what changes from now on is not in them."""
        said = wire.RelayDown()
        for uid, stream, newest in self._all():
            words = self._found.get((uid, stream), {})
            for data in words.values():
                said.standings.add(key=uid).standing.MergeFromString(data)
            if newest not in words:
                said.standings.add(key=uid, standing=wire.Standing(stream=stream, newest=newest))
        data = said.SerializeToString()
        self.is_changed = self.is_first = False
        return sha256(data).digest() + data

    def _all(self) -> Iterator[tuple[bytes, Stream, int]]:
        """Yield the newest epoch of each stream of which that was said."""
        for (uid, stream), newest in self._newest.items():
            yield uid, stream, newest
        for uid, bits in self._none.items():
            for stream in Stream:
                if bits & _bit(stream) and (uid, stream) not in self._newest:
                    yield uid, stream, 0

    def load(self, disk: Disk, folder: Path) -> None:
        """Take what is on the disk; what cannot be read there is asked for again. Raises OSError."""
        path = folder / NAME
        if NAME not in disk.names(folder):
            return
        data = disk.read(path, 0, disk.size(path))
        if sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            _log.warning("%s is not what was written; what was in it is asked for again", path)
            self.is_lost = True
            return
        try:
            for stood in wire.RelayDown.FromString(data[_DIGEST:]).standings:
                self.note(stood.key, from_wire(stood.standing))
        except (DecodeError, WireError) as error:
            _log.warning("%s cannot be read; what was in it is asked for again: %s", path, error)
            self.is_lost = True
        self.is_changed = self.is_first = False


def _bit(stream: Stream) -> int:
    return 1 << stream.number
