"""Writes batches: verified, appended, one sync per stream, and only then known and told.

All of it runs on one thread, a start and tests apart.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from popham.clock import Clock
from popham.manager.intake.appends import Piece
from popham.manager.intake.cache import Changes, Note
from popham.manager.intake.position import BEGINNING, Position
from popham.manager.intake.room import Room
from popham.manager.intake.shelf import Shelf
from popham.manager.intake.standings import Standings
from popham.manager.intake.trial import Trial
from popham.streams.frame import Stream
from popham.upstream.checking import Verifier

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a disk says that has no room."""


@dataclass(slots=True)
class Part:
    """One stream.

    Attributes:
        shelf: Its segments.
        standings: How far it is with each agent.
        cached: Up to where the cache says it all.
        readers: Name of who derives something from it → how far it is, durably.
    """

    shelf: Shelf
    standings: Standings
    cached: Position = BEGINNING
    readers: dict[str, Position] = field(default_factory=dict)


class Writer:
    """Has the segments and standings of all streams."""

    def __init__(self, parts: Mapping[Stream, Part], room: Room, clock: Clock, *, keep: float) -> None:
        """Write to ``parts``; ``keep`` is the seconds that segments are kept at most after they were read."""
        self.parts = parts
        self._room = room
        self._clock = clock
        self._keep = keep
        self._verifier = Verifier()

    def write(self, batch: Iterable[Piece]) -> None:
        """Have a batch durable; what is refused says so in its append.

        Raises:
            OSError: The disk failed. Nothing is known about it from now on; the process must end.
        """
        by_stream: dict[Stream, list[Piece]] = {}
        for piece in batch:
            by_stream.setdefault(piece.append.stream, []).append(piece)
        trials = {stream: self._append(stream, pieces) for stream, pieces in by_stream.items()}
        written = {stream: trial for stream, trial in trials.items() if trial is not None}
        for stream, trial in written.items():
            if trial.chunks:
                self.parts[stream].shelf.sync()
        now = self._clock.now()
        for stream, trial in written.items():
            self.parts[stream].shelf.commit(trial.records, now)
            trial.keep()
        self._room.spend(sum(trial.size for trial in written.values()))

    def tend(self) -> bool:
        """Seal what is old, delete what nobody needs, look at the room; returns whether the cache is to be saved.

        Raises:
            OSError: As :meth:`write`.
        """
        now = self._clock.now()
        for part in self.parts.values():
            part.shelf.age(now)
        self._thin(now - self._keep)
        if self._room.is_short:
            self._thin(math.inf)
        return any(part.shelf.extent.end.segment > part.cached.segment for part in self.parts.values())

    def _thin(self, before: float) -> None:
        """Delete what nobody needs of what came before a time, and look at the room."""
        for part in self.parts.values():
            if part.readers:
                part.shelf.thin(min(part.cached, *part.readers.values()).segment, before)
        self._room.look(sum(part.shelf.extent.size for part in self.parts.values()))

    def changes(self, stream: Stream) -> Changes:
        """Return what is to be cached of a stream, and forget that it was."""
        part = self.parts[stream]
        known = part.standings
        note = Note(part.shelf.extent.end, part.shelf.extent.as_json())
        found = Changes(known.changed, known.dropped, note)
        known.changed, known.dropped = set(), set()
        return found

    def put_back(self, stream: Stream, changes: Changes) -> None:
        """Note that what was to be cached was not."""
        known = self.parts[stream].standings
        known.changed |= changes.changed
        known.dropped |= changes.dropped

    def forget(self, uid: bytes) -> None:
        """Know nothing more of an agent."""
        for part in self.parts.values():
            part.standings.forget(uid)

    def _append(self, stream: Stream, pieces: list[Piece]) -> Trial | None:
        """Append what is new of a stream; None if the disk is full. Raises OSError."""
        part = self.parts[stream]
        trial = Trial(part.standings, self._verifier, part.shelf.mark)
        trial.add(pieces)
        if trial.chunks:
            try:
                part.shelf.append(trial.chunks)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self._room.run_out()
                trial.refuse()
                return None
        return trial
