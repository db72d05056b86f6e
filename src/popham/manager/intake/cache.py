"""What the database has of the intake, so that a start need not read every segment.

The truth is in the segments: rows say how far each stream was at some time, and one note per stream says from where
its segments are to be read to know the rest.  Rows may be newer than the note: what they have already is not taken
again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from popham.errors import StateError
from popham.manager.intake.position import Position
from popham.manager.intake.standings import Standings, uid_text
from popham.store.data_rows import StreamRow
from popham.store.seam import Reading, Store, Writing
from popham.streams.frame import Stream

SLICE: Final = 500
"""Rows of one transaction."""


@dataclass(frozen=True, slots=True)
class Note:
    """What the cache says of one stream: up to where its rows say it all, and what is in the segments before."""

    position: Position
    segments: list[Any]

    def encode(self) -> str:
        """Return it as text."""
        return json.dumps({"position": self.position.as_json(), "segments": self.segments})

    @classmethod
    def decode(cls, text: str) -> Note:
        """Return what :meth:`encode` returned. Raises StateError ``state.corrupt``."""
        try:
            found = json.loads(text)
            return cls(Position.from_json(found["position"]), list(found["segments"]))
        except (KeyError, ValueError, TypeError) as error:
            problem = "how far the intake was cannot be read"
            raise StateError("corrupt", problem, "Restore a backup of the database") from error


@dataclass(frozen=True, slots=True)
class Changes:
    """What of one stream is to be cached.

    Attributes:
        changed: (uid, epoch).
        dropped: Agents of whom the cache may have epochs that are known no more.
        note: What holds once that is done.
    """

    changed: set[tuple[bytes, int]]
    dropped: set[bytes]
    note: Note


async def read_cache(store: Store) -> tuple[list[StreamRow], Mapping[Stream, Note]]:
    """Return the rows and notes. Raises StateError."""

    def work(tx: Reading) -> tuple[list[StreamRow], Mapping[Stream, str | None]]:
        return tx.stream_rows(), {stream: tx.meta(_key(stream)) for stream in Stream}

    rows, notes = await store.read(work)
    return rows, {stream: Note.decode(text) for stream, text in notes.items() if text}


async def write_cache(store: Store, standings: Standings, changes: Changes) -> None:
    """Write what changed of one stream, in slices, and then the note. Raises StateError."""
    stream, at = standings.stream, changes.note.position
    pairs = sorted(changes.changed)
    for first in range(0, len(pairs), SLICE):
        found = (standings.row(uid, epoch, at) for uid, epoch in pairs[first : first + SLICE])
        rows = [row for row in found if row is not None]
        await store.write(partial(_put, rows=rows))
        await asyncio.sleep(0)
    gone = sorted(changes.dropped)
    for first in range(0, len(gone), SLICE):
        left = {uid: standings.epochs(uid) for uid in gone[first : first + SLICE]}
        await store.write(partial(_delete, stream=stream, left=left))
    await store.write(partial(_note, stream=stream, text=changes.note.encode()))


def _key(stream: Stream) -> str:
    return f"intake:{stream}"


def _put(tx: Writing, *, rows: list[StreamRow]) -> None:
    tx.put_streams(rows)


def _delete(tx: Writing, *, stream: Stream, left: Mapping[bytes, set[int]]) -> None:
    for uid, epochs in left.items():
        for row in tx.streams_of(uid_text(uid)):
            if row.stream == stream and row.epoch not in epochs:
                tx.delete_stream(row.uid, stream, row.epoch)


def _note(tx: Writing, *, stream: Stream, text: str) -> None:
    tx.set_meta(_key(stream), text)
