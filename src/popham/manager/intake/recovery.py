"""What a start knows: what the cache had, and what the segments have beyond it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from popham.errors import StateError, StreamError
from popham.manager.intake.cache import Note
from popham.manager.intake.made import history_of
from popham.manager.intake.standings import Held
from popham.manager.intake.writer import Part
from popham.store.data_rows import StreamRow
from popham.streams.frame import Head, Stream
from popham.streams.receiving import Verdict

_log = logging.getLogger(__name__)


def recover(parts: Mapping[Stream, Part], rows: Iterable[StreamRow], notes: Mapping[Stream, Note]) -> None:
    """Fill ``parts``, which are empty.

    Raises:
        StateError: ``state.corrupt``: the cache cannot be read. ``state.broken``: the disk failed.
    """
    for row in rows:
        parts[Stream(row.stream)].standings.restore(row)
    for stream, part in parts.items():
        note = notes.get(stream)
        try:
            _replay(part, note)
        except OSError as error:
            problem = f"the data of agents cannot be read: {error}"
            raise StateError("broken", problem, "Check the disk, then start again") from error
        if note:
            part.cached = note.position


def _replay(part: Part, note: Note | None) -> None:
    """Take what the segments have beyond a note once more."""
    known = part.standings
    held: dict[tuple[bytes, int], Held] = {}
    for head, received, skew in part.shelf.open(note):
        key = (history_of(head), head.epoch)
        found = held.get(key) or known.find(*key)
        try:
            if found is None:
                found = known.begin(*key)
                if note is None and not part.shelf.is_whole:
                    _adopt(found, head)
            before = found.receiving.stored, found.receiving.lost.copy()
            if found.receiving.offer(head) is not Verdict.HAVE:
                found.receiving.take(head)
        except StreamError as error:
            _log.warning("a frame of stream %s is left out: %s", known.stream, error)
            continue
        held[key] = found
        found.received = received
        found.skew = found.skew if skew is None else skew
        known.total.stored += found.receiving.stored - before[0]
        known.total.lost.update(found.receiving.lost - before[1])
    for (uid, _epoch), found in held.items():
        known.keep(uid, found)


def _adopt(found: Held, head: Head) -> None:
    """Begin where the first frame that is left begins: what was before it was taken, derived and deleted."""
    found.receiving.next, found.receiving.last = head.first, head.before
