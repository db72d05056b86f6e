"""A disk that forgets what was not synced, fails when it is told to, and can be full."""

from __future__ import annotations

import errno
from dataclasses import dataclass


@dataclass
class File:
    """What a file has, and what of it would survive a crash; None for not even its name."""

    data: bytes = b""
    durable: bytes | None = None


class ForgetfulDisk:
    """Files in memory.

    Attributes:
        calls: How many there were.
        fails: Number of the call that fails, and all after it; 0 for none.
        room: Bytes that are free.
        torn: Bytes of what was not synced that a crash leaves.
    """

    def __init__(self):
        self.files = {}
        self.calls = 0
        self.fails = 0
        self.room = 1 << 40
        self.torn = 0

    def crash(self):
        """Forget what was not synced."""
        self.fails = 0
        for path, file in list(self.files.items()):
            if file.durable is None:
                del self.files[path]
                continue
            left = file.data[len(file.durable) :][: self.torn]
            file.data = file.durable = file.durable + left

    def _call(self):
        self.calls += 1
        if self.fails and self.calls >= self.fails:
            raise OSError(errno.EIO, "the disk failed")

    def free(self, folder):
        return self.room

    def names(self, folder):
        self._call()
        return sorted(path.name for path in self.files if path.parent == folder)

    def make_folder(self, folder):
        self._call()

    def size(self, path):
        return len(self.files[path].data)

    def read(self, path, at, limit):
        return self.files[path].data[at : at + limit]

    def append(self, path, chunks, at):
        self._call()
        new = b"".join(chunks)
        if len(new) > self.room:
            raise OSError(errno.ENOSPC, "the disk is full")
        file = self.files.setdefault(path, File())
        assert at == len(file.data)
        file.data += new
        self.room -= len(new)

    def sync(self, path):
        self._call()
        file = self.files[path]
        file.durable = file.data

    def truncate(self, path, size):
        self._call()
        file = self.files[path]
        file.data = file.durable = file.data[:size]

    def remove(self, path):
        self._call()
        del self.files[path]
