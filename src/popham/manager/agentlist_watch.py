"""Follows an ``agentlist.cfg``: read at the start and whenever it changed.

Rules:

1. A file that is gone or cannot be read changes nothing, and is said once.
2. A file that is replaced is read at once; one that is written in place, once it stayed the same from one look to
   the next, since half of it would be another list.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from popham.clock import Clock
from popham.errors import PophamError
from popham.manager.agentlist import ListTaker, source_of
from popham.manager.grant import Grant, Role
from popham.manager.views import ImportView
from popham.model.agentlist import FILE_MAX, AgentList, decode, read_agentlist
from popham.store.seam import Store

_log = logging.getLogger(__name__)
LOOK: Final = 10.0
"""Seconds between two looks."""
MYSELF: Final = Grant(actor="agentlist", role=Role.ADMIN, source="local")
"""As whom the list is taken."""


class Stamp(NamedTuple):
    """What tells one state of a file from another."""

    mtime: int
    size: int
    inode: int
    device: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """Return the stamp of a regular file.

        Raises:
            OSError: It is none, or too large.
        """
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is no regular file")
        if found.st_size > FILE_MAX:
            raise OSError(0, f"it is larger than {FILE_MAX // 2**20} MiB")
        return cls(found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)


class Follower:
    """Says when a followed file is to be read, and when its trouble is to be said. Pure."""

    def __init__(self) -> None:
        """Know nothing of the file yet."""
        self._taken: Stamp | None = None
        self._seen: Stamp | None = None
        self._trouble = ""

    def is_due(self, found: Stamp) -> bool:
        """Return whether the file, which has this stamp now, is to be read."""
        before, self._seen = self._seen, found
        if found == self._taken:
            self._trouble = ""
            return False
        return before is None or before[2:] != found[2:] or before == found

    def lost(self) -> None:
        """Take note that there was no file to look at: whatever comes is another one, though it may have the same inode."""
        self._seen = None

    def is_news(self, trouble: str) -> bool:
        """Return whether a trouble was not said yet."""
        before, self._trouble = self._trouble, trouble
        return before != trouble

    def took(self, stamp: Stamp) -> None:
        """Take note of what was read and taken."""
        self._taken, self._trouble = stamp, ""


class AgentListWatch:
    """Follows one file."""

    def __init__(self, path: str, taker: ListTaker) -> None:
        """Keep what is needed; :meth:`run` does the work."""
        self._path = Path(path)
        self._taker = taker
        self._follower = Follower()

    async def run(self) -> None:
        """Look at the file now and every :data:`LOOK` seconds, until cancelled; raises as :meth:`look`."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> ImportView | None:
        """Look once; return what became of the list, None if it was not read or not taken.

        Raises:
            StateError: The database failed for good.
        """
        try:
            if not self._follower.is_due(await asyncio.to_thread(_stamp, self._path)):
                return None
            stamp, text = await asyncio.to_thread(_read, self._path)
        except OSError as error:
            self._follower.lost()
            self._complain(f"it cannot be read: {error.strerror or error}")
            return None
        listed = await asyncio.to_thread(read_agentlist, text, str(self._path))
        try:
            done = await self._taker.take(listed, grant=MYSELF, source=source_of(str(self._path)))
        except PophamError as error:
            if error.area == "state" and not error.retryable:
                raise
            self._complain(str(error))
            return None
        self._follower.took(stamp)
        self._say(done, listed)
        return done

    def _complain(self, trouble: str) -> None:
        if self._follower.is_news(trouble):
            _log.warning(
                "the list of agents %s is not taken: %s; what it said before holds", self._path, trouble
            )

    def _say(self, done: ImportView, listed: AgentList) -> None:
        for finding in done.findings:
            _log.warning("%s", finding)
        if listed.unclear:
            _log.warning(
                "%s: wrong lines: %d; nothing is deleted until they are corrected",
                self._path,
                listed.wrong,
            )
        elif not listed.entries:
            _log.warning("%s has no entries; what it said before holds", self._path)
        _log.info(
            "the list of agents %s was taken: %d entries, %d created, %d changed, %d deleted",
            self._path,
            len(listed.entries),
            done.created,
            done.changed,
            done.deleted,
        )


def follow(
    path: str, store: Store, clock: Clock, changed: Callable[[Sequence[str]], None]
) -> AgentListWatch | None:
    """Return who follows a file; None without one. ``changed`` as of :class:`ListTaker`."""
    return AgentListWatch(path, ListTaker(store, clock, changed)) if path else None


def _stamp(path: Path) -> Stamp:
    return Stamp.of(path.stat())


def _read(path: Path) -> tuple[Stamp, str]:
    """Return what a file says, and the stamp it had when that was read; raises OSError."""
    # A pipe of that name would be waited for.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as stream:
        stamp = Stamp.of(os.fstat(stream.fileno()))
        return stamp, decode(stream.read(FILE_MAX))
