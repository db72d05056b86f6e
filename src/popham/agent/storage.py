"""Where an agent's files are: on disk, or in memory for simulations.

The one seam of :mod:`popham.agent.state`; what a file means is decided there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Final, Protocol

from popham.errors import StateError

FULL: Final = "state.disk"
"""Code of what is raised where the disk takes nothing."""
RESERVE: Final = "reserve"
RESERVED: Final = 64 * 1024
"""Bytes that are kept, so that an undo can be written on a full disk."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_VITAL: Final = frozenset({"probation.json", "progress.json", "last-good.json"})
"""What an undo writes."""


class Storage(Protocol):
    """Where the files are; :class:`popham.statedir.StateDir` is one."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a file, None if there is none. Raises StateError over ``limit`` bytes."""
        ...

    def write(self, name: str, data: bytes, mode: int = 0o600) -> Any:
        """Replace a file, all or nothing; it is durable once this returned."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        ...


class MemoryStorage:
    """Files in memory, for simulations."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a file, None if there is none. Raises StateError over ``limit`` bytes."""
        data = self.files.get(name)
        if data is not None and len(data) > limit:
            raise StateError("large", f"{name} has more than {limit} bytes", "It was not written by Popham")
        return data

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Replace a file; ``mode`` has no meaning in memory."""
        del mode
        self.files[name] = bytes(data)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        self.files.pop(name, None)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        return sorted(name.removeprefix(f"{folder}/") for name in self.files if name.startswith(f"{folder}/"))


class Reserved:
    """Files of another storage: what cannot be written is a StateError, and an undo finds room on a full disk."""

    def __init__(self, storage: Storage) -> None:
        """Keep files in ``storage``; room is kept from :meth:`make_room` on."""
        self._storage = storage
        self._wanted = self._made = False

    def make_room(self, *, first: bool = False) -> None:
        """Keep some room again, if it was given up; no room for that is no error.

        Args:
            first: Keep it from now on.
        """
        self._wanted = self._wanted or first
        if not self._wanted or self._made:
            return
        try:
            held = self._storage.read(RESERVE, RESERVED) or b""
            if len(held) < RESERVED:
                # Nothing that a file system could store in less.
                self._storage.write(RESERVE, os.urandom(RESERVED))
            self._made = True
        except (OSError, StateError):
            self._made = False

    def with_room(self, work: Callable[[], Any], *, vital: bool = True) -> Any:
        """Return what ``work`` returns, done once more with the room that is kept if the disk is full.

        Args:
            work: Writes something.
            vital: Whether the room is given up for it.

        Raises:
            StateError: ``state.disk``.
        """
        try:
            try:
                return work()
            except OSError as error:
                if not vital or error.errno not in _FULL or not self._give_room():
                    raise
                return work()
        except OSError as error:
            problem = f"the agent's state directory cannot be written: {error.strerror or error}"
            hint = "Make room there, or mend it; the agent tries again by itself"
            raise StateError("disk", problem, hint) from error

    def _give_room(self) -> bool:
        made, self._made = self._made, False
        try:
            if made:
                self._storage.remove(RESERVE)
        except OSError:
            return False
        return made

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a file, None if there is none. Raises StateError over ``limit`` bytes."""
        return self._storage.read(name, limit)

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Replace a file, all or nothing. Raises StateError ``state.disk``."""
        self.with_room(lambda: self._storage.write(name, data, mode), vital=name in _VITAL)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises StateError ``state.disk``."""
        self.with_room(lambda: self._storage.remove(name), vital=False)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        return self._storage.names(folder)
