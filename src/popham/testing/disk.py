"""A disk in memory that forgets what was not synced, fails when it is told to, and can be full."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE: Final = 512
"""Bytes that a power cut keeps or loses together."""


class EndedError(BaseException):
    """The process ends here: nothing that it would do next happens."""


@dataclass(slots=True)
class _File:
    durable: bytes | None
    now: bytes | None


class LazyDisk:
    """Implements :class:`popham.streams.disk.Disk`.

    Attributes:
        calls: How many methods were called that may fail.
        fails_at: The call that fails, counted from 1; 0 for none.
        error: What it fails with.
        fails_on: Whether all calls after that fail, too.
        ends_at: The call in which the process ends, counted likewise; 0 for none.
        left: Bytes that can still be written; None for any number.
        quota: Bytes of all files together; None for any number.
        unreadable: (file, offset) of bytes that are not given back: reading them is an I/O error.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.calls = 0
        self.fails_at = 0
        self.error = errno.EIO
        self.fails_on = False
        self.ends_at = 0
        self.left: int | None = None
        self.quota: int | None = None
        self.unreadable: set[tuple[Path, int]] = set()
        self._files: dict[Path, _File] = {}

    @property
    def used(self) -> int:
        """Bytes of all files together."""
        return sum(map(len, self.copy().values()))

    # Faults.

    def cut(self, rng: random.Random) -> None:
        """Lose power: of what was not synced, any pages may be there, or not, and a removal may not have happened."""
        for path, file in list(self._files.items()):
            kept = self._after_cut(file, rng)
            if kept is None:
                del self._files[path]
            else:
                self._files[path] = _File(kept, kept)
        self.fails_at = 0

    def kill(self) -> None:
        """End the process alone: what was written is there."""
        for path, file in list(self._files.items()):
            if file.now is None:
                del self._files[path]

    def copy(self) -> dict[Path, bytes]:
        """Return every file as it is now."""
        return {path: file.now for path, file in self._files.items() if file.now is not None}

    def restore(self, files: dict[Path, bytes]) -> None:
        """Have these files and no others."""
        self._files = {path: _File(data, data) for path, data in files.items()}

    def damage(self, path: Path, at: int, value: int) -> None:
        """Change one byte of a file, by exclusive or."""
        data = bytearray(self._need(path))
        data[at] ^= value
        self._files[path] = _File(bytes(data), bytes(data))

    def _after_cut(self, file: _File, rng: random.Random) -> bytes | None:
        if file.now is None:
            return file.durable if rng.random() < 0.5 else None
        if file.now == file.durable:
            return file.now
        sure = len(file.durable or b"")
        if file.durable is None and rng.random() < 0.5:
            return None
        length = rng.randint(sure, max(sure, len(file.now)))
        found = bytearray(file.now[:length])
        for page in range(sure // PAGE, length // PAGE + 1):
            if rng.random() < 0.3:
                begin, end = max(page * PAGE, sure), min((page + 1) * PAGE, length)
                found[begin:end] = bytes(max(end - begin, 0))
        return bytes(found)

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.ends_at:
            raise EndedError
        if self.fails_at and (self.calls == self.fails_at or (self.fails_on and self.calls > self.fails_at)):
            raise OSError(self.error, "made up")

    def _need(self, path: Path) -> bytes:
        file = self._files.get(path)
        if file is None or file.now is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return file.now

    def _spend(self, count: int) -> None:
        if self.quota is not None and self.used + count > self.quota:
            raise OSError(errno.ENOSPC, "no space left on the made-up disk")
        if self.left is not None:
            if count > self.left:
                raise OSError(errno.ENOSPC, "no space left on the made-up disk")
            self.left -= count

    # The seam.

    def free(self, folder: Path) -> int:
        """Return the bytes that are free."""
        del folder
        return 1 << 40 if self.left is None else self.left

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(
            path.name for path, file in self._files.items() if path.parent == folder and file.now is not None
        )

    def make_folder(self, folder: Path) -> None:
        """Do nothing: folders are where their files are."""

    def size(self, path: Path) -> int:
        """Return the bytes of a file."""
        return len(self._need(path))

    def read(self, path: Path, at: int, limit: int) -> bytes:
        """Return at most ``limit`` bytes of a file from ``at`` on."""
        found = self._need(path)[at : at + limit]
        if any(one == path and at <= offset < at + len(found) for one, offset in self.unreadable):
            raise OSError(errno.EIO, "made up")
        return found

    def append(self, path: Path, chunks: Iterable[bytes | memoryview], at: int) -> None:
        """Write at the end of a file, not durable."""
        self._call()
        data = b"".join(chunks)
        self._spend(len(data))
        file = self._files.setdefault(path, _File(None, b""))
        file.now = (file.now or b"")[:at] + data

    def sync(self, path: Path) -> None:
        """Have a file durable."""
        self._call()
        self._files[path].durable = self._need(path)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file; durable."""
        self._call()
        data = self._need(path)[:size]
        self._files[path] = _File(data, data)

    def replace(self, path: Path, data: bytes) -> None:
        """Write a whole file, all or nothing; durable."""
        self._call()
        self._spend(len(data))
        self._files[path] = _File(data, data)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there; a power cut may undo it."""
        self._call()
        file = self._files.get(path)
        if file is not None:
            file.now = None
