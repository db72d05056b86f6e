"""How far a file is read, and by what that is known again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

HEAD: Final = 256
"""Bytes of a file's beginning that tell it from others."""
GUARD: Final = 64
"""Bytes before a place that tell whether what stands there is still what was read."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file: what stands before it was read.

    A number of an inode is used again, a file is truncated and written anew beyond where it was: whether this is still
    the place shows in the first bytes of the file, and in the last ones before the place.

    Attributes:
        offset: Bytes before it.
        head: The first of them.
        guard: The last of them.
    """

    offset: int = 0
    head: bytes = b""
    guard: bytes = b""

    @classmethod
    def at(cls, descriptor: int, offset: int) -> Place:
        """Return the place ``offset`` of a file, as the file is now. Raises OSError."""
        before = max(offset - GUARD, 0)
        return cls(
            offset, os.pread(descriptor, min(HEAD, offset), 0), os.pread(descriptor, offset - before, before)
        )

    @property
    def mark(self) -> str:
        """What stands for it in a checkpoint, beside the offset."""
        return blake2b(self.head + b"\0" + self.guard, digest_size=8).hexdigest()

    def on(self, data: bytes, length: int) -> Place:
        """Return the place ``length`` bytes further on; ``data`` stands here."""
        head = self.head if len(self.head) == HEAD else (self.head + data[: min(length, HEAD)])[:HEAD]
        guard = data[max(length - GUARD, 0) : length]
        return Place(
            self.offset + length, head, guard if len(guard) == GUARD else (self.guard + guard)[-GUARD:]
        )
