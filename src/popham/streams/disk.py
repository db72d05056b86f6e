"""What streams need of a disk, and no more: so that a test can have one that forgets, fails, or is full."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from popham.posix import free_bytes, fsync_directory
from popham.statedir import UNFINISHED

_MODE: Final = 0o600
_FOLDER: Final = 0o700


class Disk(Protocol):
    """Files; every method may raise OSError."""

    def free(self, folder: Path) -> int:
        """Return the bytes that are free where ``folder`` is."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted; none if it is not there."""
        ...

    def make_folder(self, folder: Path) -> None:
        """Make a folder for its owner alone, and those above it; durable."""
        ...

    def size(self, path: Path) -> int:
        """Return the bytes of a file."""
        ...

    def read(self, path: Path, at: int, limit: int) -> bytes:
        """Return at most ``limit`` bytes of a file from ``at`` on."""
        ...

    def append(self, path: Path, chunks: Iterable[bytes | memoryview], at: int) -> None:
        """Write at the end of a file of ``at`` bytes, which is made if there is none; not durable yet.

        If it fails, the file is as long as it was.
        """
        ...

    def sync(self, path: Path) -> None:
        """Have a file durable, and its name."""
        ...

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file; durable."""
        ...

    def replace(self, path: Path, data: bytes) -> None:
        """Write a whole file, all or nothing; durable."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        ...


class SystemDisk:
    """The disk of this machine."""

    def free(self, folder: Path) -> int:
        """Return the bytes that are free where ``folder`` is, or is to be."""
        there = next(one for one in (folder, *folder.parents) if one.exists())
        return free_bytes(there)

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted; none if it is not there."""
        try:
            return sorted(path.name for path in folder.iterdir())
        except FileNotFoundError:
            return []

    def make_folder(self, folder: Path) -> None:
        """Make a folder for its owner alone, and those above it; durable."""
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir(mode=_FOLDER, exist_ok=True)
            fsync_directory(one.parent)

    def size(self, path: Path) -> int:
        """Return the bytes of a file."""
        return path.stat().st_size

    def read(self, path: Path, at: int, limit: int) -> bytes:
        """Return at most ``limit`` bytes of a file from ``at`` on."""
        with path.open("rb", buffering=0) as file:
            file.seek(at)
            parts = []
            while limit > 0 and (part := file.read(limit)):
                parts.append(part)
                limit -= len(part)
        return b"".join(parts)

    def append(self, path: Path, chunks: Iterable[bytes | memoryview], at: int) -> None:
        """Write at the end of a file of ``at`` bytes, which is made if there is none; not durable yet."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            # What a write that failed may have left would stand behind this one.
            os.ftruncate(descriptor, at)
            os.lseek(descriptor, at, os.SEEK_SET)
            try:
                data = memoryview(b"".join(chunks))
                while data:
                    data = data[os.write(descriptor, data) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, at)
                raise
        finally:
            os.close(descriptor)

    def sync(self, path: Path) -> None:
        """Have a file durable, and its name."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fsync_directory(path.parent)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file; durable."""
        os.truncate(path, size)
        self.sync(path)

    def replace(self, path: Path, data: bytes) -> None:
        """Write a whole file, all or nothing; durable."""
        made = path.with_name(f"{UNFINISHED}{path.name}")
        try:
            self.append(made, [data], 0)
            self.truncate(made, len(data))
            made.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                made.unlink()
            raise
        fsync_directory(path.parent)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)
