"""When this machine was last in touch, and by whom it was answered: noted for whoever asks while no agent runs.

Rules:

1. A note costs no fsync.  A newer time alone is written once a minute at most, so it may be a minute old; who
   answered, and what is wrong, at once.
2. Nothing is decided by it.  One that is damaged, or that cannot be written, says nothing.
3. Whether the last process ended in order is seen from it: one that was killed leaves no time of its end.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from popham.agent.storage import Storage
from popham.clock import Clock
from popham.errors import StateError

_log = logging.getLogger(__name__)
NAME: Final = "contact.json"
EVERY: Final = 60.0
"""Seconds between notes that say nothing but a newer time."""
_LIMIT = 16 * 1024
_TEXT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """What is known of the last contact; times are unix seconds, 0 for never.

    Attributes:
        at: When upstream answered last.
        url: URL of the server that did, or address of the visitor; empty before the first.
        began: When the last process began.
        ended: When it ended in order; 0 while it runs, and for ever if it was killed.
        problem: Why the last try was none; empty if it was one.
        problem_at: When that was found.
    """

    at: float = 0.0
    url: str = ""
    began: float = 0.0
    ended: float = 0.0
    problem: str = ""
    problem_at: float = 0.0


class Notes(Protocol):
    """Where a note is written; :class:`popham.statedir.StateDir` is one."""

    def note(self, name: str, data: bytes) -> None:
        """Write a file that may be lost with the machine's power."""
        ...


class ContactNote:
    """Keeps the note of one process.

    Attributes:
        known: What it says.
    """

    def __init__(self, notes: Notes, storage: Storage, clock: Clock) -> None:
        """Go on from what the process before has noted; a process begins.

        Args:
            notes: Where it is written.
            storage: Where it is read.
            clock: Wall time.
        """
        self._notes = notes
        self._clock = clock
        self._written = -math.inf
        self.known = replace(read_contact(storage), began=clock.now(), ended=0.0)

    def note(self, at: float | None, url: str, problem: str) -> None:
        """Take note of how it stands.

        Args:
            at: When upstream answered last; None if it did not since the process began.
            url: Who answered.
            problem: Why the last try was none; empty if it was one.
        """
        before, now = self.known, self._clock.now()
        self.known = replace(
            before,
            at=before.at if at is None else at,
            url=before.url if at is None else url,
            problem=problem[:_TEXT],
            problem_at=now if problem else 0.0,
        )
        changed = (self.known.url, self.known.problem) != (before.url, before.problem)
        if changed or not 0 <= now - self._written < EVERY:
            self._write(now)

    def end(self) -> None:
        """Take note that the process ends in order."""
        now = self._clock.now()
        self.known = replace(self.known, ended=now)
        self._write(now)

    def _write(self, now: float) -> None:
        self._written = now
        try:
            self._notes.note(NAME, msgspec.json.encode(self.known))
        except (OSError, StateError) as error:
            _log.debug("the last contact is not noted: %s", error)


def read_contact(storage: Storage) -> Contact:
    """Return what the last process has noted; nothing where there is no note, or a damaged one."""
    try:
        data = storage.read(NAME, _LIMIT)
        return Contact() if data is None else msgspec.json.decode(data, type=Contact)
    except (OSError, StateError, msgspec.DecodeError, UnicodeDecodeError):
        return Contact()
