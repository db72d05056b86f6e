"""What was ordered of this machine and what became of it, durable: a nonce is obeyed at most once.

Rules:

1. A nonce stands here, on the disk, before what it orders begins.
2. An entry leaves only once it is over, was heard upstream, and is past its expiry; the floor of time rises to that,
   so that a clock that is set back revives nothing.
3. A damaged ledger knows nothing any more, so nothing that was ordered before it was found damaged is begun.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from popham.agent.storage import Storage
from popham.errors import OperationError, StateError
from popham.model.operation import OperationState, Output

_log = logging.getLogger(__name__)
NAME: Final = "operations.json"
ENTRIES: Final = 256
"""Operations that are remembered at most."""
SHOWN: Final = 10
"""Operations that are shown to people of the machine."""
UNHEARD: Final = 30 * 86_400.0
"""Seconds past its expiry after which an entry leaves, although nobody upstream has heard what came of it."""
SKEW: Final = 600.0
"""Seconds by which the director's clock may be ahead of this machine's, where the ledger is damaged."""
_LIMIT: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation; fields as in :class:`popham.model.operation.Operation` and ``Result``.

    Attributes:
        kind: As it was ordered; empty for one that this program does not know.
        revision: Of the result that is said now.
        heard: The highest revision that is durable upstream.
        before: What is compared to find out whether it was done: as the kind says.
    """

    nonce: str
    operation: str
    kind: str
    issued: int
    expires: int
    state: OperationState
    revision: int = 1
    heard: int = 0
    args: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    text: str = ""
    began: float = 0.0
    ended: float = 0.0
    output: Output | None = None
    before: str = ""

    @property
    def at(self) -> float:
        """When it was last heard of, in unix seconds."""
        return self.ended or self.began


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    entries: tuple[Entry, ...] = ()
    floor: float = 0.0
    since: float = 0.0


class Ledger:
    """Keeps entries in a file of the state directory.

    Attributes:
        entries: Nonce → entry, the oldest first.
        floor: Time that is passed for certain, in unix seconds.
        since: What was ordered before this time is not begun, since nobody knows whether it was; 0 for any.
    """

    def __init__(self, storage: Storage, now: float) -> None:
        """Read what is kept.

        Args:
            storage: Where it is.
            now: The latest time that is known.
        """
        self._storage = storage
        self._unsaved = False
        kept = _read(storage)
        if kept is None:
            _log.error("%s is damaged: what was ordered until now is not begun any more", NAME)
        self.entries = {entry.nonce: entry for entry in kept.entries} if kept else {}
        self.floor, self.since = (kept.floor, kept.since) if kept else (now, now + SKEW)
        if kept is None:
            self.save()

    def now(self, clock: float) -> float:
        """Return the time: that of the clock, unless a later one is passed for certain."""
        return max(clock, self.floor)

    def raise_floor(self, to: float) -> None:
        """Take note of a time that a document was signed at; durable with the next entry."""
        self.floor = max(self.floor, to)

    def begin(self, entry: Entry, clock: float) -> None:
        """Keep a new entry; it is durable once this returned.

        Raises:
            OperationError: ``operation.busy``: there is no room.
            StateError: ``state.disk``: it cannot be kept; nothing changed.
        """
        if len(self.entries) >= ENTRIES:
            self._make_room(self.now(clock))
        self.entries[entry.nonce] = entry
        try:
            self._write()
        except StateError:
            del self.entries[entry.nonce]
            raise

    def note(self, entry: Entry) -> None:
        """Keep what became of an entry; what cannot be written now is with the next one."""
        self.entries[entry.nonce] = entry
        self.save()

    def save(self) -> None:
        """Write what is known, if the disk takes it."""
        try:
            self._write()
        except StateError as error:
            _log.warning("what became of operations is not kept yet: %s", error)
            self._unsaved = True

    def save_again(self) -> None:
        """Make good what could not be written."""
        if self._unsaved:
            self.save()

    def _write(self) -> None:
        kept = _Kept(entries=tuple(self.entries.values()), floor=self.floor, since=self.since)
        self._storage.write(NAME, msgspec.json.encode(kept))
        self._unsaved = False

    def _make_room(self, now: float) -> None:
        past = [one for one in self.entries.values() if one.state.is_over and one.expires < now]
        heard = [one for one in past if one.heard >= one.revision or one.expires + UNHEARD < now]
        if not heard:
            problem = f"{ENTRIES} operations are remembered here, and none of them may be forgotten yet"
            raise OperationError("busy", problem, "Order it again later")
        oldest = min(heard, key=lambda one: one.expires)
        # One that expires at that second itself would not be late.
        self.raise_floor(oldest.expires + 1)
        del self.entries[oldest.nonce]


def read_entries(storage: Storage) -> tuple[Entry, ...]:
    """Return what is kept, the oldest first; nothing where that is damaged. Nothing is changed."""
    kept = _read(storage)
    return kept.entries if kept else ()


def describe_entries(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the newest entries as plain data for people, the newest first; times are unix seconds."""
    newest = sorted(entries, key=lambda one: one.at, reverse=True)[:SHOWN]
    return [
        {
            "operation": one.operation,
            "kind": one.kind,
            "state": str(one.state),
            "since": one.at,
            "code": one.code,
            "text": one.text,
        }
        for one in newest
    ]


def _read(storage: Storage) -> _Kept | None:
    """Return what is kept; None if it is damaged."""
    try:
        data = storage.read(NAME, _LIMIT)
        return _Kept() if data is None else msgspec.json.decode(data, type=_Kept)
    except (StateError, msgspec.DecodeError, UnicodeDecodeError):
        return None
