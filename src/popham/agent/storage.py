"""Where an agent's files are: on disk, or in memory for simulations.

The one seam of :mod:`popham.agent.state`; what a file means is decided there.
"""

from __future__ import annotations

from typing import Any, Protocol

from popham.errors import StateError


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
